# SPDX-License-Identifier: Apache-2.0
"""Kill a process before each SQL statement of each operation: ``every_statement.py FOLDER``.

For every operation a child is forked that opens the store, runs it, and kills itself before the
first statement that writes or ends a transaction, the next before the second, and so on until
one child gets through. After each the store is opened and must be exactly as before.
"""

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import qpher_core
from qpher_backends.sqlite import SQLiteStore
from qpher_core.service import Qpher
from tests.world import CALLS, KEM, RECORDED, Goods, make_goods, snapshot

Operation = Callable[[Qpher, Goods], object]


def _of_session(action: str) -> Operation:
    return lambda kms, goods: CALLS[action](kms.session("acme", actor="tester"), goods)


def _destroy(kms: Qpher, goods: Goods) -> object:
    return kms.session("acme", actor="tester").keys.destroy(KEM, 1, name=goods.prefix + "lost")


OPERATIONS: dict[str, Operation] = {
    **{action: _of_session(action) for action in RECORDED if action != "keys.destroy"},
    "keys.destroy": _destroy,  # of the key that keys.compromise has just marked
    "refusal": lambda kms, _: _refused(kms),
    "tenants.create": lambda kms, _: kms.tenants.create("another"),
    "tenants.update": lambda kms, _: kms.tenants.set_plan("acme", None),
    "policies.set": lambda kms, _: kms.policies.set('[{"rule":"plan"}]', tenant="acme"),
}


def _refused(kms: Qpher) -> None:
    try:
        kms.session("acme", actor="tester").kem.encrypt(b"", 99, name="k-main")
    except qpher_core.NotFound:
        return
    raise AssertionError("not refused")


def kill_before(number: int, connection: sqlite3.Connection) -> None:
    """Kill this process before the ``number``-th statement of a connection."""
    left = number

    def trace(_: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    connection.set_trace_callback(trace)


def in_child(work: Callable[[], object]) -> bool:
    """Run ``work`` in a forked child; return whether it got through without being killed."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1 if sys.exc_info()[0] else 0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in {0, -signal.SIGKILL}:
        raise AssertionError(f"the child ended with {code}")
    return code == 0


def kill_operations(folder: Path) -> int:
    """Kill at every statement of every operation and return how many kills there were."""
    path = folder / "q.db"
    with qpher_core.open(f"sqlite:///{path}", primitives="openssl") as kms:
        kms.tenants.create("acme")
        goods = make_goods(kms.session("acme", actor="tester"))
    kills = 0
    for name, operation in OPERATIONS.items():
        before = _look(path)
        number = 1
        while not in_child(lambda n=number, run=operation: _try(path, n, run, goods)):
            assert _look(path) == before, f"{name} left a trace, killed at statement {number}"
            kills, number = kills + 1, number + 1
        after = _look(path)
        assert after != before, f"{name} left no trace"
        assert number > 4, f"{name} has too few statements to be true"
    return kills


def _try(path: Path, number: int, operation: Operation, goods: Goods) -> None:
    store = SQLiteStore(path)
    kms = qpher_core.open(store, primitives="openssl")
    kill_before(number, store._write_connection)
    operation(kms, goods)


def _look(path: Path) -> object:
    with qpher_core.open(f"sqlite:///{path}", primitives="openssl") as kms:
        assert kms.audit.verify("acme").ok
        assert kms.audit.verify().ok
        return snapshot(kms), tuple(kms._store.audit.read(qpher_core.service.SERVICE_LOG))


def kill_openings(folder: Path) -> int:
    """Kill at every statement of a first opening and return how many kills there were."""
    number = 1
    while not in_child(lambda n=number: _open_and_die(folder / f"{n}.db", n)):
        with qpher_core.open(f"sqlite:///{folder}/{number}.db", primitives="openssl") as kms:
            kms.tenants.create("acme")
            assert kms.audit.verify("acme").ok
            assert kms.session("acme", actor="tester").keys.generate(KEM).version == 1
        number += 1
    assert number > 20, "the migrations have more statements than that"
    return number - 1


def _open_and_die(path: Path, number: int) -> None:
    connect = sqlite3.connect

    def traced(*arguments: object, **options: object) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        sqlite3.connect = connect  # the first connection is the one that migrates
        kill_before(number, connection)
        return connection

    sqlite3.connect = traced
    SQLiteStore(path)


if __name__ == "__main__":
    if sys.argv[1] == "operations":
        killed = kill_operations(Path(sys.argv[2]))
    else:
        killed = kill_openings(Path(sys.argv[2]))
    sys.stdout.write(f"{killed}\n")
