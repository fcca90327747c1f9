# SPDX-License-Identifier: Apache-2.0
"""Files of a directory store that were altered: what is noticed, where, and what is not reached."""

import contextlib
import json
import os
import shutil
import unicodedata
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import qpher_core
from qpher_backends.filesystem import open_store
from qpher_core import IntegrityError, PolicyUnavailable, QpherError, Session
from qpher_core.protocols import StoreWriter
from tests.records import append, new_record, new_tenant

BY_HAND = qpher_core.AnchorSettings(every_seconds=None)
KEM, SIGNATURE = "ML-KEM-768", "ML-DSA-44"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return where the store is."""
    return tmp_path / "store"


@pytest.fixture
def kms(root: Path) -> Iterator[qpher_core.Qpher]:
    """Open a service with the tenants acme and rival, which have the same keys."""
    with qpher_core.open(f"file://{root}", anchors=BY_HAND) as opened:
        for name in ("acme", "rival"):
            opened.tenants.create(name)
            session = opened.session(name, actor="test")
            session.keys.generate(KEM)
            session.keys.generate(SIGNATURE)
        yield opened


@pytest.fixture
def acme(kms: qpher_core.Qpher) -> Session:
    """Return the session of the tenant that is attacked."""
    return kms.session("acme", actor="test")


def _key(root: Path, kms: qpher_core.Qpher, tenant: str, algorithm: str = SIGNATURE) -> Path:
    folder = root / "keys" / str(kms.tenants.get(tenant).id)
    return folder / f"default.{algorithm.lower()}" / "0000000001.json"


def _change(path: Path, **members: Any) -> dict[str, Any]:
    """Replace members of a document, as an editor does, and return what it was."""
    before: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    partial = path.with_suffix(".edited")
    partial.write_text(json.dumps(before | members), encoding="utf-8")
    partial.replace(path)
    return before


def test_a_record_of_another_tenant_does_not_open(
    kms: qpher_core.Qpher, acme: Session, root: Path
) -> None:
    """A rival who puts another's sealed seed and public key into their own record gains nothing."""
    box = acme.kem.encrypt(b"m")
    stolen = json.loads(_key(root, kms, "acme", KEM).read_text())
    target = _key(root, kms, "rival", KEM)
    _change(target, sealed=stolen["sealed"], public_key=stolen["public_key"], revision=2)
    rival = kms.session("rival", actor="test")
    with pytest.raises(IntegrityError, match="does not authenticate"):
        rival.kem.decrypt(box.ciphertext, 1)


def test_a_file_that_was_moved_is_refused(kms: qpher_core.Qpher, acme: Session, root: Path) -> None:
    """A record that is copied as it is to another tenant's place is malformed there."""
    source = _key(root, kms, "acme")
    shutil.copy(source, _key(root, kms, "rival"))
    with pytest.raises(IntegrityError, match="altered"):
        kms.session("rival", actor="test").signatures.sign(b"m", algorithm=SIGNATURE)
    assert acme.signatures.sign(b"m", algorithm=SIGNATURE).signature


@pytest.mark.parametrize(
    "members",
    [
        {"state": "retired"},
        {"sealed": "", "revision": 2},
        {"sealed": "AQ==", "revision": 2},
        {"public_key": "AQ=="},
        {"public_key": "not base64!"},
        {"revision": 7},
        {"revision": "many"},
        {"state": "unheard of"},
        {"created_at": "yesterday"},
        {"version": 2},
        {"tenant": "nobody"},
    ],
    ids=str,
)
def test_an_altered_record_is_not_used(
    kms: qpher_core.Qpher, acme: Session, root: Path, members: dict[str, Any]
) -> None:
    """Whatever member of a key's record is altered, nothing is signed with it."""
    acme.signatures.sign(b"m", algorithm=SIGNATURE)  # it is opened and cached
    _change(_key(root, kms, "acme"), **members)
    with pytest.raises(QpherError):
        acme.signatures.sign(b"m", algorithm=SIGNATURE)
    assert kms.audit.verify("acme").ok


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"\xff\xfe", b"[" * 5000])
def test_a_file_that_is_no_document_is_an_integrity_error(
    kms: qpher_core.Qpher, acme: Session, root: Path, content: bytes
) -> None:
    """A key's record, its head or a tenant that cannot be read is named, and stops everything."""
    record = _key(root, kms, "acme")
    tenant = root / "tenants" / f"{kms.tenants.get('acme').id}.json"
    for path in (record, record.with_name("key.json"), tenant):
        before = path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(IntegrityError, match="altered"):
            acme.signatures.sign(b"m", algorithm=SIGNATURE)
        path.write_bytes(before)
    assert acme.signatures.sign(b"m", algorithm=SIGNATURE).signature


