# SPDX-License-Identifier: Apache-2.0
"""Calls that share a thread: one that is cut short takes no other with it, and nothing is kept."""

import asyncio
import uuid
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from qpher_backends.sqlite import open_store
from qpher_core.asgi.lanes import Lanes
from qpher_core.audit.entry import EntryDraft
from qpher_core.audit.log import StoredAuditLog
from qpher_core.errors import Unavailable
from qpher_core.mixed import record
from qpher_core.protocols import StoreWriter
from qpher_core.service import _now

TENANT = uuid.UUID(int=7)


class Panic(BaseException):
    """What foreign code raises when it cannot go on, as Rust's panics do in Python."""


def panic(_: object) -> None:
    """Raise it."""
    raise Panic


async def together(pool: ThreadPoolExecutor, *calls: Callable[[Any], Any]) -> list[Any]:
    """Return what calls give that arrive together: values, and errors in their places."""
    lanes = Lanes(asyncio.get_running_loop(), pool, 30)
    return await asyncio.gather(*map(lanes.run, calls), return_exceptions=True)


def test_who_is_cut_short_takes_nobody_along(tmp_path: Path) -> None:
    """A call that ends as nothing should is answered with an error; the others are recorded."""
    store = open_store(f"sqlite:///{tmp_path}/q.db")
    log = StoredAuditLog(store.audit, _now)

    def append(writer: StoreWriter) -> int:
        draft = EntryDraft("a", "kem.encrypt", None, "success", "", uuid.uuid4(), None, None)
        return log.append(writer.audit, TENANT, draft).seq

    def use(_: object) -> int:
        return record(store, append, tenant_id=TENANT)

    with ThreadPoolExecutor(1) as pool:
        first, cut, last = asyncio.run(together(pool, use, panic, use))
        assert (first, last) == (0, 1)
        assert isinstance(cut, RuntimeError)
        assert asyncio.run(together(pool, use)) == [2]
    assert store.audit.head(TENANT)[0] == 3
    store.close()


def test_nothing_is_kept_of_a_call_that_is_answered() -> None:
    """What was asked and answered is gone once it is answered; the threads wait for the next."""

    class Secret:
        pass

    kept: list[weakref.ref[Secret]] = []

    def answer(_: object) -> Secret:
        secret = Secret()
        kept.append(weakref.ref(secret))
        return secret

    with ThreadPoolExecutor(1) as pool:
        assert len(asyncio.run(together(pool, answer, answer))) == 2
        pool.submit(int).result()  # the thread is done with what came before
        assert [secret() for secret in kept] == [None, None]


class Exhausted(ThreadPoolExecutor):
    """A pool that cannot start another thread, and says so after it has queued the work."""

    def submit(self, *arguments: Any, **options: Any) -> Future[Any]:
        """Queue it, wait until it is done, and refuse."""
        super().submit(*arguments, **options).result()
        raise RuntimeError("can't start new thread")


def test_a_thread_that_cannot_start_is_an_answer() -> None:
    """Who is refused for want of threads is answered, even if another thread does it then."""
    unexpected: list[Any] = []

    async def ask() -> list[Any]:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: unexpected.append(what))
        with Exhausted(1) as pool:
            answers = await together(pool, lambda _: None)
            await asyncio.sleep(0)
            return answers

    (answer,) = asyncio.run(ask())
    assert isinstance(answer, Unavailable)
    assert unexpected == []
