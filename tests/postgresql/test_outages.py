# SPDX-License-Identifier: Apache-2.0
"""The server stops, crashes or loses connections under load: typed errors, nothing lost."""

import gc
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

import qpher_core
from qpher_backends.group_commit import TransactionLost
from qpher_backends.postgres import PostgresStore, transaction
from qpher_backends.postgres.connections import Connection
from qpher_core.errors import StoreUnavailable
from tests.postgres import Server
from tests.postgresql.conftest import Prompt
from tests.records import append, new_tenant

SIGNATURE = "ML-DSA-44"
UNKNOWN = "outcome is not known"


class Load:
    """Threads that sign and rotate until they are told to stop, and what came of it."""

    def __init__(self, kms: qpher_core.Qpher, threads: int = 6) -> None:
        self.acknowledged: dict[int, bytes] = {}
        self.refusals: Counter[str] = Counter()
        self.unexpected: list[BaseException] = []
        self._kms = kms
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(n,)) for n in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.goes_on()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self) -> None:
        """Wait until operations are acknowledged again."""
        wanted = len(self.acknowledged) + 20
        ends = time.monotonic() + 60
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < ends, (self.refusals, self.unexpected)
            time.sleep(0.01)

    def _work(self, number: int) -> None:
        try:
            session = self._kms.session("acme", actor=f"worker-{number}")
            while not self._stop.is_set():
                self._operate(session, rotates=number == 0)
        except BaseException as error:  # noqa: BLE001 - it is looked at by the test
            self.unexpected.append(error)

    def _operate(self, session: qpher_core.Session, *, rotates: bool) -> None:
        try:
            if rotates:
                time.sleep(0.01)  # or nobody would find a key that stays for a moment
                receipt = session.keys.rotate(SIGNATURE).receipt
            else:
                receipt = session.signatures.sign(b"m", algorithm=SIGNATURE).receipt
        except qpher_core.Unavailable as error:
            self.refusals["unknown" if UNKNOWN in str(error) else type(error).__name__] += 1
        else:
            self.acknowledged[receipt.seq] = receipt.hash

    def check(self) -> None:
        """Hold the log against what was acknowledged."""
        assert self.unexpected == []
        assert self._kms.audit.verify("acme").ok
        entries = list(self._kms.session("acme", actor="check").audit.entries())
        hashes = {entry.seq: entry.hash for entry in entries}
        assert self.acknowledged.items() <= hashes.items(), "what was acknowledged is lost"
        made = {"signatures.sign", "keys.rotate"}
        told = [
            entry.seq
            for entry in entries
            if entry.fields["action"] in made and entry.fields["outcome"] == "success"
        ]
        extra = set(told) - self.acknowledged.keys()
        assert len(extra) <= self.refusals["unknown"], "recorded, but told to have failed"
        versions = self._kms.session("acme", actor="check").keys.list(SIGNATURE)
        assert [key.version for key in versions] == list(range(1, len(versions) + 1))
        assert [key.state for key in versions].count("active") == 1


@pytest.fixture
def kms(own: Server, tmp_path: Path) -> Iterator[qpher_core.Qpher]:
    """Open a service on a server that can be stopped."""
    with qpher_core.open(own.fresh(f"d_{os.urandom(4).hex()}")) as opened:
        opened.tenants.create("acme")
        opened.session("acme", actor="test").keys.generate(SIGNATURE)
        yield opened


def _fast(own: Server) -> None:
    own.stop("fast")
    own.start()


def _immediate(own: Server) -> None:
    own.stop("immediate")
    own.start()


def _kill_backend(own: Server) -> None:
    """Kill one process of a session: the server restarts all of them, as after a crash."""
    with own.connect() as superuser:
        found = superuser.execute(
            "SELECT pid FROM pg_stat_activity WHERE usename = 'qpher_node_1'"
        ).fetchone()
    assert found is not None
    os.kill(found[0], signal.SIGKILL)
    own.wait()


def _terminate(own: Server) -> None:
    """End every session of the nodes."""
    with own.connect() as superuser:
        superuser.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'qpher_node_1'"
        )


