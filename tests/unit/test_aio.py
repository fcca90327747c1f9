# SPDX-License-Identifier: Apache-2.0
"""``kms.aio``: complete, true to its word on cancellation, and sharing durable commits."""

import asyncio
import contextvars
import inspect
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import qpher_core
from qpher_core import AsyncSession, NotFound, RemoteService
from qpher_core.aio.crossing import View
from qpher_core.aio.service import AsyncRemoteService
from qpher_core.asgi import create_app
from qpher_core.fields import Field
from qpher_core.service import Qpher
from tests.http.server import serving

KEM, SIGNATURE = "ML-KEM-768", "ML-DSA-44"


@pytest.fixture
def kms(tmp_path: Path) -> Iterator[Qpher]:
    """Open a service on SQLite with a tenant that has a key."""
    with qpher_core.open(f"sqlite:///{tmp_path}/q.db") as opened:
        opened.tenants.create("acme")
        opened.session("acme", actor="x").keys.generate(SIGNATURE)
        yield opened


def _public(holder: object) -> set[str]:
    found = {name for name in dir(holder) if not name.startswith("_")}
    return found - {"aio"}


def _parts(holder: object) -> set[str]:
    return {name for name, value in vars(holder).items() if not name.startswith("_")}


def _same(view: View, target: object) -> None:
    """Compare a view with what it stands for: public names, parameters, and parts of it."""
    assert _public(view) == _public(target), f"{type(view)}: name it in qpher_core/aio"
    for name in _public(target):
        mine, theirs = getattr(view, name), getattr(target, name)
        if isinstance(mine, View):
            assert mine._target is theirs
            _same(mine, theirs)
        elif callable(theirs):
            assert list(inspect.signature(mine).parameters) == list(
                inspect.signature(theirs).parameters
            ), f"{type(view).__name__}.{name}"
            assert inspect.iscoroutinefunction(mine) or inspect.isasyncgenfunction(mine), name


def test_nothing_is_forgotten(kms: Qpher) -> None:
    """Every public method of service, session, their parts and fields has its crossing."""
    session = kms.session("acme", actor="x")
    _same(kms.aio, kms)
    _same(AsyncSession(session, kms._threads), session)
    field = session.kem.field()
    _same(asyncio.run(_field(kms)), field)
    assert isinstance(field, Field)
    with serving(create_app(kms)) as url:
        key = kms.api_keys.create("acme", scopes=["keys", "signatures"])[1]
        with qpher_core.open(url, api_key=key) as remote:
            assert _public(RemoteService) == _public(AsyncRemoteService)
            assert asyncio.run(_versions(remote)) == 1
            view = asyncio.run(_administration(remote))
            _same(view, view._target)


async def _administration(remote: RemoteService) -> View:
    return await remote.aio.administration()


async def _field(kms: Qpher) -> View:
    return await (await kms.aio.session("acme", actor="x")).kem.field()


async def _versions(remote: RemoteService) -> int:
    session = await remote.aio.session()
    signed = await session.signatures.sign(b"m", algorithm=SIGNATURE)
    checked = await session.signatures.verify(b"m", signed.signature, 1, SIGNATURE)
    assert checked.valid
    return len(await session.keys.list())


