# SPDX-License-Identifier: Apache-2.0
"""Scheduled rotation, on every backend."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve

import qpher_core
from qpher_core.errors import ValidationError
from qpher_core.lifecycle import KeyState
from qpher_core.models import RequestContext
from qpher_core.service import Qpher
from qpher_core.service_maintenance import Due, MaintenanceReport
from qpher_core.session import Session
from tests.world import KEM, SIGNATURE

_numbers = itertools.count()


def maintain(
    service: Qpher, session: Session, *, days: float = 0, dry_run: bool = False
) -> MaintenanceReport:
    """Maintain one tenant's keys as of some days from now."""
    later = evolve(service._maintainer, clock=lambda: datetime.now(UTC) + timedelta(days=days))
    return later.run(session._context.tenant_id, "maintenance", dry_run=dry_run)


def tenant_of(session: Session) -> str:
    """Return a tenant's id as text."""
    return str(session._context.tenant_id)


def damage_rules(service: Qpher, tenant: str) -> None:
    """Store rules that nobody can read."""
    document = service.policies.get(tenant)
    assert document is not None
    damaged = evolve(document, revision=document.revision + 1, rules='[{"rule": "nosuch"}]')
    service._store.commit(lambda writer: writer.policies.insert(damaged))


def test_age(service: Qpher, session: Session) -> None:
    """A key is due soon, then overdue, then rotated, and then due much later; all is recorded."""
    session.keys.generate(KEM)
    service.policies.schedule(KEM, tenant=tenant_of(session), max_age_days=90, warn_days=10)
    for days, due in ((0, Due.LATER), (79.9, Due.LATER), (80.1, Due.SOON), (90.1, Due.OVERDUE)):
        (found,) = maintain(service, session, days=days, dry_run=True).keys
        assert (found.due, found.key.version, found.uses) == (due, 1, None)
        assert found.due_at == found.key.created_at + timedelta(days=90)
    assert not maintain(service, session, days=91, dry_run=True).ok
    report = maintain(service, session, days=91)
    assert report.ok
    assert [(k.due, k.replaced_by) for k in report.keys] == [(Due.ROTATED, 2)]
    assert session.keys.active(KEM).version == 2
    assert session.keys.get(KEM, 1).state is KeyState.RETIRED
    last = [*session.audit.entries()][-1].fields
    assert (last["action"], last["actor"], last["reason"]) == (
        "keys.rotate",
        "maintenance",
        "scheduled: 91 days old",
    )
    assert service.maintain(tenant_of(session)).standing("later")


def test_uses(service: Qpher, session: Session) -> None:
    """Protecting counts, verifying and refusals do not; the new version begins at none."""
    session.keys.generate(SIGNATURE)
    service.policies.schedule(SIGNATURE, tenant=tenant_of(session), max_uses=10)
    signed = session.signatures.sign(b"x", algorithm=SIGNATURE)
    session.signatures.sign_many([b"y"] * 7, algorithm=SIGNATURE)
    session.signatures.verify(b"x", signed.signature, 1, SIGNATURE)
    (found,) = service.maintain(tenant_of(session)).keys
    assert (found.due, found.uses, found.max_uses, found.due_at) == (Due.LATER, 8, 10, None)
    session.signatures.sign(b"z", algorithm=SIGNATURE)
    assert service.maintain(tenant_of(session)).keys[0].due is Due.SOON
    session.signatures.sign(b"z", algorithm=SIGNATURE)
    (found,) = service.maintain(tenant_of(session)).keys
    assert (found.due, found.uses, found.replaced_by) == (Due.ROTATED, 10, 2)
    (found,) = service.maintain(tenant_of(session)).keys
    assert (found.key.version, found.uses, found.due) == (2, 0, Due.LATER)


def test_the_strictest_rule_applies(service: Qpher, session: Session) -> None:
    """A tenant's rule beside a broader one: the earlier date counts; other keys have none."""
    tenant = tenant_of(session)
    session.keys.generate(KEM)
    session.keys.generate(KEM, name="odd[*]?")
    session.keys.generate(SIGNATURE)
    service.policies.set(
        '[{"rule": "rotation", "max_age_days": 365, "algorithms": ["ML-KEM-*"]}]', tenant=tenant
    )
    service.policies.schedule(KEM, tenant=tenant, name="odd[*]?", max_age_days=30)
    service.policies.schedule(KEM, tenant=tenant, name="odd[*]?", max_age_days=20)
    found = {k.key.name: k for k in maintain(service, session, days=25, dry_run=True).keys}
    assert {name: key.due for name, key in found.items()} == {
        "default": Due.LATER,
        "odd[*]?": Due.OVERDUE,
    }
    service.policies.schedule(KEM, tenant=tenant, name="odd[*]?")
    assert all(k.due is Due.LATER for k in maintain(service, session, days=25, dry_run=True).keys)
    document = service.policies.get(tenant)
    assert document is not None
    assert document.rules.count("rotation") == 1


def test_numbers_are_checked(service: Qpher, session: Session) -> None:
    """A schedule without a limit, or with a wrong one, changes nothing."""
    for wrong in (
        {"warn_days": 3},
        {"max_age_days": 0},
        {"max_uses": -1},
        {"max_age_days": 1, "max_uses": True},
        {"max_age_days": 10**9},
    ):
        with pytest.raises(ValidationError):
            service.policies.schedule(KEM, tenant=tenant_of(session), **wrong)
    assert service.policies.get(tenant_of(session)) is None


