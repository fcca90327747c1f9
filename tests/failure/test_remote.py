# SPDX-License-Identifier: Apache-2.0
"""Sessions with a service elsewhere, over real sockets that fail in every way."""

import base64
import contextlib
import io
import logging
import os
import pickle
import random
import socket
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import qpher_core
from qpher_core import (
    AuthenticationError,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Receipt,
    RemoteSettings,
    Session,
    StateConflict,
    Unavailable,
    ValidationError,
    wrap_private_key,
)
from qpher_core.api_key_format import make_secret
from qpher_core.asgi import Settings, create_app
from qpher_core.service import Qpher
from tests.contract.served import quiet_key
from tests.failure.elsewhere import KEM, TENANT, connected, saying
from tests.failure.wire import Proxy, dripping, proxied, replying
from tests.http.server import serving
from tests.http_server import Answer


@pytest.fixture
def kms(tmp_path: Path) -> Iterator[Qpher]:
    """Open a service with a tenant and a key."""
    with qpher_core.open(f"sqlite:///{tmp_path}/q.db") as opened:
        opened.tenants.create("acme")
        opened.session("acme", actor="before").keys.generate(KEM)
        yield opened


@pytest.fixture
def proxy(kms: Qpher) -> Iterator[Proxy]:
    """Serve it behind a proxy."""
    with serving(create_app(kms)) as url, proxied(url) as standing:
        yield standing


@contextlib.contextmanager
def through(proxy: Proxy, kms: Qpher, **settings: Any) -> Iterator[Session]:
    """Open a session with the service through the proxy."""
    tenant = kms.tenants.get("acme").id
    api_key = quiet_key(kms, tenant, "remote")
    with connected(proxy.url, api_key, tenant_id=tenant, **settings) as session:
        yield session


def log_of(kms: Qpher, action: str) -> list[dict[str, Any]]:
    """Return the entries of one action, having verified the chain."""
    assert kms.audit.verify("acme").ok
    entries = kms.session("acme", actor="reader").audit.entries(start=2)
    return [e.fields for e in entries if e.fields["action"] == action]


CHANGES: dict[str, Callable[[Session], Any]] = {
    "keys.generate": lambda s: s.keys.generate(KEM, name="new"),
    "keys.rotate": lambda s: s.keys.rotate(KEM),
    "keys.suspend": lambda s: s.keys.suspend(KEM, 1),
    "keys.retire": lambda s: s.keys.retire(KEM, 1, reason="why"),
    "keys.compromise": lambda s: s.keys.compromise(KEM, 1),
    "keys.import": lambda s: s.keys.import_key(
        KEM, wrap_private_key(s.keys.import_parameters(), bytes(64), algorithm=KEM)
    ),
}


# --- nothing half-done -------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["lose", "half"])
@pytest.mark.parametrize("action", CHANGES)
def test_a_change_whose_answer_is_lost_is_made_once(
    kms: Qpher, proxy: Proxy, action: str, how: str
) -> None:
    """The repeat gets the first answer: one version, one revision, one entry in the log."""
    with through(proxy, kms) as session:
        parameters = 1 if action == "keys.import" else 0
        proxy.plan = ["pass"] * parameters + [how, how]
        made = CHANGES[action](session)
        assert proxy.requests == 3 + parameters
        entries = log_of(kms, action)
        assert [e["outcome"] for e in entries] == ["success"]
        keys = kms.session("acme", actor="reader").keys
        key = getattr(made, "key", made)
        assert keys.get(key.algorithm, key.version, name=key.name) == key
        assert len(keys.list()) == (1 if action.split(".")[1][:3] in {"sus", "ret", "com"} else 2)
        if hasattr(made, "receipt"):
            assert session.audit.entry(made.receipt).fields == entries[0]


def test_a_change_whose_answers_are_all_lost(kms: Qpher, proxy: Proxy) -> None:
    """Nobody knows whether it was done, and the error names the request that the log has."""
    with through(proxy, kms, attempts=3) as session:
        proxy.plan = ["lose"] * 3
        with pytest.raises(OutcomeUnknown) as caught:
            session.keys.generate(KEM, name="new")
        assert proxy.requests == 3
        [entry] = log_of(kms, "keys.generate")
        assert entry["request_id"] in str(caught.value)
        assert [key.version for key in session.keys.list(name="new")] == [1]