@pytest.mark.parametrize(
    "name", [".DS_Store", "0000000001.json~", "\u00fc.x", "\u4e00.x", "\udcff.x"]
)
@pytest.mark.parametrize("place", ["tenants", "audit", "keys/{}", "keys/{}/default.ml-dsa-44"])
def test_a_stray_file_is_no_unexpected_error(
    kms: qpher_core.Qpher, acme: Session, root: Path, place: str, name: str
) -> None:
    """What lists a directory passes over a name that is none of the store's, or refuses it."""
    place = place.format(kms.tenants.get("acme").id)
    (root / place / name).touch()
    lists: list[Callable[[], object]] = [
        kms.tenants.list,
        acme.keys.list,
        kms.protector.status,
        kms.protector.rewrap,
        kms._store.anchors.logs,
    ]
    for call in lists:
        with contextlib.suppress(IntegrityError):
            call()
    assert acme.signatures.sign(b"m", algorithm=SIGNATURE).signature


def test_altered_counts_of_keks_are_refused(
    kms: qpher_core.Qpher, acme: Session, root: Path
) -> None:
    """A seed is not destroyed while it is not counted under which KEK it was sealed."""
    acme.keys.compromise(KEM, 1)
    (root / "keys" / "keks.json").write_text("{}")
    with pytest.raises(IntegrityError, match=r"keks\.json"):
        acme.keys.destroy(KEM, 1)


@pytest.mark.parametrize("row", ["null", "{}", '{"created_at":"x","answer":null}', "[1]"])
def test_altered_calls_are_refused(kms: qpher_core.Qpher, root: Path, row: str) -> None:
    """A remembered call that is malformed is an IntegrityError for whoever asks again."""
    tenant_id = kms.tenants.get("acme").id
    begun = kms.idempotency.begin(tenant_id, "k", b"request", uuid.uuid4())
    assert isinstance(begun, qpher_core.models.IdempotencyRecord)
    key = begun.key_hash.hex()
    path = root / "idempotency" / str(tenant_id) / f"{key[:2]}.json"
    path.write_text(f'{{"calls":{{"{key}":{row}}}}}')
    with pytest.raises(IntegrityError, match="altered"):
        kms.idempotency.begin(tenant_id, "k", b"request", uuid.uuid4())


def test_a_forged_state_is_not_believed(kms: qpher_core.Qpher, acme: Session, root: Path) -> None:
    """Who can write the files cannot make a compromised key active again."""
    acme.keys.compromise(SIGNATURE, 1)
    record = _key(root, kms, "acme")
    _change(record, state="active", revision=9, compromised_at=None)
    _change(record.with_name("key.json"), active=1)
    with pytest.raises(IntegrityError):
        acme.signatures.sign(b"m", algorithm=SIGNATURE)


def test_an_old_record_put_back_is_not_another_version(
    kms: qpher_core.Qpher, acme: Session, root: Path
) -> None:
    """A key's head that was set back makes no version twice."""
    acme.keys.rotate(SIGNATURE)
    _change(_key(root, kms, "acme").with_name("key.json"), highest=1, active=1)
    with pytest.raises(QpherError):
        acme.keys.rotate(SIGNATURE)


