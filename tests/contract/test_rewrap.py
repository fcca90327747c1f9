# SPDX-License-Identifier: Apache-2.0
"""Moving every record to another key encryption key, on every backend that can be opened again."""

import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

import qpher_core
from qpher_core import KeyRef, KeyState, ProtectorUnavailable, Qpher, Session, StateConflict
from qpher_core import service_protector as module
from qpher_core.discovery import open_protector
from qpher_core.models import SERVICE
from tests.contract.table import BACKENDS, backends

S = KeyState
KEM, SIGNATURE = "ML-KEM-768", "ML-DSA-44"
TENANTS = ("acme", "rival")
#: The steps that lead a key to each state that has a sealed seed, and to the one that has none.
PATHS = {
    "active": (),
    "suspended": ("suspend",),
    "retired": ("retire",),
    "compromised": ("compromise",),
    "archived": ("compromise", "archive"),
    "destroyed": ("compromise", "destroy"),
}

Open = Callable[..., Qpher]


@pytest.fixture(params=backends(durable=True))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a store."""
    return BACKENDS[request.param].url(tmp_path)


@pytest.fixture
def old(tmp_path: Path) -> str:
    """Return the protector that a store begins with."""
    return f"file://{tmp_path}/old.kek"


@pytest.fixture
def new(tmp_path: Path) -> str:
    """Return the protector that it moves to."""
    return f"file://{tmp_path}/new.kek"


@pytest.fixture
def box(url: str, old: str, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Fill a store with keys in every state; return what one of them encrypted."""
    monkeypatch.setattr(module, "_PAGE", 3)  # several pages, and one that is not full
    with qpher_core.open(url, protector=old) as kms:
        for tenant in TENANTS:
            kms.tenants.create(tenant)
            session = kms.session(tenant, actor="test")
            for name, steps in PATHS.items():
                session.keys.generate(KEM, name=name)
                for step in steps:
                    getattr(session.keys, step)(KEM, 1, name=name)
            session.keys.generate(SIGNATURE)
        kms.anchors.publish()
        return kms.session("acme", actor="test").kem.encrypt(b"m", name="active").ciphertext


def decrypts(session: Session, box: bytes) -> bool:
    """Return whether a session can decrypt."""
    return session.kem.decrypt(box, 1, name="active").plaintext == b"m"


def keks_in(kms: Qpher) -> dict[KeyRef, str]:
    """Return the KEK of every record that has a seed, the service's own included."""
    store = kms._store
    found = [*store.service_keys.find(SERVICE)]
    for tenant in store.tenants.all():
        found += store.keys.find(tenant.id)
    return {record.key.ref: record.kek_id for record in found if record.sealed is not None}


def test_every_record_moves(url: str, old: str, new: str, box: bytes) -> None:
    """All seeds are sealed under the new KEK, nothing else changes, and progress is told."""
    told: list[tuple[int, int]] = []
    with qpher_core.open(url, protector=old) as kms:
        before = kms.protector.status()
        keys = {tenant: kms.session(tenant, actor="t").keys.list() for tenant in TENANTS}
        heads = {tenant: kms.audit.verify(tenant).head for tenant in TENANTS}
        report = kms.protector.rewrap(new, progress=lambda done, all_: told.append((done, all_)))
        after = kms.protector.status()
        assert set(keks_in(kms).values()) == {report.kek_id} != {before.kek_id}
        assert {t: kms.session(t, actor="t").keys.list() for t in TENANTS} == keys
        assert {tenant: kms.audit.verify(tenant).head for tenant in TENANTS} == heads
        entry = [*kms._store.audit.read(SERVICE)][-1].fields
        assert (entry["action"], entry["outcome"]) == ("protector.rewrap", "success")
        assert decrypts(kms.session("acme", actor="test"), box)
    assert (report.moved, report.damaged, report.replaced) == (
        before.records[before.kek_id],
        (),
        (before.kek_id,),
    )
    assert before.pending == 0
    assert (after.kek_id, dict(after.records)) == (report.kek_id, {report.kek_id: report.moved})
    assert after.replaced == (before.kek_id,)
    assert told == sorted(told)
    assert told[-1] == (report.moved, report.moved)
    assert len(told) > 2


