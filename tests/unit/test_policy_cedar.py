# SPDX-License-Identifier: Apache-2.0
"""Cedar policies: checked when read, decided fail closed, read again when they change."""

import os
from pathlib import Path
from unittest.mock import Mock

import cedarpy
import pytest
from attrs import evolve

import qpher_core
from qpher_backends.policies.cedar import SCHEMA, CedarEngine
from qpher_core.errors import PermissionDenied, PolicyUnavailable, ValidationError
from qpher_core.operations import OPERATIONS
from tests.unit.test_policy import REQUEST

ALLOW = "permit(principal, action, resource);"


def engine(folder: Path, text: str) -> CedarEngine:
    """An engine over one file."""
    (folder / "all.cedar").write_text(text, encoding="utf-8")
    return CedarEngine(folder)


@pytest.mark.parametrize(
    ("condition", "changes", "allowed"),
    [
        ("true", {}, True),
        ("false", {}, False),
        ('principal.name == "billing"', {}, True),
        ('principal.name like "b*"', {"actor": "x"}, False),
        ('resource is Key && resource.algorithm == "ML-KEM-768"', {}, True),
        ("resource is Tenant", {}, False),
        ("resource is Tenant", {"key_name": None, "algorithm": None}, True),
        ('resource is Key && resource has state && resource.state == "active"', {}, True),
        ("resource is Key && resource has version && resource.version > 1", {}, False),
        ("context.payload_bytes <= 100", {}, True),
        ("context.payload_bytes <= 100", {"payload_bytes": 101}, False),
        ("context has source", {}, False),
        (
            'context has source && context.source.isInRange(ip("10.0.0.0/8"))',
            {"source": "10.9.8.7"},
            True,
        ),
        (
            'context has source && context.source.isInRange(ip("10.0.0.0/8"))',
            {"source": "2001:db8::1"},
            False,
        ),
        ('context has scopes && context.scopes.contains("kem")', {}, False),
        ('context has scopes && context.scopes.contains("kem")', {"scopes": {"kem"}}, True),
        ('context.time < datetime("2020-01-01")', {}, False),
        ('context.features.contains("kem")', {}, True),
    ],
)
def test_conditions(
    tmp_path: Path,
    condition: str,
    changes: dict[str, object],
    allowed: bool,  # noqa: FBT001
) -> None:
    """Every part of a request can be used in a condition."""
    chosen = engine(tmp_path, f"permit(principal, action, resource) when {{ {condition} }};")
    assert chosen.decide(evolve(REQUEST, **changes)).allow is allowed


def test_forbid_wins_and_its_name_is_told(tmp_path: Path) -> None:
    """One policy that forbids decides, whatever others permit."""
    text = f'{ALLOW} forbid(principal, action == Action::"kem.encrypt", resource);'
    chosen = engine(tmp_path, text)
    decision = chosen.decide(REQUEST)
    assert (decision.allow, decision.rule) == (False, "cedar")
    assert decision.reason == "forbidden by policy1"
    assert chosen.decide(evolve(REQUEST, action="kem.decrypt")).allow


def test_no_policy_permits_nothing(tmp_path: Path) -> None:
    """An empty folder and a file of comments deny everything."""
    assert CedarEngine(tmp_path).decide(REQUEST).reason == "no policy permits it"
    assert not engine(tmp_path, "// nothing").decide(REQUEST).allow


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("permit(", "parse"),
        ('permit(principal, action == Action::"kem.encrpt", resource);', "unrecognized action"),
        ("permit(principal, action, resource) when { context.payload == 1 };", "payload"),
        ('permit(principal, action, resource) when { context.payload_bytes == "1" };', "type"),
        ('permit(principal == User::"x", action, resource);', "entity type"),
    ],
)
def test_policies_that_do_not_fit_the_schema_are_refused(
    tmp_path: Path, text: str, reason: str
) -> None:
    """What does not parse, or names what does not exist, is refused with Cedar's reason."""
    with pytest.raises(ValidationError, match=reason) as caught:
        engine(tmp_path, text)
    assert caught.value.parameter == "policy"


def test_errors_in_the_evaluation_are_no_answer(tmp_path: Path) -> None:
    """An allowance beside an error in the diagnostics is not taken."""
    text = f"{ALLOW} permit(principal, action, resource) when {{ context.payload_bytes + 1 > 0 }};"
    chosen = engine(tmp_path, text)
    with pytest.raises(PolicyUnavailable):
        chosen.decide(evolve(REQUEST, payload_bytes=2**63 - 1))