def test_broken_rules_allow_nothing(kms: qpher_core.Qpher, acme: Session, root: Path) -> None:
    """Rules that cannot be read stop every operation."""
    first = root / "policies" / "service" / "0000000001.json"
    second = shutil.copy(first, first.with_name("0000000002.json"))
    _change(second, rules="[{}]", revision=2)
    with pytest.raises(PolicyUnavailable):
        acme.signatures.sign(b"m", algorithm=SIGNATURE)


@pytest.mark.parametrize("folder", ["keys", "tenants", "policies", "audit"])
def test_what_was_there_and_is_gone_stops_everything(
    kms: qpher_core.Qpher, acme: Session, root: Path, folder: str
) -> None:
    """A part of the directory that is taken away is noticed at once, and is not an empty one."""
    acme.signatures.sign(b"m", algorithm=SIGNATURE)
    kept = (root / folder).rename(root / "kept")
    for attempt in (
        lambda: acme.signatures.sign(b"m", algorithm=SIGNATURE),
        lambda: acme.keys.generate(KEM, name="new"),
        lambda: acme.keys.rotate(KEM),
    ):
        with pytest.raises(QpherError):
            attempt()
    if (root / folder).exists():
        shutil.rmtree(root / folder)
    kept.rename(root / folder)
    assert acme.signatures.sign(b"m", algorithm=SIGNATURE).signature
    assert kms.audit.verify("acme").ok


# --- the log ------------------------------------------------------------------------------------


def _log(root: Path, tenant_id: object, kind: str) -> Path:
    return root / "audit" / str(tenant_id) / (kind if kind == "head" else f"000000000000.{kind}")


@pytest.fixture
def log(root: Path) -> tuple[Path, uuid.UUID]:
    """Return a closed store whose one tenant has 40 entries."""
    store = open_store(f"file://{root}")
    tenant = new_tenant()

    def work(writer: StoreWriter) -> None:
        writer.tenants.insert(tenant)
        for _ in range(40):
            append(writer, tenant.id)

    store.commit(work)
    store.close()
    return root, tenant.id


def _bad(root: Path, tenant_id: uuid.UUID) -> int | None:
    with qpher_core.open(f"file://{root}", anchors=BY_HAND, protector="memory:") as kms:
        return kms.audit.verify(tenant_id).bad_seq


def _flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_an_untouched_log_is_good(log: tuple[Path, uuid.UUID]) -> None:
    """What the tests below alter was good."""
    assert _bad(*log) is None