OUTAGES = {
    "fast stop": _fast,
    "immediate stop": _immediate,
    "killed backend": _kill_backend,
    "ended sessions": _terminate,
}


@pytest.mark.parametrize("how", OUTAGES)
def test_an_outage_that_ends_in_time_is_not_seen(
    own: Server, kms: qpher_core.Qpher, how: str
) -> None:
    """Stopped and started under load within the deadline: no operation fails, nothing is lost."""
    with Load(kms) as load:
        for _ in range(3):
            OUTAGES[how](own)
            load.goes_on()
    load.check()
    assert not load.refusals


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_an_outage_beyond_the_deadline(own: Server, tmp_path: Path, mode: str) -> None:
    """While the server is down each operation ends with a typed error; then all work again."""
    url = own.fresh(f"d_{os.urandom(4).hex()}") + "&deadline=0.5"
    with qpher_core.open(url) as kms:
        kms.tenants.create("acme")
        kms.session("acme", actor="test").keys.generate(SIGNATURE)
        with Load(kms) as load:
            own.stop(mode)
            time.sleep(1.5)
            own.start()
            load.goes_on()
        load.check()
        assert load.refusals.keys() <= {"AuditUnavailable", "StoreUnavailable", "unknown"}
        assert load.refusals.total() > 0


# --- a connection that is lost at one moment ------------------------------------------------------


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    """Open a store with a short deadline."""
    opened = PostgresStore(url, deadline=5)
    yield opened
    opened.close()


def _cut(superuser: Prompt, connection: Connection) -> None:
    superuser.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
    while superuser.execute(
        "SELECT 1 FROM pg_stat_activity WHERE pid = %s", (connection.info.backend_pid,)
    ).fetchone():
        time.sleep(0.01)