@pytest.mark.parametrize(
    "changes", [{"action": "kem.teleport"}, {"source": "not an address"}, {"payload_bytes": 2**70}]
)
def test_requests_that_cedar_cannot_take_are_no_answer(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    """An unknown action, or a value out of range, allows nothing."""
    with pytest.raises(PolicyUnavailable):
        engine(tmp_path, ALLOW).decide(evolve(REQUEST, **changes))


@pytest.mark.parametrize("actor", ['"', "a\nb", "ü", '", action); //', "\\", "x" * 255])
def test_names_are_data(tmp_path: Path, actor: str) -> None:
    """Names cannot change what a policy says."""
    chosen = engine(tmp_path, 'permit(principal == Actor::"root", action, resource);')
    assert not chosen.decide(evolve(REQUEST, actor=actor, key_name=actor)).allow
    assert chosen.decide(evolve(REQUEST, actor="root", key_name=actor)).allow


def test_changed_files_count_at_once(tmp_path: Path) -> None:
    """Files that change, come or go are read again; while they are broken nothing is allowed."""
    chosen = engine(tmp_path, ALLOW)
    assert chosen.decide(REQUEST).allow
    forbid = tmp_path / "forbid.cedar"
    forbid.write_text('forbid(principal, action == Action::"kem.encrypt", resource);')
    assert not chosen.decide(REQUEST).allow
    forbid.unlink()
    assert chosen.decide(REQUEST).allow
    (tmp_path / "all.cedar").write_text("permit(")
    with pytest.raises(ValidationError):
        chosen.decide(REQUEST)
    (tmp_path / "all.cedar").unlink()
    os.rmdir(tmp_path)  # noqa: PTH106
    with pytest.raises(PolicyUnavailable):
        chosen.decide(REQUEST)


def test_the_schema_has_every_operation() -> None:
    """Each operation is an action of the schema."""
    assert all(f'action "{action}"' in SCHEMA for action in OPERATIONS)


@pytest.mark.parametrize("url", ["cedar:", "cedar://", "cedar:///", "cedar://host/path"])
def test_urls(url: str) -> None:
    """The URL names an absolute path."""
    with pytest.raises(ValidationError, match="cedar:///path"):
        qpher_core.open("memory:", policy=url)


def test_through_the_service(tmp_path: Path) -> None:
    """A service opened with Cedar does what the policies permit, beside the rule chain."""
    text = 'permit(principal, action, resource) when { principal.name != "intern" };'
    (tmp_path / "all.cedar").write_text(text)
    with qpher_core.open("memory:", policy=["rules:", f"cedar://{tmp_path}"]) as kms:
        kms.tenants.create("acme", plan="free")
        clerk, intern = (kms.session("acme", actor=actor) for actor in ("clerk", "intern"))
        clerk.keys.generate("ML-KEM-768")
        with pytest.raises(PermissionDenied) as caught:
            intern.kem.encrypt(b"x")
        assert caught.value.rule == "cedar"
        with pytest.raises(PermissionDenied) as caught:
            clerk.keys.generate("X-Wing")
        assert caught.value.rule == "plan"
        (tmp_path / "all.cedar").write_text("permit(")
        with pytest.raises(PolicyUnavailable):
            clerk.kem.encrypt(b"x")
        assert kms.audit.verify("acme").ok


class PanicException(BaseException):
    """What Rust's panics are in Python; the real one cannot be made here."""


def test_a_panic_is_a_refusal_that_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no ``Exception`` would pass by all who record refusals; Ctrl-C is the caller's."""
    with qpher_core.open("memory:", policy=engine(tmp_path, ALLOW)) as kms:
        tenant = kms.tenants.create("acme")
        session = kms.session("acme", actor="test")
        for error, expected in (
            (PanicException(), PolicyUnavailable),
            (KeyboardInterrupt(), KeyboardInterrupt),
        ):
            monkeypatch.setattr(cedarpy, "is_authorized", Mock(side_effect=error))
            with pytest.raises(expected):
                session.kem.encrypt(b"m")
        (entry,) = (e for e in kms._store.audit.read(tenant.id) if "kem" in e.fields["action"])
        assert entry.fields["outcome"] == "denied"
        assert "policy" in entry.fields["reason"]
