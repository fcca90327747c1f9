# SPDX-License-Identifier: Apache-2.0
"""``Qpher``: tenants, sessions, closing, and what it shows of itself."""

import math
import uuid
from pathlib import Path
from typing import Any

import pytest

import qpher_core
from qpher_core.errors import (
    AuditUnavailable,
    NotFound,
    StateConflict,
    StoreUnavailable,
    ValidationError,
)
from qpher_core.models import TenantStatus
from qpher_core.service import Qpher
from qpher_core.session import Session


def test_tenants_are_created_and_found(kms: Qpher) -> None:
    """A tenant is found by its name, its id and its id as text, and listed by name."""
    second, first = kms.tenants.create("zeta"), kms.tenants.create("acme", plan="pro")
    assert (first.plan, second.plan, first.status) == ("pro", None, TenantStatus.ACTIVE)
    for key in ("acme", first.id, str(first.id), str(first.id).upper()):
        assert kms.tenants.get(key) == first
    assert kms.tenants.list() == [first, second]


@pytest.mark.parametrize(
    "name", ["", " acme", "a\u0308", None, 5, "x" * 256, str(uuid.UUID(int=7))]
)
def test_tenant_names_are_checked(kms: Qpher, name: object) -> None:
    """What is no name, or reads like an id, is refused by name and not stored."""
    with pytest.raises(ValidationError) as caught:
        kms.tenants.create(name)  # type: ignore[arg-type]
    assert caught.value.parameter == "name"
    assert kms.tenants.list() == []


def test_tenant_names_are_taken_once(kms: Qpher) -> None:
    """A second tenant of the same name is a conflict."""
    kms.tenants.create("acme")
    with pytest.raises(StateConflict) as caught:
        kms.tenants.create("acme")
    assert caught.value.code == "ERR_CONFLICT_001"


@pytest.mark.parametrize("tenant", ["nobody", uuid.UUID(int=7), str(uuid.UUID(int=8)), ""])
def test_unknown_tenants_are_not_found(kms: Qpher, tenant: str | uuid.UUID) -> None:
    """Every call that names an unknown tenant says the same."""
    for call in (
        lambda: kms.tenants.get(tenant),
        lambda: kms.tenants.set_plan(tenant, None),
        lambda: kms.tenants.suspend(tenant),
        lambda: kms.session(tenant, actor="x"),
        lambda: kms.policies.get(tenant),
        lambda: kms.policies.set("[]", tenant=tenant),
        lambda: kms.audit.verify(tenant),
    ):
        with pytest.raises(NotFound, match="no such tenant"):
            call()


def test_a_tenant_is_text_or_an_id(kms: Qpher) -> None:
    """Anything else is refused by name."""
    with pytest.raises(ValidationError) as caught:
        kms.tenants.get(5)  # type: ignore[arg-type]
    assert caught.value.parameter == "tenant"


def test_plans_and_status_change(kms: Qpher) -> None:
    """Plan and status change what is asked and nothing else, and the time."""
    made = kms.tenants.create("acme")
    planned = kms.tenants.set_plan("acme", "free", actor="boss")
    assert (planned.plan, planned.status, planned.name) == ("free", TenantStatus.ACTIVE, "acme")
    suspended = kms.tenants.suspend(made.id)
    assert (suspended.plan, suspended.status) == ("free", TenantStatus.SUSPENDED)
    resumed = kms.tenants.resume("acme")
    assert resumed.status is TenantStatus.ACTIVE
    assert made.updated_at <= planned.updated_at <= resumed.updated_at
    assert resumed.created_at == made.created_at
    with pytest.raises(ValidationError) as caught:
        kms.tenants.set_plan("acme", "gold")
    assert caught.value.parameter == "plan"


@pytest.mark.parametrize("actor", ["", None, "a\nb", 5])
def test_actors_are_checked(kms: Qpher, actor: object) -> None:
    """Whoever acts must have a name; else nothing happens."""
    kms.tenants.create("acme")
    for call in (
        lambda: kms.session("acme", actor=actor),  # type: ignore[arg-type]
        lambda: kms.tenants.create("other", actor=actor),  # type: ignore[arg-type]
        lambda: kms.tenants.suspend("acme", actor=actor),  # type: ignore[arg-type]
        lambda: kms.policies.set("[]", tenant="acme", actor=actor),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValidationError) as caught:
            call()
        assert caught.value.parameter == "actor"
    assert [tenant.name for tenant in kms.tenants.list()] == ["acme"]


