# SPDX-License-Identifier: Apache-2.0
"""Die before the n-th step that writes: of any store, or of the two of a mixed set-up.

A step is a statement of a writing transaction, or a call that changes files. What else a
backend writes through is added to :func:`arm`.
"""

import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from qpher_backends.postgres import PostgresStore, transaction
from qpher_core.protocols import Store

__all__ = ["arm", "arm_opening", "in_child"]

_CALLS = ("pwrite", "fsync", "fdatasync", "ftruncate", "rename", "mkdir", "link", "unlink")


def _parts(store: Store) -> Iterator[Store]:
    for name in ("_keys_store", "_audit_store"):
        if hasattr(store, name):
            yield from _parts(getattr(store, name))
    yield store


def _countdown(number: int) -> Callable[..., None]:
    left = number

    def tick(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return tick


def _count_calls(tick: Callable[..., None], place: object, names: Iterable[str]) -> None:
    def counted(call: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object, **options: object) -> object:
            tick()
            return call(*arguments, **options)

        return run

    for name in names:
        setattr(place, name, counted(getattr(place, name)))


def _count_commits(tick: Callable[..., None]) -> None:
    execute = transaction.Connection.execute

    def run(self: transaction.Connection, query: str, *arguments: Any, **options: Any) -> Any:
        if query == "COMMIT":
            tick()
        return execute(self, query, *arguments, **options)

    transaction.Connection.execute = run


def arm(store: Store, number: int) -> None:
    """Kill this process before its ``number``-th step from here on."""
    tick = _countdown(number)
    _count_calls(tick, os, _CALLS)
    if any(isinstance(part, PostgresStore) for part in _parts(store)):
        _count_calls(tick, transaction, ("run_on",))
        _count_commits(tick)
    for part in _parts(store):
        connection = getattr(part, "_write_connection", None)
        if isinstance(connection, sqlite3.Connection):
            connection.set_trace_callback(tick)


def arm_opening(number: int) -> None:
    """The same for a store that is still to be opened."""
    tick = _countdown(number)
    _count_calls(tick, os, _CALLS)
    connect = sqlite3.connect

    def traced(*arguments: object, **options: object) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(tick)
        return connection

    sqlite3.connect = traced


def in_child(work: Callable[[], object]) -> bool:
    """Run ``work`` in a forked child; return whether it got through without being killed."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            if sys.exc_info()[0] is not None:
                sys.excepthook(*sys.exc_info())
            os._exit(1 if sys.exc_info()[0] else 0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in {0, -signal.SIGKILL}:
        raise AssertionError(f"the child ended with {code}")
    return code == 0
