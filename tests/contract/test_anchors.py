# SPDX-License-Identifier: Apache-2.0
"""Anchors on every backend: chaining, rotation, publishing, the background thread."""

import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import qpher_core
from qpher_core import (
    AnchorSettings,
    NotFound,
    Problem,
    StateConflict,
    StoreUnavailable,
    Unavailable,
    ValidationError,
)
from qpher_core.audit.anchor_keys import SERVICE
from qpher_core.audit.checkpoint import Checkpoint
from qpher_core.audit.note import Note
from qpher_core.audit.publishers import FilePublisher
from qpher_core.audit.records import StoredAnchor
from qpher_core.audit.vkey import (
    COSIGNATURE,
    NoteSigner,
    VerifierKey,
    parse_vkeys,
    verify_note,
)
from qpher_core.lifecycle import KeyState
from qpher_core.protocols import Store, StoreWriter
from qpher_core.service import Qpher
from tests.failure.wire import replying
from tests.http_server import Answer
from tests.policy_servers import hanging_up
from tests.records import NOW, append, new_tenant


@pytest.fixture
def tenant(service: Qpher) -> qpher_core.Tenant:
    """Return a tenant that nothing else uses."""
    return service.tenants.create(f"anchored-{uuid.uuid4().hex}")


def test_an_anchor_states_the_log(service: Qpher, tenant: qpher_core.Tenant) -> None:
    """Size, root and head are those of the log; anchor key and cosigner signed."""
    anchor = service.anchors.publish(tenant)
    state = service._store.audit.state(tenant.id)
    note = Note.parse(anchor.note)
    checkpoint = Checkpoint.parse(note.text)
    assert (checkpoint.size, checkpoint.root, checkpoint.head) == (1, state.root, state.head)
    keys = list(map(VerifierKey.parse, service.anchors.keys()))
    signers = verify_note(note, keys)
    assert str(signers[0]) == service.anchors.key()
    assert signers[-1].type is COSIGNATURE
    assert parse_vkeys("# anchor keys\n\n" + "\n".join(map(str, keys))) == keys


def test_a_log_that_did_not_grow_keeps_its_anchor(
    service: Qpher, tenant: qpher_core.Tenant
) -> None:
    """Anchoring twice gives the same anchor; growing gives another, and both are listed."""
    first = service.anchors.publish(tenant)
    assert service.anchors.publish(tenant) == first
    service.tenants.set_plan(tenant.id, None)
    second = service.anchors.publish(tenant)
    assert (first.size, second.size) == (1, 2)
    assert list(service.anchors.list(tenant)) == [first, second]
    assert list(service.anchors.list(tenant, start=2)) == [second]
    assert service.anchors.latest(tenant) == second
    service.anchors.check(first.note, tenant)


def test_an_anchor_of_entries_that_are_gone_is_named(
    service: Qpher, tenant: qpher_core.Tenant
) -> None:
    """A log that is shorter than an anchor in its store was cut: verification tells where."""
    log, keys = service._store.audit.state(tenant.id), service._anchorer.keys
    longer = evolve(Checkpoint.of(keys.service, tenant.id, log), size=log.size + 3)
    note = Note(longer.text).signed(*(signer.sign(longer.text) for signer in keys.signers()))
    anchor = StoredAnchor(tenant.id, longer.size, NOW, str(note))
    assert service.audit.verify(tenant.id).ok
    service._store.commit(lambda writer: writer.anchors.insert(anchor), tenant_id=tenant.id)
    report = service.audit.verify(tenant.id)
    assert (report.bad_seq, report.problem.partition(":")[0]) == (1, Problem.ROLLED_BACK)