def test_policy_stands_above_the_schedule(service: Qpher, session: Session) -> None:
    """A rotation that policy denies is reported and recorded, and does not stop the others."""
    session.keys.generate(KEM)
    session.keys.generate(SIGNATURE)
    service.policies.set(
        '[{"rule": "rotation", "max_age_days": 1},'
        ' {"rule": "deny", "actions": ["keys.rotate"], "algorithms": ["ML-KEM-768"]}]',
        tenant=tenant_of(session),
    )
    report = maintain(service, session, days=2)
    assert not report.ok
    assert {k.key.algorithm: k.due for k in report.keys} == {
        KEM: Due.FAILED,
        SIGNATURE: Due.ROTATED,
    }
    assert "ERR_POLICY_001" in report.standing(Due.FAILED)[0].problem
    assert session.keys.active(KEM).version == 1


def test_a_tenant_whose_rules_cannot_be_read_is_reported(service: Qpher) -> None:
    """The keys of the others rotate, before and after it, and the maintenance is not ok."""
    number = next(_numbers)
    names = [f"{letter}-beside-{number}" for letter in ("a", "m", "z")]
    for name in names:
        service.tenants.create(name)
        other = service.session(name, actor="tester")
        other.keys.generate(KEM)
        service.policies.schedule(KEM, tenant=name, max_uses=1)
        other.kem.encrypt(b"x")
    damage_rules(service, names[1])
    for dry_run, due in ((True, Due.OVERDUE), (False, Due.ROTATED)):
        report = service.maintain(dry_run=dry_run)
        found = [(k.tenant, k.due) for k in report.keys if k.tenant in names]
        assert found == [(names[0], due), (names[2], due)]
        (unread,) = [tenant for tenant in report.unread if tenant.tenant == names[1]]
        assert "ERR_INVALID_003" in unread.problem
        assert not report.ok
    assert service.maintain(names[1]).unread == (unread,)
    assert service.maintain(names[0]).ok


def test_several_nodes(service: Qpher, session: Session) -> None:
    """Of many that find a key due at the same moment one rotates it; the log shows one rotation."""
    session.keys.generate(KEM)
    service.policies.schedule(KEM, tenant=tenant_of(session), max_age_days=1)
    (due,) = maintain(service, session, days=2, dry_run=True).keys
    start = threading.Barrier(4)

    def rotate() -> Due:
        start.wait()
        return service._maintainer._rotate(due, "maintenance").due

    with ThreadPoolExecutor(4) as pool:
        assert [f.result() for f in [pool.submit(rotate) for _ in range(4)]] == [Due.ROTATED] * 4
    assert session.keys.active(KEM).version == 2
    actions = [entry.fields["action"] for entry in session.audit.entries()]
    outcomes = {entry.fields["outcome"] for entry in session.audit.entries()}
    assert (actions.count("keys.rotate"), outcomes) == (1, {"success"})


def test_rotation_under_load(service: Qpher, session: Session) -> None:
    """While keys rotate again and again no call fails, and versions follow each other."""
    session.keys.generate(KEM)
    session.keys.generate(SIGNATURE)
    for algorithm in (KEM, SIGNATURE):
        service.policies.schedule(algorithm, tenant=tenant_of(session), max_uses=8)
    stop = threading.Event()

    def use(worker: int) -> set[int]:
        own = service.within(RequestContext(session._context.tenant_id, f"worker-{worker}"))
        versions = set()
        for number in range(25):
            message = f"{worker}:{number}".encode()
            box = own.kem.encrypt(message)
            assert own.kem.decrypt(box.ciphertext, box.key_version).plaintext == message
            signed = own.signatures.sign(message, algorithm=SIGNATURE)
            valid = own.signatures.verify(message, signed.signature, signed.key_version, SIGNATURE)
            assert valid.valid
            versions.add(box.key_version)
        return versions

    def rotate() -> None:
        while not stop.is_set():
            report = service.maintain(tenant_of(session))
            assert not report.standing(Due.FAILED), report

    with ThreadPoolExecutor(6) as pool:
        nodes = [pool.submit(rotate) for _ in range(2)]
        try:
            used = set().union(*pool.map(use, range(4)))
        finally:
            stop.set()
        for node in nodes:
            node.result()
    versions = [key.version for key in session.keys.list(KEM)]
    assert versions == list(range(1, len(versions) + 1))
    assert len(versions) > 2
    assert used <= set(versions)
    assert {entry.fields["outcome"] for entry in session.audit.entries()} == {"success"}
    assert session.audit.verify().ok


def test_every_tenant() -> None:
    """Without a tenant it is all of them, by the service's rule; who is suspended is left out."""
    with qpher_core.open("memory:") as kms:
        kms.policies.set('[{"rule": "plan"}, {"rule": "rotation", "max_uses": 1}]')
        for name in ("a", "b", "c"):
            kms.tenants.create(name)
            kms.session(name, actor="x").keys.generate(KEM)
            kms.session(name, actor="x").kem.encrypt(b"x")
        kms.tenants.suspend("c")
        report = kms.maintain()
        assert [(k.tenant, k.due) for k in report.keys] == [
            ("a", Due.ROTATED),
            ("b", Due.ROTATED),
        ]