def test_the_old_kek_is_refused_afterwards(url: str, old: str, new: str, box: bytes) -> None:
    """The store opens with the new KEK alone, not with the old one alone, and never goes back."""
    with qpher_core.open(url, protector=old) as kms:
        former = kms.protector.status().kek_id
        kek_id = kms.protector.rewrap(new).kek_id
    with pytest.raises(ProtectorUnavailable, match=kek_id):
        qpher_core.open(url, protector=old)
    with qpher_core.open(url, protector=[old, new]) as kms:
        session = kms.session("acme", actor="test")
        made = session.keys.generate(KEM, name="later")  # although the old one comes first
        assert keks_in(kms)[made.ref] == kek_id
        with pytest.raises(StateConflict, match=former):
            kms.protector.use(old)
        with pytest.raises(StateConflict, match=former):
            kms.protector.rewrap(old)
        assert kms.protector.status().kek_id == kek_id
    Path(old.removeprefix("file://")).unlink()
    with qpher_core.open(url, protector=new) as kms:
        assert decrypts(kms.session("acme", actor="test"), box)
        kms.anchors.publish()
        assert kms.audit.verify().ok


def test_a_choice_meanwhile_stops_it_to_the_end(
    url: str, old: str, new: str, box: bytes, tmp_path: Path
) -> None:
    """Who moves records to a KEK is told that another one was chosen, even after the last page."""
    with qpher_core.open(url, protector=old) as kms:

        def choose(done: int, total: int) -> None:
            if done == total:
                kms.protector.use(f"file://{tmp_path}/third.kek")

        with pytest.raises(StateConflict, match="chosen meanwhile"):
            kms.protector.rewrap(new, progress=choose)
        assert kms.protector.status().replaced == ()
        assert decrypts(kms.session("acme", actor="test"), box)
        kms.protector.rewrap()
        assert len(kms.protector.status().replaced) == 2


def test_a_kek_in_use_again_is_not_given_up(url: str, old: str, new: str, tmp_path: Path) -> None:
    """One that seals again is not told to be replaced later, while records need it."""
    with qpher_core.open(url, protector=old) as kms:
        kms.tenants.create("acme")
        kms.protector.use(new)
        former = kms.protector.use(old)
        kms.protector.rewrap()
        key = kms.session("acme", actor="test").keys.generate(KEM)
        assert keks_in(kms)[key.ref] == former
        kms.protector.use(f"file://{tmp_path}/third.kek")
        assert former not in kms.protector.status().replaced
        kms.protector.use(old)


def test_a_remembered_answer_needs_its_kek(url: str, old: str, new: str) -> None:
    """With the new KEK alone a call is neither answered again nor made again; with both it is."""
    with qpher_core.open(url, protector=old) as kms:
        tenant = kms.tenants.create("acme").id
        begun = kms.idempotency.begin(tenant, "k", b"request", uuid.uuid4())
        assert not isinstance(begun, bytes)
        kms.idempotency.finish(begun, b"answer")
        former = kms.protector.status().kek_id
        kms.protector.rewrap(new)
    with (
        qpher_core.open(url, protector=new) as kms,
        pytest.raises(ProtectorUnavailable, match=former),
    ):
        kms.idempotency.begin(tenant, "k", b"request", uuid.uuid4())
    with qpher_core.open(url, protector=[new, old]) as kms:
        assert kms.idempotency.begin(tenant, "k", b"request", uuid.uuid4()) == b"answer"


def test_an_interrupted_rewrap_goes_on(url: str, old: str, new: str, box: bytes) -> None:
    """What was moved stays moved; until the rest is, both KEKs are needed, and the error tells."""

    def stop(done: int, _: int) -> None:
        if done > 4:
            raise InterruptedError

    with qpher_core.open(url, protector=old) as kms:
        with pytest.raises(InterruptedError):
            kms.protector.rewrap(new, progress=stop)
        between = kms.protector.status()
        assert between.pending > 0
        assert len(between.records) == 2
        assert between.replaced == ()
        assert decrypts(kms.session("acme", actor="test"), box)
    for one in (old, new):
        with pytest.raises(ProtectorUnavailable, match="KEK"):
            qpher_core.open(url, protector=one)
    with qpher_core.open(url, protector=[new, old]) as kms:
        assert decrypts(kms.session("acme", actor="test"), box)
        report = kms.protector.rewrap()
        assert report.moved == between.pending
        assert report.kek_id == between.kek_id
        assert kms.protector.rewrap().moved == 0
    with qpher_core.open(url, protector=new) as kms:
        assert decrypts(kms.session("acme", actor="test"), box)