def test_errors_and_context_cross(kms: Qpher) -> None:
    """An error comes out where the call is awaited; a task's context is seen by the call."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def use() -> str:
        variable.set("of the task")
        with pytest.raises(NotFound):
            await kms.aio.session("nobody", actor="x")
        return await kms._threads.run(variable.get)

    assert asyncio.run(use()) == "of the task"


def test_a_call_that_has_begun_goes_on(kms: Qpher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled in the middle, a signature is made all the same, and is in the log."""
    begun, go_on = threading.Event(), threading.Event()
    commit = kms._store.commit

    def held(*values: object, **named: object) -> object:
        begun.set()
        assert go_on.wait(60)
        return commit(*values, **named)  # type: ignore[arg-type]

    async def use() -> None:
        session = await kms.aio.session("acme", actor="x")
        monkeypatch.setattr(kms._store, "commit", held)
        task = asyncio.create_task(session.signatures.sign(b"m", algorithm=SIGNATURE))
        await asyncio.to_thread(begun.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        await asyncio.to_thread(kms._threads.close)  # waits for it

    asyncio.run(use())
    last = [*kms.session("acme", actor="x").audit.entries()][-1]
    assert last.fields["action"] == "signatures.sign"


def test_a_call_that_has_not_begun_never_happens(kms: Qpher) -> None:
    """Cancelled while every thread is busy, a call leaves no trace."""
    go_on = threading.Event()

    async def use() -> None:
        session = await kms.aio.session("acme", actor="x")
        busy = [asyncio.create_task(kms._threads.run(go_on.wait)) for _ in range(32)]
        await asyncio.sleep(0)
        late = asyncio.create_task(session.keys.generate(KEM))
        await asyncio.sleep(0)
        late.cancel()
        with pytest.raises(asyncio.CancelledError):
            await late
        go_on.set()
        await asyncio.gather(*busy)
        assert await session.keys.list(KEM) == []
        actions = [entry.fields["action"] async for entry in session.audit.entries()]
        assert actions == ["tenants.create", "keys.generate"]

    asyncio.run(use())


def test_tasks_share_durable_commits(kms: Qpher, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one commit is made, those of the other tasks gather in the next."""
    commits, arrived = 0, threading.Semaphore(0)
    transaction = kms._store._group_commit._transaction  # type: ignore[attr-defined]
    make, ask = transaction.commit, kms._store.commit

    def made() -> None:
        nonlocal commits
        commits += 1
        if commits == 1:
            assert all(arrived.acquire(timeout=60) for _ in range(32))
        make()

    def asked(*values: object, **named: object) -> object:
        arrived.release()
        return ask(*values, **named)  # type: ignore[arg-type]

    async def use() -> list[int]:
        session = await kms.aio.session("acme", actor="x")
        monkeypatch.setattr(transaction, "commit", made)
        monkeypatch.setattr(kms._store, "commit", asked)
        signed = await asyncio.gather(
            *(session.signatures.sign(b"m", algorithm=SIGNATURE) for _ in range(64))
        )
        return sorted(one.receipt.seq for one in signed)

    assert asyncio.run(use()) == list(range(2, 66))
    assert commits <= 48
    assert kms.audit.verify("acme").ok


def test_it_closes_what_it_is_a_view_of(tmp_path: Path) -> None:
    """As an asynchronous context manager it waits for the calls and closes the service."""

    async def use() -> None:
        async with qpher_core.open(f"sqlite:///{tmp_path}/q.db").aio as kms:
            await kms.tenants.create("acme")
            for check in (await kms.checks()).values():
                await check()
            assert [row.name for row in kms.algorithms]
            call = asyncio.create_task(kms.anchors.publish((await kms.tenants.get("acme")).id))
            await asyncio.sleep(0)
        assert (await call).size == 1
        with pytest.raises(qpher_core.StoreUnavailable):
            await kms.tenants.list()

    asyncio.run(use())


def test_iterators_can_be_left(kms: Qpher) -> None:
    """An asynchronous iterator fetches as it goes, and can be left in the middle."""

    async def use() -> list[int]:
        session = await kms.aio.session("acme", actor="x")
        found = []
        async for entry in session.audit.entries():
            found.append(entry.seq)
            break
        return found

    assert asyncio.run(use()) == [0]


def test_a_fork_is_refused_and_does_not_hang(kms: Qpher) -> None:
    """A child has none of its parent's threads, and is told what it would be without coroutines."""

    async def use() -> list[qpher_core.Tenant]:
        return list(await kms.aio.tenants.list())

    for _ in range(8):  # some of the threads wait for more
        assert [tenant.name for tenant in asyncio.run(use())] == ["acme"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: forking with threads
        child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            asyncio.run(use())
        except qpher_core.StoreUnavailable:
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(asyncio.run(use())) == 1