@pytest.mark.parametrize("action", ["policies.set", "tenants.update"])
def test_a_change_by_an_administrator_is_made_once(kms: Qpher, proxy: Proxy, action: str) -> None:
    """Rules and plans that are set are set once; nobody claims to know if no answer comes."""
    api_key = kms.api_keys.create("acme", scopes=["admin"])[1]
    remote = RemoteSettings(attempts=2)
    with qpher_core.open(proxy.url, api_key=api_key, remote=remote) as service:
        administration, tenant = service.administration(), kms.tenants.get("acme").id
        changes: dict[str, Callable[[], object]] = {
            "policies.set": lambda: administration.policies.set("[]", tenant=tenant),
            "tenants.update": lambda: administration.tenants.set_plan(tenant, "pro"),
        }
        proxy.plan = ["lose"]
        changes[action]()
        assert len(log_of(kms, action)) == 1
        proxy.plan = ["lose"] * 2
        with pytest.raises(OutcomeUnknown):
            changes[action]()
        assert len(log_of(kms, action)) == 2


def test_a_refusal_before_the_call_says_nothing_of_the_lost_attempt(
    kms: Qpher, proxy: Proxy
) -> None:
    """The change was made, its answer lost, and the API key revoked before the repeat."""

    def revoke(_: bytes) -> None:
        if proxy.requests == 2:
            [key] = kms.api_keys.list("acme")
            kms.api_keys.revoke("acme", key.id)

    with through(proxy, kms) as session:
        proxy.plan, proxy.seen = ["lose"], revoke
        with pytest.raises(OutcomeUnknown, match="API key"):
            session.keys.generate(KEM, name="new")
        assert [e["outcome"] for e in log_of(kms, "keys.generate")] == ["success"]
        with pytest.raises(AuthenticationError):
            session.keys.generate(KEM, name="newer")


def test_a_refusal_of_the_repeat_stands(kms: Qpher, proxy: Proxy) -> None:
    """Where the first attempt was refused too, or never arrived, nothing was done."""
    with through(proxy, kms) as session:
        proxy.plan = ["lose"]
        with pytest.raises(NotFound):
            session.keys.retire(KEM, 9)
        assert proxy.requests == 2


def test_a_conflict_of_the_repeat_stands(kms: Qpher, proxy: Proxy) -> None:
    """A name that is taken is no change under way: it is neither waited for nor left open."""
    api_key = kms.api_keys.create("acme", scopes=["admin"])[1]
    with qpher_core.open(proxy.url, api_key=api_key) as service:
        proxy.plan = ["lose"]
        with pytest.raises(StateConflict, match="exists"):
            service.administration().tenants.create("acme")
    assert proxy.requests == 2
    assert [tenant.name for tenant in kms.tenants.list()] == ["acme"]


def test_a_change_that_is_still_under_way_is_waited_for(kms: Qpher, proxy: Proxy) -> None:
    """A repeat that overtakes the first attempt waits until that is finished."""
    commit = kms._store.commit
    pauses = [1.0]

    def slow(work: Callable[[Any], Any], **named: Any) -> Any:
        result = commit(work, **named)
        if pauses and log_of(kms, "keys.generate"):
            time.sleep(pauses.pop())  # the change is durable, its answer is not written down
        return result

    with through(proxy, kms, attempts=9) as session, pytest.MonkeyPatch.context() as patch:
        patch.setattr(kms._store, "commit", slow)
        proxy.plan = ["drop"]
        assert session.keys.generate(KEM, name="new").version == 1
    assert proxy.requests > 2
    assert [e["outcome"] for e in log_of(kms, "keys.generate")] == ["success"]


def test_a_use_whose_answer_is_lost_is_repeated(kms: Qpher, proxy: Proxy) -> None:
    """It changes nothing; the log has every attempt, all under one request id."""
    with through(proxy, kms) as session:
        proxy.plan = ["lose", "half"]
        box = session.kem.encrypt(b"x")
        entries = log_of(kms, "kem.encrypt")
        assert [e["request_id"] for e in entries] == [box.request_id] * 3
        assert session.audit.entry(box.receipt).fields == entries[2]
        proxy.plan = ["lose"] * 4
        with pytest.raises(Unavailable) as caught:
            session.kem.encrypt(b"x")
        assert not isinstance(caught.value, OutcomeUnknown)