def test_the_service_has_a_log_of_its_own(kms: Qpher) -> None:
    """Changes to the service's rules are in its own log, which no tenant reads."""
    kms.policies.set('[{"rule":"plan"}]', actor="root")
    report = kms.audit.verify()
    assert (report.ok, report.entries) == (True, 1)
    with pytest.raises(NotFound):
        kms.session(uuid.UUID(int=0), actor="x")


def test_sessions_and_services_show_no_more_than_they_should(kms: Qpher, acme: Session) -> None:
    """What is shown of a service and a session are names and ids."""
    assert repr(kms).startswith("<Qpher with '")
    assert repr(acme) == f"<Session of tenant {kms.tenants.get('acme').id} for 'tester'>"


def test_a_service_knows_its_algorithms(kms: Qpher) -> None:
    """The algorithms of a service are those of its provider."""
    names = [row.name for row in kms.algorithms]
    assert {"ML-KEM-768", "X-Wing", "ML-DSA-65", "MLDSA65-ECDSA-P256"} <= set(names)
    assert all(row.available for row in kms.algorithms)


def test_a_closed_service_refuses(kms: Qpher, acme: Session) -> None:
    """After closing, which may happen twice, every operation is refused."""
    acme.keys.generate("ML-KEM-768")
    kms.close()
    kms.close()
    for call in (
        lambda: acme.kem.encrypt(b""),
        acme.keys.list,
        kms.tenants.list,
        kms.audit.verify,
        lambda: kms.tenants.create("other"),
    ):
        with pytest.raises((StoreUnavailable, AuditUnavailable)):
            call()


def test_memory_stores_are_separate() -> None:
    """Each opening of memory is a store of its own."""
    with qpher_core.open("memory:") as one, qpher_core.open("memory:") as two:
        one.tenants.create("acme")
        assert two.tenants.list() == []


@pytest.mark.parametrize("parameter", ["policy_deadline", "protector_deadline"])
@pytest.mark.parametrize(
    "wrong", [0, -1, math.nan, math.inf, -math.inf, 86_401, 10**400, "1", b"1", True, None]
)
def test_deadlines_are_checked(tmp_path: Path, parameter: str, wrong: Any) -> None:
    """One that is none is refused by name, before anything is made."""
    with pytest.raises(ValidationError) as caught:
        qpher_core.open(f"sqlite:///{tmp_path}/q.db", **{parameter: wrong})
    assert caught.value.parameter == parameter
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("parameter", "wrong"),
    [
        *(("url", wrong) for wrong in (Path("q.db"), b"memory:", 3)),
        *(("audit", wrong) for wrong in (Path("log"), 3)),
        *(("policy", wrong) for wrong in (None, 3, ["rules:", 3], "rules")),
        *(("protector", wrong) for wrong in (Path("kek"), 3, ["memory:", 3], "/etc/kek")),
        ("primitives", 3),
        ("anchors", {"every_entries": 5}),
    ],
    ids=str,
)
def test_objects_that_are_none_of_the_kind_are_refused(parameter: str, wrong: Any) -> None:
    """A path instead of a URL, say, is refused by name on opening and not on the first use."""
    with pytest.raises(ValidationError, match=f"^{parameter} must be") as caught:
        qpher_core.open(**{"url": "memory:", parameter: wrong})
    assert caught.value.parameter == parameter


@pytest.mark.parametrize("parameter", ["policy", "protector"])
@pytest.mark.parametrize("wrong", ["nosuch:", "rules", Path("kek")], ids=str)
def test_parts_that_are_none_leave_no_store(tmp_path: Path, parameter: str, wrong: Any) -> None:
    """They are refused before a store and a key encryption key are made for them."""
    with pytest.raises(ValidationError) as caught:
        qpher_core.open(f"sqlite:///{tmp_path}/q.db", **{parameter: wrong})
    assert caught.value.parameter == parameter
    assert not list(tmp_path.iterdir())


def test_settings_of_a_service_elsewhere_are_settings() -> None:
    """What is no ``RemoteSettings`` is refused by name."""
    with pytest.raises(ValidationError) as caught:
        qpher_core.open("https://kms.example", api_key="qph_", remote=30)  # type: ignore[call-overload]
    assert caught.value.parameter == "remote"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_a_service_that_does_not_open_leaves_no_file_open(tmp_path: Path) -> None:
    """Whatever was opened before a setting is found wrong is closed again."""
    settings = qpher_core.AnchorSettings(publishers=["gopher://nowhere"])
    with pytest.raises(ValidationError, match="publisher"):
        qpher_core.open(f"sqlite:///{tmp_path}/q.db", anchors=settings)
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert not [link for link in links if str(tmp_path) in str(link.readlink())]