def test_the_service_goes_on_meanwhile(url: str, old: str, new: str, box: bytes) -> None:
    """Threads use, make and move keys during a rewrap; nothing fails, and nothing stays behind."""
    stop = threading.Event()
    failed: list[BaseException] = []

    with qpher_core.open(url, protector=old) as kms:

        def work(number: int) -> None:
            session = kms.session(TENANTS[number % 2], actor=f"worker-{number}")
            count = 0
            try:
                while not stop.is_set() or count < 3:
                    name = f"w{number}-{count}"
                    session.keys.generate(KEM, name=name)
                    sealed = session.kem.encrypt(b"x", name=name).ciphertext
                    session.keys.rotate(KEM, name=name)
                    assert session.kem.decrypt(sealed, 1, name=name).plaintext == b"x"
                    count += 1
            except BaseException as error:
                failed.append(error)
                raise

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        report = kms.protector.rewrap(new)
        stop.set()
        for thread in threads:
            thread.join()
        assert not failed
        assert set(keks_in(kms).values()) == {report.kek_id}
        assert kms.protector.status().pending == 0
        assert all(kms.audit.verify(tenant).ok for tenant in TENANTS)


@pytest.mark.parametrize("backend", backends(shared=True))
def test_other_processes_follow(backend: str, old: str, new: str, tmp_path: Path) -> None:
    """One that holds both KEKs seals under the new one at once; one that does not seals nothing."""
    shared = BACKENDS[backend].url(tmp_path)
    open_protector(new, create=True).close()
    qpher_core.open(shared, protector=old).close()
    with qpher_core.open(shared, protector=old) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="test")
        session.keys.generate(KEM)
        box = session.kem.encrypt(b"m")
        with (
            qpher_core.open(shared, protector=[old, new]) as both,
            qpher_core.open(shared, protector=old) as one,
        ):
            follower, stranger = (k.session("acme", actor="test") for k in (both, one))
            stranger.keys.generate(KEM, name="known")
            kek_id = kms.protector.use(new)
            made = follower.keys.generate(KEM, name="follower")
            assert keks_in(kms)[made.ref] == kek_id
            with pytest.raises(ProtectorUnavailable, match=kek_id):
                stranger.keys.generate(KEM, name="stranger")
            with pytest.raises(ProtectorUnavailable, match=kek_id):
                stranger.keys.retire(KEM, 1, name="known")
            assert {key.name for key in session.keys.list()} == {"default", "follower", "known"}
            assert session.keys.get(KEM, 1, name="known").state is S.ACTIVE
            assert stranger.kem.decrypt(box.ciphertext, 1).plaintext == b"m"
            kms.protector.rewrap()
            assert follower.kem.decrypt(box.ciphertext, 1).plaintext == b"m"


def test_destroying_needs_no_kek(url: str, old: str, new: str, box: bytes) -> None:
    """A key can be destroyed even where the KEK in use cannot be had."""
    with (
        qpher_core.open(url, protector=old) as stranger,
        qpher_core.open(url, protector=old) as kms,
    ):
        kms.protector.use(new)
        session = stranger.session("acme", actor="test")
        assert session.keys.destroy(KEM, 1, name="archived").state is S.DESTROYED


def test_a_damaged_record_is_told_and_left(
    url: str, old: str, new: str, box: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that does not authenticate stays as it is; its KEK is still needed."""
    with qpher_core.open(url, protector=old) as kms:
        tenant = kms.tenants.get("acme").id
        record = kms._store.keys.get(KeyRef(tenant, "retired", KEM, 1))
        assert record is not None
        assert record.sealed is not None

        spoiled = evolve(record, sealed=record.sealed[:-1] + bytes([record.sealed[-1] ^ 1]))
        assert kms._store.commit(lambda w: w.keys.replace(spoiled, revision=record.key.revision))
        report = kms.protector.rewrap(new)
        assert report.damaged == (record.key.ref,)
        assert report.replaced == ()
        assert kms._store.keys.get(record.key.ref) == spoiled
        assert kms.protector.status().pending == 1


def test_a_check_value_that_was_altered_seals_nothing(url: str, old: str, box: bytes) -> None:
    """The record that names the KEK in use authenticates, or nothing is sealed."""
    with qpher_core.open(url, protector=old) as kms:
        service_keys = kms._store.service_keys
        record = service_keys.active(SERVICE, "kek", "AES-256-GCM")
        assert record is not None
        assert record.sealed is not None
        spoiled = evolve(record, sealed=record.sealed[:-1] + bytes([record.sealed[-1] ^ 1]))
        assert kms._store.commit(lambda w: w.service_keys.replace(spoiled, revision=1))
        session = kms.session("acme", actor="test")
        with pytest.raises(ProtectorUnavailable, match=record.kek_id):
            session.keys.generate(KEM, name="more")
        assert decrypts(session, box)