def test_random_faults_lose_and_double_nothing(kms: Qpher, proxy: Proxy) -> None:
    """Of eight threads, with a third of all answers lost: what returned is in the log, once."""
    choose = random.Random(7)
    proxy.plan = choose.choices(["pass", "lose", "half", "drop"], [6, 1, 1, 1], k=2000)
    returned: list[Receipt] = []
    made: list[str] = []
    unknown: list[str] = []

    def work(number: int) -> None:
        name = f"key {number}"
        try:
            session.keys.generate(KEM, name=name)
            made.append(name)
        except OutcomeUnknown:
            unknown.append(name)
            return
        for _ in range(3):
            with contextlib.suppress(Unavailable):
                returned.append(session.keys.rotate(KEM, name=name).receipt)
                returned.append(session.kem.encrypt(b"x", name=name).receipt)

    with through(proxy, kms) as session:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(40), timeout=120))
        proxy.plan = []
        for receipt in returned:
            assert session.audit.entry(receipt).fields["outcome"] == "success"
        keys = session.keys.list()
    assert len({receipt.seq for receipt in returned}) == len(returned)
    generated = [e["key"]["name"] for e in log_of(kms, "keys.generate")]
    assert len(generated) == len(set(generated))
    assert set(made) <= set(generated) <= {*made, *unknown}
    rotated = [(e["key"]["name"], e["key"]["version"]) for e in log_of(kms, "keys.rotate")]
    assert len(rotated) == len(set(rotated))
    assert len(keys) == 1 + len(generated) + len(rotated)


def test_refusals_are_repeated_neither_here_nor_there(kms: Qpher, proxy: Proxy) -> None:
    """What the service decides stands; one request, one entry."""
    with through(proxy, kms) as session:
        for error, attempt in (
            (NotFound, lambda: session.keys.retire(KEM, 9)),
            (StateConflict, lambda: session.keys.archive(KEM, 1)),
            (NotFound, lambda: session.kem.encrypt(b"x", 9)),
        ):
            before, entries = proxy.requests, kms.audit.verify("acme").entries
            with pytest.raises(error):
                attempt()
            assert proxy.requests == before + 1
            assert kms.audit.verify("acme").entries == entries + 1


def test_a_failed_call_leaves_no_file(kms: Qpher, proxy: Proxy, tmp_path: Path) -> None:
    """A file whose key cannot be had does not appear."""
    target = tmp_path / "target"
    with through(proxy, kms, attempts=1) as session:
        box = io.BytesIO()
        session.kem.encrypt_file(io.BytesIO(b"content"), box)
        proxy.plan = ["lose", "half"]
        with pytest.raises(Unavailable):
            session.kem.encrypt_file(io.BytesIO(b"content"), target)
        with pytest.raises(Unavailable):
            session.kem.decrypt_file(io.BytesIO(box.getvalue()), target, 1)
    assert not target.exists()


def test_plaintexts_of_files_stay_here(kms: Qpher) -> None:
    """What crosses the network on behalf of a file or a local envelope holds none of it."""
    sent: list[bytes] = []
    canary = b"canary" * 1000
    with serving(create_app(kms)) as url, proxied(url) as standing:
        standing.seen = sent.append
        with through(standing, kms) as session:
            session.kem.encrypt_file(io.BytesIO(canary), io.BytesIO())
            session.kem.decrypt_local(session.kem.encrypt_local(canary))
    wire = b"".join(sent)
    assert b"/kem/file-key/wrap" in wire
    assert b"/kem/encapsulate" in wire
    for shift in range(3):  # base64 of the canary at each of its three alignments
        assert base64.b64encode(canary[shift : shift + 12])[4:12] not in wire
    assert len(wire) < 20_000


# --- deadlines ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (b"", b""),
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\nx: ", b"y"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ],
    ids=["silence", "status", "header", "body", "chunks"],
)
def test_slow_servers_cost_the_deadline(first: bytes, more: bytes) -> None:
    """However slowly an answer comes, the call ends in time, with an error that fits it."""
    with dripping(first, more) as url, connected(url, make_secret()[1], deadline=0.4) as session:
        for attempt, error in (
            (lambda: session.kem.encrypt(b"x"), Unavailable),
            (lambda: session.keys.generate(KEM), OutcomeUnknown),
        ):
            started = time.monotonic()
            with pytest.raises(error):
                attempt()
            assert time.monotonic() - started < 10  # without a deadline it is for ever


def test_a_held_answer_costs_the_deadline(kms: Qpher, proxy: Proxy) -> None:
    """The service did it; the client knows that it does not know."""
    with through(proxy, kms, deadline=1) as session:
        proxy.plan = ["hold"]
        with pytest.raises(OutcomeUnknown):
            session.keys.generate(KEM, name="new")
        assert [e["outcome"] for e in log_of(kms, "keys.generate")] == ["success"]


# --- exports -----------------------------------------------------------------------------------