@pytest.fixture
def around_commit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what sets a function to be called instead of the first COMMIT that writes."""

    def set_up(instead: Callable[[Connection, Callable[[], Any]], Any]) -> None:
        execute = Connection.execute
        left = [1]

        def executing(self: Connection, query: Any, *rest: Any, **named: Any) -> Any:
            reading = getattr(self, "reading", False)
            if isinstance(query, str) and query.startswith("BEGIN"):
                self.reading = query == "BEGIN READ ONLY"  # type: ignore[attr-defined]
            if query == "COMMIT" and not reading and left[0]:
                left[0] -= 1
                return instead(self, lambda: execute(self, query, *rest, **named))
            return execute(self, query, *rest, **named)

        monkeypatch.setattr(Connection, "execute", executing)

    return set_up


def test_lost_before_the_commit_it_is_done_again(
    store: PostgresStore, superuser: Prompt, around_commit: Callable[..., None]
) -> None:
    """A transaction that never got to its commit is done again, once."""
    tenant, runs = new_tenant(), []
    store.commit(lambda w: w.tenants.insert(tenant), tenant_id=tenant.id)

    def cut_first(connection: Connection, commit: Callable[[], Any]) -> Any:
        _cut(superuser, connection)
        return commit()

    around_commit(cut_first)
    entry = store.commit(lambda w: (runs.append(1), append(w, tenant.id))[1], tenant_id=tenant.id)
    assert list(store.audit.read(tenant.id)) == [entry]
    assert len(runs) == 2


@pytest.mark.parametrize("logged", [True, False])
def test_lost_after_the_commit_it_is_not_done_again(
    store: PostgresStore,
    superuser: Prompt,
    around_commit: Callable[..., None],
    *,
    logged: bool,
) -> None:
    """A commit whose answer is lost took place, and is neither repeated nor told to have failed."""
    tenant, runs = new_tenant(), []
    store.commit(lambda w: w.tenants.insert(tenant), tenant_id=tenant.id)

    def cut_afterwards(connection: Connection, commit: Callable[[], Any]) -> Any:
        done = commit()
        connection.pgconn.pipeline_sync()
        connection.pgconn.flush()
        ends = time.monotonic() + 5
        while not _there(store, tenant.id, logged=logged):
            assert time.monotonic() < ends
        _cut(superuser, connection)
        return done

    around_commit(cut_afterwards)

    def work(writer: transaction.Writer) -> None:
        runs.append(1)
        if logged:
            append(writer, tenant.id)
        else:
            writer.policies.insert(qpher_core.PolicyDocument(tenant.id, 1, "[]"))

    store.commit(work, tenant_id=tenant.id)
    assert runs == [1]
    assert _there(store, tenant.id, logged=logged)


@pytest.mark.parametrize("change", ["a tenant", "a key"])
def test_a_change_whose_log_is_lost_is_made_once(
    url: str, tmp_path: Path, superuser: Prompt, around_commit: Callable[..., None], change: str
) -> None:
    """With the keys in another store, it is made anew in both, and nothing is taken back."""
    with qpher_core.open(f"sqlite:///{tmp_path}/keys.db", audit=url) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="test")

        def cut_first(connection: Connection, commit: Callable[[], Any]) -> Any:
            _cut(superuser, connection)
            return commit()

        around_commit(cut_first)
        if change == "a tenant":
            session = kms.session(kms.tenants.create("other").name, actor="test")
        assert session.keys.generate(SIGNATURE).version == 1
        told = [entry.fields for entry in session.audit.entries()]
        assert [(fields["action"], fields["outcome"]) for fields in told] == [
            ("tenants.create", "success"),
            ("keys.generate", "success"),
        ]


def _there(store: PostgresStore, tenant_id: Any, *, logged: bool) -> bool:
    if logged:
        return store.audit.head(tenant_id)[0] == 1
    return store.policies.get(tenant_id) is not None


def test_an_unknown_outcome_is_said_to_be_unknown(
    store: PostgresStore,
    superuser: Prompt,
    around_commit: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If nobody can tell before the deadline whether a commit took place, the error says so."""
    tenant = new_tenant()
    store.commit(lambda w: w.tenants.insert(tenant), tenant_id=tenant.id)

    def cut_for_good(connection: Connection, commit: Callable[[], Any]) -> Any:
        _cut(superuser, connection)

        def refuse(_deadline: object) -> Connection:
            raise StoreUnavailable("no connection")

        monkeypatch.setattr(store._writing, "take", refuse)
        return commit()

    around_commit(cut_for_good)
    with pytest.raises(StoreUnavailable, match=UNKNOWN):
        store.commit(lambda w: append(w, tenant.id), tenant_id=tenant.id)


