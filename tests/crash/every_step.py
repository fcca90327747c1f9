# SPDX-License-Identifier: Apache-2.0
"""Kill a process before each step of each operation: ``every_step.py WHAT BACKEND FOLDER``.

For every operation a child is forked that opens the store, runs it, and kills itself before the
first step that writes, the next before the second, and so on until one child gets through. After
each the store is opened and must be exactly as before, or the whole operation must be there; with
the log in another store, it may also be there and be taken back.
"""

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import frozen

import qpher_core
from qpher_core import AnchorSettings
from qpher_core.discovery import open_store
from qpher_core.models import SERVICE, AuditEntry
from qpher_core.service import Qpher
from qpher_core.session import Session
from tests.contract.table import BACKENDS
from tests.crash.steps import arm, arm_opening, in_child
from tests.world import CALLS, KEM, RECORDED, Goods, Snapshot, make_goods, snapshot

#: What is run: on the service, and on a tenant that has the goods of that name.
Operation = Callable[[Qpher, Goods], object]

_BY_HAND = AnchorSettings(every_seconds=None)
_VOID = "was not carried out"


def _session(kms: Qpher, goods: Goods) -> Session:
    return kms.session(goods.prefix, actor="tester")


def _of_session(action: str) -> Operation:
    return lambda kms, goods: CALLS[action](_session(kms, goods), goods)


def _destroy(kms: Qpher, goods: Goods) -> object:
    return _session(kms, goods).keys.destroy(KEM, 1, name=goods.prefix + "archived")


def _refused(kms: Qpher, goods: Goods) -> None:
    try:
        _session(kms, goods).kem.encrypt(b"", 99, name=goods.prefix + "main")
    except qpher_core.NotFound:
        return
    raise AssertionError("not refused")


OPERATIONS: dict[str, Operation] = {
    **{action: _of_session(action) for action in RECORDED if action != "keys.destroy"},
    "keys.destroy": _destroy,
    "refusal": _refused,
    "tenants.create": lambda kms, goods: kms.tenants.create(f"{goods.prefix} another"),
    "tenants.update": lambda kms, goods: kms.tenants.set_plan(goods.prefix, None),
    "policies.set": lambda kms, goods: kms.policies.set('[{"rule":"plan"}]', tenant=goods.prefix),
    "anchors.publish": lambda kms, goods: kms.anchors.publish(kms.tenants.get(goods.prefix)),
    "anchors.rotate": lambda kms, _: kms.anchors.rotate(),
}


@frozen
class Look:
    """What a store holds of a tenant and the service; tells outcomes of operations apart."""

    tenant: Snapshot
    service: tuple[AuditEntry, ...]
    anchors: tuple[object, ...]

    def told(self, since: "Look", prefix: str) -> tuple[object, ...]:
        """Return what was done since another look, without what differs from time to time."""
        before = {record.key.ref: record for record in since.tenant.keys}
        keys = sorted(
            (r.key.name.removeprefix(prefix), r.key.algorithm, r.key.version, r.key.revision)
            for r in self.tenant.keys
            if before.get(r.key.ref) != r
        )
        revisions = [document and document.revision for document in self.tenant.policies]
        earlier = [document and document.revision for document in since.tenant.policies]
        return (
            keys,
            len(self.tenant.tenants) - len(since.tenant.tenants),
            revisions != earlier,
            _told(self.tenant.entries[len(since.tenant.entries) :]),
            _told(self.service[len(since.service) :]),
            len(self.anchors) - len(since.anchors),
        )

    def taken_back(self, since: "Look") -> bool:
        """Return whether nothing was done but entries that were all taken back."""
        same = self.tenant.keys == since.tenant.keys and self.tenant.tenants == since.tenant.tenants
        same = (
            same and self.tenant.policies == since.tenant.policies and self.anchors == since.anchors
        )
        new = [
            entry.fields
            for entry in (
                *self.tenant.entries[len(since.tenant.entries) :],
                *self.service[len(since.service) :],
            )
        ]
        done = sorted(f["request_id"] for f in new if _VOID not in f["reason"])
        void = sorted(f["request_id"] for f in new if _VOID in f["reason"])
        return same and done == void


def _told(entries: tuple[AuditEntry, ...]) -> list[tuple[str, str]]:
    return [(entry.fields["action"], entry.fields["outcome"]) for entry in entries]


def _look(url: str, name: str) -> Look:
    with qpher_core.open(url, anchors=_BY_HAND) as kms:
        for log in (None, name):
            report = kms.audit.verify(log)
            assert report.ok, report
        return Look(
            snapshot(kms, name),
            tuple(kms._store.audit.read(SERVICE)),
            tuple(kms.anchors.list(kms.tenants.get(name))),
        )


def kill_operations(backend: str, folder: Path) -> int:
    """Kill at every step of every operation and return how many kills there were."""
    url = BACKENDS[backend].url(folder)
    with qpher_core.open(url, anchors=_BY_HAND) as kms:
        kms.tenants.create("acme")
        kms.anchors.publish(kms.tenants.get("acme"))  # its keys are made
    fresh = (f"k{number}-" for number in itertools.count())
    return sum(_kill(url, name, run, fresh) for name, run in OPERATIONS.items())


def _kill(url: str, name: str, operation: Operation, fresh: Iterator[str]) -> int:
    """Kill at every step of one operation; after one that counted, go on with fresh goods."""
    goods, before = _goods(url, next(fresh))
    whole: list[tuple[object, ...]] = []
    through, number = False, 0
    while not through:
        number += 1
        through = in_child(lambda n=number, g=goods: _try(url, n, operation, g))
        after = _look(url, goods.prefix)
        if after == before:
            assert not through, f"{name} left no trace"
        elif not through and url.startswith("mixed:") and after.taken_back(before):
            before = after
        else:
            whole.append(after.told(before, goods.prefix))
            before = after
            if name.startswith(("keys.", "tenants.create", "anchors.publish")):  # it used them up
                goods, before = _goods(url, next(fresh))
    assert number > 2, f"{name} has too few steps to be true"
    assert all(told == whole[-1] for told in whole), f"{name} was half done: {whole}"
    return number - 1


def _goods(url: str, prefix: str) -> tuple[Goods, Look]:
    with qpher_core.open(url, anchors=_BY_HAND) as kms:
        kms.tenants.create(prefix)
        goods = make_goods(kms.session(prefix, actor="tester"), prefix)
    return goods, _look(url, prefix)


def _try(url: str, number: int, operation: Operation, goods: Goods) -> None:
    store = open_store(url, parameter="url")
    kms = qpher_core.open(store, protector=store.default_protector, anchors=_BY_HAND)
    arm(store, number)
    operation(kms, goods)


def kill_openings(backend: str, folder: Path) -> int:
    """Kill at every step of a first opening and return how many kills there were."""
    for number in itertools.count(1):
        place = folder / str(number)
        place.mkdir()
        url = BACKENDS[backend].url(place)
        through = in_child(lambda n=number, u=url: _open_and_die(u, n))
        with qpher_core.open(url, anchors=_BY_HAND) as kms:
            kms.tenants.create("acme")
            assert kms.audit.verify("acme").ok
            assert kms.session("acme", actor="tester").keys.generate(KEM).version == 1
        if through:
            return number - 1
    raise AssertionError


def _open_and_die(url: str, number: int) -> None:
    arm_opening(number)
    open_store(url, parameter="url")


if __name__ == "__main__":
    what = {"operations": kill_operations, "openings": kill_openings}[sys.argv[1]]
    sys.stdout.write(f"{what(sys.argv[2], Path(sys.argv[3]))}\n")