def export(url: str, target: Path, **settings: Any) -> None:
    """Export the log of the service at a URL."""
    remote = RemoteSettings(**settings)
    with qpher_core.open(url, api_key=make_secret()[1], remote=remote) as service:
        service.administration().audit.export(target)


def test_exports_that_do_not_begin(tmp_path: Path) -> None:
    """Silence, refusals and what is no answer of this API are errors, and leave no file."""
    target = tmp_path / "log"
    with dripping(b"", b"") as url, pytest.raises(Unavailable):
        export(url, target, deadline=0.4)
    for status in (302, 404, 503):
        with replying(saying(b"<html>", status)) as url, pytest.raises(Unavailable):
            export(url, target)
    assert not target.exists()


def test_an_export_that_is_cut(tmp_path: Path) -> None:
    """An answer that ends before its end is an error, however framed; an older export stays."""
    target = tmp_path / "log"
    target.write_text("an older export")
    chunked = b"transfer-encoding: chunked\r\n\r\n5\r\n12345\r\n"
    for rest in (chunked, b"content-length: 9\r\n\r\n12345"):
        with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:
            cut = threads.submit(_cut_after, listener, b"HTTP/1.1 200 OK\r\n" + rest)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with pytest.raises(Unavailable):
                export(url, target)
            cut.result()
        assert target.read_text() == "an older export"
        assert list(tmp_path.iterdir()) == [target]


def _cut_after(listener: socket.socket, answer: bytes) -> None:
    """Answer one request and close the connection."""
    connection, _ = listener.accept()
    with connection:
        connection.recv(1 << 16)
        connection.sendall(answer)


# --- no service at all -------------------------------------------------------------------------


def test_refused_connections() -> None:
    """Nothing was sent, so nothing was done: also for a change."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with connected(url, make_secret()[1], attempts=2) as session:
        for attempt in CHANGES.values():
            with pytest.raises(Unavailable) as caught:
                attempt(session)
            assert not isinstance(caught.value, OutcomeUnknown)


def test_a_service_that_comes_back_is_used_again(kms: Qpher) -> None:
    """A connection of before its restart is no obstacle."""
    tenant = kms.tenants.get("acme").id
    api_key = quiet_key(kms, tenant, "remote")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with connected(f"http://127.0.0.1:{address[1]}", api_key, tenant_id=tenant) as session:
        for _ in range(2):
            with serving(create_app(kms), port=address[1]):
                assert session.kem.encrypt(b"x").key_version == 1
            with pytest.raises(Unavailable):
                session.kem.encrypt(b"x")


# --- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1 << 20) + 1, 5 << 20, 40 << 20])
def test_what_is_too_large_is_refused_by_name(kms: Qpher, size: int) -> None:
    """One request, one typed error, also where the service does not read it to its end."""
    tenant = kms.tenants.get("acme").id
    api_key = quiet_key(kms, tenant, "remote")
    with serving(create_app(kms)) as url, connected(url, api_key, tenant_id=tenant) as session:
        with pytest.raises(ValidationError) as caught:
            session.kem.encrypt(bytes(size))
        assert caught.value.code == "ERR_INVALID_004"
        assert session.kem.encrypt(bytes(1 << 20)).key_version == 1


def test_a_batch_beyond_one_request_is_several(kms: Qpher, proxy: Proxy) -> None:
    """A service takes 1,000 items at once; more go in further requests, up to 10,000."""
    with through(proxy, kms) as session:
        before = kms.audit.verify("acme").entries
        with pytest.raises(ValidationError, match="10000"):
            session.kem.encapsulate_many(10_001)
        assert kms.audit.verify("acme").entries == before
        assert len(session.kem.encapsulate_many(1001)) == 1001
        assert kms.audit.verify("acme").entries == before + 1001


def test_a_batch_too_large_for_this_service_is_several(kms: Qpher) -> None:
    """A service that takes smaller bodies gets smaller parts; one item too large is refused."""
    tenant = kms.tenants.get("acme").id
    api_key = quiet_key(kms, tenant, "remote")
    kms.session("acme", actor="before").keys.generate("ML-DSA-65")
    settings = Settings(largest_body=1 << 15, largest_payload=1 << 16)  # batches of 256 KiB
    with (
        serving(create_app(kms, settings)) as url,
        connected(url, api_key, tenant_id=tenant) as session,
    ):
        messages = [bytes([number]) * 20_000 for number in range(20)]
        signed = [done.signature for done in session.signatures.sign_many(messages)]
        pairs = list(zip(messages, signed, strict=True))
        wrong = [*pairs[:-1], (b"other", signed[-1])]
        assert [done.valid for done in session.signatures.verify_many(wrong, 1)] == (
            [True] * 19 + [False]
        )
        before = kms.audit.verify("acme").entries
        for large in (bytes(200_000), bytes((1 << 16) + 1)):
            with pytest.raises(ValidationError) as caught:
                session.signatures.sign_many([large] * 2)
            assert caught.value.code == "ERR_INVALID_004"
        assert kms.audit.verify("acme").entries == before


def test_a_batch_too_large_for_a_proxy_is_several() -> None:
    """A 413 of whoever stands between is understood, down to a single item."""
    asked: list[str] = []

    def answer(method: str, target: str, headers: Mapping[str, str]) -> Answer:
        asked.append(target)
        return 413, {}, b"<html>"

    with replying(answer) as url, connected(url, make_secret()[1]) as session:
        with pytest.raises(ValidationError, match="so large"):
            session.kem.decapsulate_many([bytes(1088)] * 4, 1)
        assert len(asked) == 3  # four items, two, one
        with pytest.raises(ValidationError, match="so large"):
            session.kem.encapsulate(1)
        assert len(asked) == 4


def test_rate_limits_are_waited_for_or_raised(kms: Qpher) -> None:
    """The service says how long to wait; who has no time for that gets the error."""
    tenant = kms.tenants.get("acme").id
    api_key = quiet_key(kms, tenant, "remote")
    with serving(create_app(kms, Settings(key_rate="1/second"))) as url:
        with connected(url, api_key, tenant_id=tenant) as session:
            versions = [session.kem.encrypt(b"x").key_version for _ in range(3)]
        assert versions == [1, 1, 1]
        other = quiet_key(kms, tenant, "other")
        with connected(url, other, tenant_id=tenant, attempts=1) as session:
            session.kem.encrypt(b"x")
            with pytest.raises(RateLimited):
                session.kem.encrypt(b"x")


def test_connections_are_pooled(kms: Qpher, proxy: Proxy) -> None:
    """Calls one after the other use one connection."""
    with through(proxy, kms) as session:
        for _ in range(20):
            session.kem.encapsulate()
    assert (proxy.connections, proxy.requests) == (1, 20)


def test_a_fork_has_connections_of_its_own(kms: Qpher, proxy: Proxy) -> None:
    """A child connects anew, and what it does and closes is nothing to its parent's connection."""
    with through(proxy, kms) as session:
        session.kem.encapsulate()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: forking with threads
            child = os.fork()
        if child == 0:
            try:
                session.kem.encapsulate()
                session._pipeline._link.close()  # type: ignore[attr-defined]
            finally:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        session.kem.encapsulate()
    assert (proxy.connections, proxy.requests) == (2, 3)