def test_an_interrupt_while_it_looks_costs_no_connection(
    url: str,
    superuser: Prompt,
    around_commit: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """Ctrl-C while a store finds out what became of a commit leaves the next one a connection."""
    store = PostgresStore(url, connections=1, deadline=2)
    request.addfinalizer(store.close)
    tenant, lock = new_tenant(), transaction._lock
    store.commit(lambda w: w.tenants.insert(tenant), tenant_id=tenant.id)

    def interrupted(*_: object, **__: object) -> None:
        monkeypatch.setattr(transaction, "_lock", lock)
        raise KeyboardInterrupt

    def cut_and_interrupt(connection: Connection, commit: Callable[[], Any]) -> Any:
        _cut(superuser, connection)
        monkeypatch.setattr(transaction, "_lock", interrupted)
        return commit()

    around_commit(cut_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.commit(lambda w: append(w, tenant.id), tenant_id=tenant.id)
    entry = store.commit(lambda w: append(w, tenant.id), tenant_id=tenant.id)
    assert list(store.audit.read(tenant.id)) == [entry]


def test_work_that_another_store_lost_leaves_nothing(store: PostgresStore) -> None:
    """If the transaction of another store that work uses is lost, what it wrote here is undone."""
    tenant = new_tenant()
    store.commit(lambda w: w.tenants.insert(tenant), tenant_id=tenant.id)

    def work(writer: transaction.Writer) -> None:
        append(writer, tenant.id)
        writer.policies.insert(qpher_core.PolicyDocument(tenant.id, 1, "[]"))
        raise TransactionLost(object())

    with pytest.raises(TransactionLost):
        store.commit(work, tenant_id=tenant.id)
    assert not _there(store, tenant.id, logged=True)
    assert not _there(store, tenant.id, logged=False)


def test_a_server_that_hangs_is_given_up(own: Server, tmp_path: Path) -> None:
    """A server that is there and does not answer is Unavailable within the deadline."""
    store = PostgresStore(own.fresh(f"d_{os.urandom(4).hex()}"), deadline=0.5)
    tenant = new_tenant()
    store.commit(lambda w: w.tenants.insert(tenant), tenant_id=tenant.id)
    with own.connect() as superuser:
        pids = superuser.execute(
            "SELECT pid FROM pg_stat_activity WHERE usename = 'qpher_node_1'"
        ).fetchall()
    for (pid,) in pids:
        os.kill(pid, signal.SIGSTOP)
    os.kill(own.pid, signal.SIGSTOP)  # nor does it accept another connection
    try:
        start = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.tenants.get(tenant.id)
        with pytest.raises(StoreUnavailable):
            store.commit(lambda w: append(w, tenant.id), tenant_id=tenant.id)
        assert time.monotonic() - start < 15
    finally:
        for (pid,) in pids:
            os.kill(pid, signal.SIGCONT)
        os.kill(own.pid, signal.SIGCONT)
    own.wait()
    assert store.tenants.get(tenant.id) == tenant
    assert store.audit.head(tenant.id)[0] == 0
    store.close()


def test_a_wait_that_is_given_up_leaves_nothing_behind(
    own: Server,
    around_commit: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """What waited for a server that hangs in a commit ends then, not when memory is cleared."""
    store = PostgresStore(own.fresh(f"d_{os.urandom(4).hex()}"), deadline=0.5)
    request.addfinalizer(store.close)
    tenant, hanging, abandoned = new_tenant(), [], []
    store.commit(lambda w: w.tenants.insert(tenant), tenant_id=tenant.id)
    request.addfinalizer(lambda: [os.kill(pid, signal.SIGCONT) for pid in hanging])
    monkeypatch.setattr(sys, "unraisablehook", abandoned.append)

    def hang(connection: Connection, commit: Callable[[], Any]) -> Any:
        hanging.append(connection.info.backend_pid)
        os.kill(hanging[0], signal.SIGSTOP)
        return commit()

    around_commit(hang)
    with pytest.raises(StoreUnavailable):
        store.commit(lambda w: append(w, tenant.id), tenant_id=tenant.id)
    gc.collect()
    assert hanging
    assert not abandoned


def test_two_who_wait_for_each_other_both_succeed(
    url: str, store: PostgresStore, request: pytest.FixtureRequest
) -> None:
    """A deadlock, which other users of the database can cause, is undone and done again."""
    one, two = new_tenant("one"), new_tenant("two")
    for tenant in (one, two):
        store.commit(lambda w, t=tenant: w.tenants.insert(t), tenant_id=tenant.id)
        store.commit(lambda w, t=tenant: append(w, t.id), tenant_id=tenant.id)
    stranger = PostgresStore(url, deadline=5)
    request.addfinalizer(stranger.close)
    runs: list[str] = []
    met = threading.Barrier(2, timeout=10)

    def crossing(name: str, first: Any, second: Any) -> Callable[[transaction.Writer], None]:
        def work(writer: transaction.Writer) -> None:
            runs.append(name)
            writer.tenants.replace(first)
            if len(runs) <= 2:
                met.wait()
            writer.tenants.replace(second)

        return work

    # Each believes itself alone in locking: as transactions of something else would.
    threads = [
        threading.Thread(target=_without_locks, args=(opened, crossing(name, first, second), owner))
        for opened, name, first, second, owner in (
            (store, "store", one, two, one.id),
            (stranger, "stranger", two, one, two.id),
        )
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(runs) >= 3, runs  # undone once, or on a slow machine once more


def _without_locks(
    store: PostgresStore, work: Callable[[transaction.Writer], None], owner: Any
) -> None:
    group = store._group(owner)
    changing = group._transaction
    changing._enter = lambda tenant_id, **_: setattr(changing, "_at", tenant_id)
    store.commit(work, tenant_id=owner)