@pytest.mark.parametrize("seq", [0, 17, 39])
def test_an_altered_entry_is_named(log: tuple[Path, uuid.UUID], seq: int) -> None:
    """A flipped bit in any line of a segment is found at that entry."""
    path = _log(*log, "jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    _flip(path, sum(map(len, lines[:seq])) + 20)
    assert _bad(*log) == seq


@pytest.mark.parametrize("seq", [0, 17, 39])
@pytest.mark.parametrize("place", [0, 19, 20, 30, 85])
def test_an_altered_index_is_named(log: tuple[Path, uuid.UUID], seq: int, place: int) -> None:
    """A flipped bit in any field of an index line is found at its entry or the one after it."""
    _flip(_log(*log, "index"), seq * 86 + place)
    assert _bad(*log) in {seq, seq + 1}


@pytest.mark.parametrize("seq", [0, 16, 39])
def test_an_altered_tree_is_named(log: tuple[Path, uuid.UUID], seq: int) -> None:
    """A changed digit of a subtree's hash is found at the entry that completes it."""
    path = _log(*log, "tree")
    content, place = bytearray(path.read_bytes()), (2 * seq - seq.bit_count()) * 65 + 5
    content[place : place + 1] = b"1" if content[place : place + 1] == b"0" else b"0"
    path.write_bytes(content)
    assert _bad(*log) == seq


@pytest.mark.parametrize("left", [0, 1, 39])
def test_a_log_that_was_cut_is_noticed(log: tuple[Path, uuid.UUID], left: int) -> None:
    """Entries cut off the end, from all files of the segment, are missed: the head tells."""
    entries, index = _log(*log, "jsonl"), _log(*log, "index")
    lines = entries.read_bytes().splitlines(keepends=True)
    entries.write_bytes(b"".join(lines[:left]))
    index.write_bytes(index.read_bytes()[: left * 86])
    assert _bad(*log) == left


def test_a_log_is_not_continued_where_it_was_cut(log: tuple[Path, uuid.UUID]) -> None:
    """Nothing is appended to a log whose segment is shorter than its head says."""
    root, tenant_id = log
    entries = _log(*log, "jsonl")
    entries.write_bytes(entries.read_bytes()[:-100])
    store = open_store(f"file://{root}")
    with pytest.raises(qpher_core.StoreUnavailable, match="not as it was left"):
        store.commit(lambda writer: append(writer, tenant_id))
    store.close()


def test_a_head_that_was_set_back_is_noticed(log: tuple[Path, uuid.UUID]) -> None:
    """A head that leaves out the last entries is found: they are still there."""
    index = _log(*log, "index").read_bytes()
    digest = index[29 * 86 + 21 : 30 * 86 - 1]
    _log(*log, "head").write_bytes(b"%020d %s\n" % (30, digest))
    assert _bad(*log) == 30


@pytest.mark.timeout(60)
def test_a_head_beyond_everything_is_noticed_at_once(log: tuple[Path, uuid.UUID]) -> None:
    """A head that names any number of entries costs no more than those that are there."""
    digest = _log(*log, "head").read_bytes()[21:]
    _log(*log, "head").write_bytes(b"9" * 20 + b" " + digest)
    assert _bad(*log) == 40
    _log(*log, "head").write_bytes(b"-%019d " % 5 + digest)
    with pytest.raises(IntegrityError, match="head"):
        _bad(*log)


def test_a_log_that_is_gone_is_not_an_empty_one(log: tuple[Path, uuid.UUID]) -> None:
    """A tenant whose log was deleted cannot begin a new one."""
    root, tenant_id = log
    shutil.rmtree(root / "audit" / str(tenant_id))
    store = open_store(f"file://{root}")
    with pytest.raises(qpher_core.StoreUnavailable, match="gone"):
        store.commit(lambda writer: append(writer, tenant_id))
    store.close()


@pytest.mark.parametrize("base", [{"size": 10**19}, {"size": 1}, {"peaks": ""}, None])
def test_an_altered_beginning_is_noticed(
    kms: qpher_core.Qpher, acme: Session, root: Path, tmp_path: Path, base: dict[str, Any] | None
) -> None:
    """Of a log whose first entries were moved out, where it begins and ends is checked first."""
    tenant = kms.tenants.get("acme")
    kms.audit.move_out(tmp_path, "acme", until=kms.anchors.publish(tenant).size)
    assert kms.audit.verify("acme").ok
    if base is not None:
        _change(root / "audit" / str(tenant.id) / "base.json", **base)
    else:
        head = _log(root, tenant.id, "head")
        head.write_bytes(b"%020d" % 1 + head.read_bytes()[20:])
    assert "begins" in kms.audit.verify("acme").problem
    _change(root / "audit" / str(tenant.id) / "base.json", size=-5)
    with pytest.raises(IntegrityError, match=r"base\.json"):
        kms.audit.verify("acme")


def test_a_segment_that_is_gone_is_a_gap(root: Path) -> None:
    """Of a log of several segments a missing one is found at its first entry."""
    store = open_store(f"file://{root}")
    tenant = new_tenant()
    store.commit(lambda writer: writer.tenants.insert(tenant))

    def work(writer: StoreWriter) -> None:
        for _ in range(7000):
            append(writer, tenant.id)

    for _ in range(3):
        store.commit(work)
    assert len(list(store.audit.read(tenant.id))) == 21_000
    assert [e.seq for e in store.audit.read(tenant.id, start=9_998, limit=4)] == [
        *range(9_998, 10_002)
    ]
    store.close()
    for kind in ("jsonl", "index", "tree"):
        (root / "audit" / str(tenant.id) / f"000000010000.{kind}").unlink()
    store = open_store(f"file://{root}")
    seqs = [entry.seq for entry in store.audit.read(tenant.id)]
    assert seqs == [*range(10_000), *range(20_000, 21_000)]
    store.close()
    assert _bad(root, tenant.id) == 10_000


# --- names --------------------------------------------------------------------------------------

NAMES = [
    "../../escape",
    "..",
    ".",
    "/etc/passwd",
    "nul\x00byte",
    "new\nline",
    "case",
    "CASE",
    "Case",
    "trailing.",
    "trailing",
    "key.json",
    "tenant.json",
    "a.ml-kem-768",
    "%61",
    "a",
    "con",
    unicodedata.normalize("NFC", "é"),
    unicodedata.normalize("NFD", "é"),
    "x" * 255,
    "x" * 254 + "y",
    "🔑" * 255,
    "\udcff",
    "-",
    " ",
    "*",
]


def test_any_name_has_a_place_of_its_own(root: Path) -> None:
    """Keys and tenants of any name are kept apart, and inside the directory."""
    beside = set(root.parent.iterdir())
    store = open_store(f"file://{root}")
    tenants = {name: new_tenant(name) for name in NAMES}
    owner = tenants["case"]

    def work(writer: StoreWriter) -> None:
        for tenant in tenants.values():
            writer.tenants.insert(tenant)
        for name in NAMES:
            for algorithm in (KEM, "ml-kem-768", "../x"):
                writer.keys.insert(new_record(owner.id, name=name, algorithm=algorithm))

    store.commit(work)
    store.close()
    store = open_store(f"file://{root}")
    for name, tenant in tenants.items():
        assert store.tenants.by_name(name) == tenant
        for algorithm in (KEM, "ml-kem-768", "../x"):
            record = new_record(owner.id, name=name, algorithm=algorithm)
            assert store.keys.get(record.key.ref) == record
            assert store.keys.active(owner.id, name, algorithm) == record
    assert len(store.keys.find(owner.id)) == 3 * len(NAMES)
    assert sorted(tenant.name for tenant in store.tenants.all()) == sorted(NAMES)
    store.close()
    assert set(root.parent.iterdir()) - beside == {root}
    assert all(len(path.name) <= 255 for path in root.rglob("*"))


def test_links_are_not_followed(kms: qpher_core.Qpher, acme: Session, root: Path) -> None:
    """A symbolic link in the place of a file is refused, not followed."""
    path = _key(root, kms, "acme")
    elsewhere = root.parent / "elsewhere.json"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    with pytest.raises(QpherError):
        acme.signatures.sign(b"m", algorithm=SIGNATURE)


ATTEMPTS: dict[str, Callable[[Path], None]] = {
    "lock": lambda root: (root / "lock").write_bytes(b""),
    "counters": lambda root: (root / "lock").write_bytes(bytes(32)),
    "noise": lambda root: (root / "lock").write_bytes(os.urandom(32)),
}


@pytest.mark.parametrize("what", ATTEMPTS)
def test_counters_that_make_no_sense_are_made_anew(
    kms: qpher_core.Qpher, acme: Session, root: Path, what: str
) -> None:
    """Readers and writers who find a damaged lock file repair it and go on, losing nothing."""
    receipt = acme.signatures.sign(b"m", algorithm=SIGNATURE).receipt
    ATTEMPTS[what](root)
    assert acme.keys.get(KEM, 1).version == 1
    ATTEMPTS[what](root)
    acme.signatures.sign(b"m", algorithm=SIGNATURE)
    assert kms.audit.has(receipt)
    assert kms.audit.verify("acme").ok