# --- secrets -----------------------------------------------------------------------------------


def _everything_said(error: BaseException) -> str:
    """Return the error's traceback with all local variables, of all that it is chained to."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(told.format()) + repr(error)


def _outside_of_tests(text: str) -> str:
    """Leave out this module's own frames, which hold the API key as a variable."""
    frames = text.split("  File ")
    return "".join(frame for frame in frames if __file__ not in frame.partition(",")[0])


@pytest.mark.parametrize("what", ["refused", "lost", "bad", "unauthorised", "held"])
def test_api_keys_are_not_shown(
    kms: Qpher, proxy: Proxy, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither representations nor errors, their tracebacks with variables, nor logs have it."""
    caplog.set_level(logging.DEBUG)
    api_key = quiet_key(kms, "acme", "remote")
    if what == "unauthorised":
        api_key = make_secret()[1]
    with contextlib.ExitStack() as stack:
        url = proxy.url
        if what == "refused":
            url = "http://127.0.0.1:1"
        if what == "bad":
            url = stack.enter_context(replying(saying(b"{}")))
        proxy.plan = {"lost": ["lose"], "held": ["hold"]}.get(what, [])
        settings = RemoteSettings(attempts=1, deadline=1, tenant_id=TENANT)
        service = stack.enter_context(qpher_core.open(url, api_key=api_key, remote=settings))
        session = service.session()
        expected = AuthenticationError if what == "unauthorised" else Unavailable
        with pytest.raises(expected) as caught:
            session.kem.encrypt(b"x")
        shown = [service, session, session.kem, session.keys, session.audit, session.usage]
    said = _outside_of_tests(_everything_said(caught.value))
    assert "link.py" in said
    secret = api_key.split("_")[2]
    assert secret not in said
    assert secret not in caplog.text
    assert secret not in " ".join(map(repr, shown))
    for thing in shown[:2]:
        with pytest.raises(TypeError):
            pickle.dumps(thing)