def test_a_rotation_is_stated_by_the_old_key(service: Qpher, tenant: qpher_core.Tenant) -> None:
    """The statement names both keys and verifies under the old one; anchors go on."""
    service.anchors.publish(tenant)
    old = service.anchors.key()
    new = service.anchors.rotate(actor="alice")
    assert service.anchors.key() == new != old
    statement = Note.parse(service.anchors.statements()[-1])
    assert f"old {old}\nnew {new}\n" in statement.text
    verify_note(statement, [VerifierKey.parse(old)])
    service.tenants.set_plan(tenant.id, None)
    verify_note(Note.parse(service.anchors.publish(tenant).note), [VerifierKey.parse(new)])
    assert service.audit.verify().ok


@pytest.fixture
def rotated(service: Qpher, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what has the anchor key rotated once, when it was looked up and not opened yet."""

    def interrupt() -> None:
        keys = service._anchorer.keys
        look, pending = keys._current, [keys.rotate]

        def looked() -> qpher_core.KeyVersion:
            found = look()
            if pending:
                pending.pop()("another node")
            return found

        monkeypatch.setattr(keys, "_current", looked)

    return interrupt


def test_a_key_that_is_rotated_at_the_same_moment_is_looked_up_again(
    service: Qpher, tenant: qpher_core.Tenant, rotated: Callable[[], None]
) -> None:
    """The anchor is made, and signed by the key that counts by then."""
    service.anchors.publish(tenant)
    service.tenants.set_plan(tenant.id, None)
    rotated()
    note = Note.parse(service.anchors.publish(tenant).note)
    verify_note(note, [VerifierKey.parse(service.anchors.key())])


def test_no_anchor_by_a_former_key_comes_after_one_by_its_successor(
    service: Qpher,
    tenant: qpher_core.Tenant,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A node that is slow to store its anchor makes it again, with the key that counts by then."""
    service.anchors.publish(tenant)
    service.tenants.set_plan(tenant.id, "pro")
    keys = service._anchorer.keys
    found, others = keys.signers, [service.anchors.rotate]

    def slow() -> list[NoteSigner]:
        signers = found()
        if others:
            others.pop()()
            service.anchors.publish(tenant)
            service.tenants.set_plan(tenant.id, None)
        return signers

    monkeypatch.setattr(keys, "signers", slow)
    assert service.anchors.publish(tenant).size == 3
    service.audit.export(tmp_path / "export", tenant.id)
    keys_known = list(map(VerifierKey.parse, service.anchors.keys()))
    report = qpher_core.verify_export(tmp_path / "export", keys_known)
    assert (report.ok, report.anchors) == (True, 3), report.detail


def test_of_two_rotations_at_once_one_is_refused(service: Qpher) -> None:
    """The one that comes second says so, however late it notices."""
    keys = service._anchorer.keys
    (old,) = service._anchorer.keys._keys.find(SERVICE, name="anchor", state=KeyState.ACTIVE)
    service.anchors.rotate()
    statements = service.anchors.statements()
    with pytest.raises(StateConflict, match="at the same moment"):
        keys._rotate(old, "another node")
    assert service.anchors.statements() == statements


def test_nothing_anchors_an_empty_log(service: Qpher) -> None:
    """A log without entries has no anchor."""
    with pytest.raises(NotFound):
        service.anchors.publish(uuid.uuid4())


def test_proofs_take_the_anchor_that_is_there(service: Qpher, tenant: qpher_core.Tenant) -> None:
    """A proof uses the first anchor that covers its entry and forces none."""
    session = service.session(tenant.id, actor="x")
    receipt = (
        session.keys.generate("ML-KEM-768") and next(iter(session.audit.entries(start=1))).receipt
    )
    first = session.audit.proof(receipt)
    for _ in range(3):
        session.kem.encapsulate()
    service.anchors.publish(tenant)
    assert session.audit.proof(receipt) == first


def test_profile_cnsa2_signs_with_its_algorithm(tmp_path: Path) -> None:
    """Under cnsa2 the key is rotated to ML-DSA-87, and the ML-DSA-44 cosignature is left out."""
    with qpher_core.open(f"sqlite:///{tmp_path}/q.db") as kms:
        tenant = kms.tenants.create("acme")
        before = kms.anchors.publish(tenant)
        kms.policies.set('[{"rule":"plan"},{"rule":"profile","profile":"cnsa2"}]')
        kms.tenants.set_plan("acme", None)
        after = Note.parse(kms.anchors.publish(tenant).note)
        assert VerifierKey.parse(kms.anchors.key()).type.algorithm == "ML-DSA-87"
        assert len(Note.parse(before.note).signatures) == 2
        assert len(after.signatures) == 1
        kms.audit.export(tmp_path / "e", "acme")
        keys = list(map(VerifierKey.parse, kms.anchors.keys()))
        assert qpher_core.verify_export(tmp_path / "e", keys[:1]).ok


# --- records -----------------------------------------------------------------------------------


def test_anchors_only_grow(store: Store) -> None:
    """A second anchor of the same or a smaller size is refused."""
    tenant = new_tenant()
    anchor = StoredAnchor(tenant.id, 2, NOW, "note\n")

    def work(writer: StoreWriter) -> None:
        writer.tenants.insert(tenant)
        append(writer, tenant.id)
        append(writer, tenant.id)
        writer.anchors.insert(anchor)

    store.commit(work)
    for size in (1, 2):
        with pytest.raises(StoreUnavailable):
            store.commit(lambda w, size=size: w.anchors.insert(evolve(anchor, size=size)))
    assert store.anchors.latest(tenant.id) == anchor
    assert store.anchors.covering(tenant.id, 1) == anchor
    assert store.anchors.covering(tenant.id, 3) is None
    assert store.anchors.logs() == []
    store.commit(lambda writer: append(writer, tenant.id))
    assert store.anchors.logs() == [tenant.id]


def test_what_is_no_tenant_has_no_log(service: Qpher, tenant: qpher_core.Tenant) -> None:
    """A name, an id as text, and what is no place or note are refused by name, on every store."""
    note, anchors = service.anchors.publish(tenant).note, service.anchors
    wrong: dict[str, list[Callable[[Any], object]]] = {
        "tenant": [
            anchors.latest,
            anchors.publish,
            anchors.list,
            lambda owner: anchors.check(note, owner),
        ],
        "start": [lambda value: anchors.list(tenant, start=value)],
        "note": [lambda value: anchors.check(value, tenant)],
    }
    values = {"tenant": [tenant.name, str(tenant.id), 5], "start": [-1, "1", 1 << 63], "note": [5]}
    for parameter, calls in wrong.items():
        for call in calls:
            for value in values[parameter]:
                with pytest.raises(ValidationError) as caught:
                    call(value)
                assert caught.value.parameter == parameter
    assert len(list(anchors.list(tenant))) == 1


# --- publishers --------------------------------------------------------------------------------


class _Endpoint(BaseHTTPRequestHandler):
    received: list[tuple[str, str]]
    status = 204

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.received.append((self.headers["Qpher-Log"], body))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[tuple[str, type[_Endpoint]]]:
    """Serve an endpoint that takes anchors."""
    handler = type("Endpoint", (_Endpoint,), {"received": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/anchors", handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_anchor_goes_to_every_publisher(
    tmp_path: Path, endpoint: tuple[str, type[_Endpoint]]
) -> None:
    """File, endpoint and function get the note as it is stored, once."""
    called: list[tuple[uuid.UUID, str]] = []
    settings = AnchorSettings(
        service="kms.example",
        publishers=[
            f"file://{tmp_path}/published",
            endpoint[0],
            lambda tenant_id, note: called.append((tenant_id, note)),
        ],
    )
    with qpher_core.open("memory:", anchors=settings) as kms:
        tenant = kms.tenants.create("acme")
        anchor = kms.anchors.publish(tenant)
        assert kms.anchors.publish(tenant) == anchor
        assert kms.anchors.key().startswith("kms.example+")
    published = tmp_path / "published" / f"{tenant.id}.checkpoint"
    assert published.read_text(encoding="utf-8") == anchor.note
    assert endpoint[1].received == [(str(tenant.id), anchor.note)]
    assert called == [(tenant.id, anchor.note)]
    assert [path.name for path in published.parent.iterdir()] == [published.name]


def test_a_publisher_that_fails_is_tried_again(endpoint: tuple[str, type[_Endpoint]]) -> None:
    """The anchor stays in the store, the caller is told, and the next attempt publishes it."""
    with qpher_core.open("memory:", anchors=AnchorSettings(publishers=[endpoint[0]])) as kms:
        tenant = kms.tenants.create("acme")
        endpoint[1].status = 500
        with pytest.raises(Unavailable):
            kms.anchors.publish(tenant)
        kept = kms.anchors.latest(tenant)
        endpoint[1].status = 204
        assert kms.anchors.publish(tenant) == kept
        assert len(endpoint[1].received) == 2


def test_a_published_anchor_is_not_replaced_by_an_older_one(tmp_path: Path) -> None:
    """A node that is overtaken while it publishes leaves the newer anchor of the other there."""
    url, place = f"sqlite:///{tmp_path}/q.db", FilePublisher(tmp_path / "published")
    tenants: list[qpher_core.Tenant] = []

    class Overtaken:
        def latest(self, tenant_id: uuid.UUID) -> str | None:
            return place.latest(tenant_id)

        def publish(self, tenant_id: uuid.UUID, note: str) -> None:
            while tenants:
                tenant = tenants.pop()
                two.tenants.set_plan(tenant.id, "pro")
                two.anchors.publish(tenant)
            place.publish(tenant_id, note)

    with (
        qpher_core.open(
            url, anchors=AnchorSettings(every_seconds=None, publishers=[Overtaken()])
        ) as one,
        qpher_core.open(url, anchors=AnchorSettings(every_seconds=None, publishers=[place])) as two,
    ):
        tenant = one.tenants.create("acme")
        tenants.append(tenant)
        one.anchors.publish(tenant)
        newest = one.anchors.latest(tenant)
    assert newest is not None
    assert newest.size == 2
    assert place.latest(tenant.id) == newest.note


@pytest.mark.parametrize(
    "bad",
    [
        *({"every_entries": bad} for bad in (0, True, 1.5, "9")),
        *({"every_seconds": bad} for bad in (0, -1, True, "9", math.nan, math.inf)),
        *({"service": bad} for bad in ("", "a b", "a+b", 3, "é" * 101, "a\n")),
        *({"publishers": bad} for bad in ("file:///srv/anchors", 3)),
        *({"witnesses": bad} for bad in ("https://witness.example", ["https://witness.example"])),
    ],
    ids=str,
)
def test_settings_are_checked(bad: dict[str, Any]) -> None:
    """Intervals must be positive, names fit into a signed note, and one text is no list."""
    with pytest.raises(ValidationError) as caught:
        AnchorSettings(**bad)
    assert caught.value.parameter in bad


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirected_anchor_is_not_published(status: int) -> None:
    """Who follows it with a GET gets an answer of success, and has published nothing."""
    asked: list[tuple[str, str]] = []

    def answer(method: str, target: str, _: object) -> Answer:
        asked.append((method, target))
        return (200, {}, b"") if target == "/ok" else (status, {"Location": "/ok"}, b"")

    with (
        replying(answer) as url,
        qpher_core.open("memory:", anchors=AnchorSettings(publishers=[url])) as kms,
        pytest.raises(Unavailable),
    ):
        kms.anchors.publish(kms.tenants.create("acme"))
    assert asked == [("POST", "/")]


@pytest.mark.parametrize("said", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 2\r\n\r\n"])
def test_an_endpoint_that_answers_nonsense_is_unavailable(
    said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The error and the log name its host, and nothing of a URL that can hold a credential."""
    with hanging_up(said) as host:
        anchors = AnchorSettings(publishers=[f"http://{host}/canary?canary"])
        with qpher_core.open("memory:", anchors=anchors) as kms:
            with pytest.raises(Unavailable):
                kms.anchors.publish(kms.tenants.create("acme"))
            shown = repr(kms._anchorer._publishers)
    assert "127.0.0.1 does not answer" in caplog.text
    assert "canary" not in caplog.text + shown


@pytest.mark.parametrize(
    "target",
    ["ftp://x", "https://", "http://[", "http://x:y/", "https://user:canary@x", "http://x:0", 3],
)
def test_a_publisher_must_be_one(target: Any) -> None:
    """A URL of another scheme, or without a host, is refused on opening, and not shown."""
    with pytest.raises(ValidationError) as caught:
        qpher_core.open("memory:", anchors=AnchorSettings(publishers=[target]))
    assert caught.value.parameter == "publishers"
    assert "canary" not in str(caught.value)


class _Broken(FilePublisher):
    """Raises what a publisher must not raise."""

    def latest(self, tenant_id: uuid.UUID) -> str | None:
        raise LookupError(tenant_id)


# --- the background ----------------------------------------------------------------------------


def _until_anchored(kms: Qpher, tenant: qpher_core.Tenant, size: int) -> None:
    deadline = time.monotonic() + 20
    while (found := kms.anchors.latest(tenant)) is None or found.size < size:
        assert time.monotonic() < deadline, "no anchor came"
        time.sleep(0.01)


def test_growth_is_anchored_at_once(tmp_path: Path) -> None:
    """After N entries an anchor comes long before its time."""
    settings = AnchorSettings(every_entries=10, every_seconds=3600)
    with qpher_core.open(f"sqlite:///{tmp_path}/q.db", anchors=settings) as kms:
        tenant = kms.tenants.create("acme")
        session = kms.session("acme", actor="x")
        session.keys.generate("ML-KEM-768")
        for _ in range(9):
            session.kem.encapsulate()
        _until_anchored(kms, tenant, 10)


def test_time_anchors_every_log_that_grew(tmp_path: Path) -> None:
    """After T seconds each log has an anchor over all its entries."""
    settings = AnchorSettings(every_seconds=0.05)
    with qpher_core.open(f"sqlite:///{tmp_path}/q.db", anchors=settings) as kms:
        tenants = [kms.tenants.create(name) for name in ("a", "b")]
        for tenant in tenants:
            _until_anchored(kms, tenant, 1)


def test_the_background_survives_a_broken_publisher(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An unexpected error is logged without its text, and the next attempt is made."""
    broken = _Broken(tmp_path)
    settings = AnchorSettings(every_seconds=0.01, publishers=[broken])
    with qpher_core.open("memory:", anchors=settings) as kms:
        kms.tenants.create("acme")
        deadline = time.monotonic() + 20
        while caplog.text.count("LookupError") < 4:  # of two logs, twice
            assert time.monotonic() < deadline, "the background ended"
            time.sleep(0.01)


def test_two_nodes_make_one_chain_of_anchors(tmp_path: Path) -> None:
    """Two services on one store, both anchoring all the time, leave a sound log and anchors."""
    settings = AnchorSettings(every_entries=3, every_seconds=0.01)
    url = f"sqlite:///{tmp_path}/q.db"
    with (
        qpher_core.open(url, anchors=settings) as one,
        qpher_core.open(url, anchors=settings) as two,
    ):
        tenant = one.tenants.create("acme")
        one.session("acme", actor="x").keys.generate("ML-KEM-768")
        for kms in (one, two) * 15:
            kms.session("acme", actor="x").kem.encapsulate()
        one.audit.export(tmp_path / "e", "acme")
        assert one.anchors.keys() == two.anchors.keys()
        keys = list(map(VerifierKey.parse, two.anchors.keys()))
        report = qpher_core.verify_export(tmp_path / "e", keys)
    assert report.ok, report
    assert tenant.id == uuid.UUID(report.tenant)
