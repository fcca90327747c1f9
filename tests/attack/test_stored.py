# SPDX-License-Identifier: Apache-2.0
"""Rows of the database that were altered: what is noticed, where, and what is not."""

import sqlite3
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

import qpher_core
from qpher_core import IntegrityError, PermissionDenied, PolicyUnavailable, QpherError
from qpher_core.audit.records import LogBase
from qpher_core.key_usage import LogUsage
from qpher_core.service import Qpher
from qpher_core.session import Session
from tests.attack.conftest import Prompt

PAIR = ("ML-DSA-44", "ML-DSA-65")  # their seeds have the same form


def _sealed(folder: Path, name: str, algorithm: str) -> bytes:
    database = sqlite3.connect(folder / "q.db")
    (row,) = database.execute(
        "SELECT sealed FROM key_versions JOIN tenants USING (tenant_id)"
        " WHERE tenants.name = 'acme' AND key_versions.name = ? AND algorithm = ?",
        (name, algorithm),
    ).fetchall()
    database.close()
    return bytes(row[0])


@pytest.mark.parametrize(
    ("source", "target"),
    [(("a", PAIR[0]), ("b", PAIR[0])), (("a", PAIR[0]), ("a", PAIR[1]))],
    ids=["name", "algorithm"],
)
def test_a_seed_of_another_name_or_algorithm_does_not_open(
    acme: Session,
    prompt: Prompt,
    tmp_path: Path,
    source: tuple[str, str],
    target: tuple[str, str],
) -> None:
    """A sealed seed opens under its own name and algorithm only, and the error shows none of it."""
    for name, algorithm in {source, target}:
        acme.keys.generate(algorithm, name=name)
    sealed = _sealed(tmp_path, *source)
    prompt(
        "UPDATE key_versions SET sealed = ?, revision = 2 WHERE name = ? AND algorithm = ?",
        (sealed, *target),
    )
    with pytest.raises(IntegrityError, match="does not authenticate") as caught:
        acme.signatures.sign(b"m", algorithm=target[1], name=target[0])
    assert sealed.hex() not in str(caught.value)
    assert caught.value.__cause__ is None
    (last,) = list(acme.audit.entries())[-1:]
    assert last.fields["outcome"] == "failed"
    assert acme.signatures.sign(b"m", algorithm=source[1], name=source[0]).signature


def test_a_swapped_kek_id_does_not_open(acme: Session, prompt: Prompt) -> None:
    """The id of a KEK that nobody has is an unavailable protector, not another key."""
    prompt("UPDATE key_versions SET kek_id = '0011223344556677', revision = 2", ())
    with pytest.raises(qpher_core.ProtectorUnavailable, match="0011223344556677"):
        acme.signatures.sign(b"m")


#: (algorithm, call that needs the private key)
PRIVATE: list[tuple[str, Callable[[Session, str], object]]] = [
    ("ML-KEM-768", lambda s, a: s.kem.decapsulate(bytes(1088), 1, a, name="n")),
    ("ML-KEM-1024", lambda s, a: s.kem.decapsulate(bytes(1568), 1, a, name="n")),
    ("X-Wing", lambda s, a: s.kem.decapsulate(bytes(1120), 1, a, name="n")),
    ("ML-DSA-44", lambda s, a: s.signatures.sign(b"m", algorithm=a, name="n")),
    ("MLDSA65-ECDSA-P256", lambda s, a: s.signatures.sign(b"m", algorithm=a, name="n")),
]


@pytest.mark.parametrize(("algorithm", "call"), PRIVATE, ids=[row[0] for row in PRIVATE])
def test_a_swapped_public_key_stops_its_private_key(
    acme: Session,
    rival: Session,
    prompt: Prompt,
    algorithm: str,
    call: Callable[[Session, str], object],
) -> None:
    """A private key is not used while another's public key stands beside it."""
    acme.keys.generate(algorithm, name="n")
    foreign = rival.keys.generate(algorithm, name="foreign").public_key
    prompt("UPDATE key_versions SET public_key = ?, revision = 2 WHERE name = 'n'", (foreign,))
    with pytest.raises(IntegrityError, match="public key"):
        call(acme, algorithm)


def test_nothing_is_encrypted_to_a_swapped_public_key(
    acme: Session, rival: Session, prompt: Prompt
) -> None:
    """Who can write the database cannot have messages encrypted to a key of their own."""
    acme.keys.generate("ML-KEM-768", name="n")
    foreign = rival.keys.generate("ML-KEM-768", name="foreign").public_key
    prompt("UPDATE key_versions SET public_key = ?, revision = 2 WHERE name = 'n'", (foreign,))
    with pytest.raises(IntegrityError):
        acme.kem.encrypt(b"m", name="n")


def test_a_forged_state_is_not_believed(acme: Session, prompt: Prompt) -> None:
    """Who can write the database cannot make a compromised key active again."""
    acme.keys.compromise("ML-DSA-65", 1)
    prompt("UPDATE key_versions SET state = 'active', revision = 9", ())
    with pytest.raises(QpherError):
        acme.signatures.sign(b"m")


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE key_versions SET changed_at = 'yesterday'",
        "UPDATE key_versions SET created_at = ''",
        "UPDATE tenants SET updated_at = 'never'",
        "UPDATE tenants SET created_at = '2026-13-45'",
    ],
)
def test_a_row_that_makes_no_sense_is_an_integrity_error(
    kms: Qpher, acme: Session, prompt: Prompt, sql: str
) -> None:
    """A malformed row is named as one, and nothing is released."""
    prompt(sql, ())
    for attempt in (
        lambda: acme.signatures.sign(b"m"),
        lambda: acme.keys.get("ML-DSA-65", 1),
        acme.keys.list,
    ):
        with pytest.raises(IntegrityError):
            attempt()
    assert kms.audit.verify().ok


def test_an_unknown_plan_allows_nothing(acme: Session, prompt: Prompt) -> None:
    """A plan that does not exist is no plan that has everything."""
    prompt("UPDATE tenants SET plan = 'gold'", ())
    with pytest.raises(PolicyUnavailable):
        acme.signatures.sign(b"m")


def test_a_store_without_rules_allows_nothing(acme: Session, prompt: Prompt) -> None:
    """With the service's rules deleted, everything is denied."""
    prompt("DELETE FROM policies", ())
    with pytest.raises(PermissionDenied, match="no rules"):
        acme.signatures.sign(b"m")


@pytest.mark.parametrize("rules", ["", "null", "[{}]", '[{"rule":"allow"}]', "[" * 5000])
def test_broken_rules_allow_nothing(acme: Session, prompt: Prompt, rules: str) -> None:
    """Stored rules that cannot be read stop every operation, and the refusal is recorded."""
    prompt("INSERT INTO policies VALUES ('', 2, ?)", (rules,))
    with pytest.raises(PolicyUnavailable):
        acme.signatures.sign(b"m")
    prompt("DELETE FROM policies WHERE revision = 2", ())
    assert list(acme.audit.entries())[-1].fields["outcome"] == "denied"


def test_a_deleted_tenant_can_do_nothing(acme: Session, prompt: Prompt) -> None:
    """A session of a tenant whose row is gone is refused."""
    prompt("PRAGMA foreign_keys = OFF", ())
    prompt("DELETE FROM tenants WHERE name = 'acme'", ())
    with pytest.raises(qpher_core.AuthenticationError):
        acme.signatures.sign(b"m")


def test_a_damaged_log_keeps_no_other_tenant_from_its_rotation(
    kms: Qpher, acme: Session, rival: Session, prompt: Prompt
) -> None:
    """Uses that cannot be counted are a problem of their tenant alone."""
    kms.policies.set('[{"rule": "rotation", "max_uses": 1, "algorithms": ["ML-KEM-*"]}]')
    for session in (acme, rival):
        session.kem.encrypt(b"m")
    damaged = str(kms.tenants.get("acme").id)
    for body in (b"not JSON", b"{}", b'{"key": {}, "action": "kem.encrypt", "outcome": "success"}'):
        prompt("UPDATE audit_entries SET body = ? WHERE tenant_id = ? AND seq = 3", (body, damaged))
        report = kms.maintain(dry_run=True)
        assert [key.tenant for key in report.keys] == ["rival"]
        (unread,) = report.unread
        assert (unread.tenant, "ERR_INTEGRITY_001: entry 3" in unread.problem) == ("acme", True)
    assert [key.due for key in kms.maintain().keys] == [qpher_core.Due.ROTATED]
    assert rival.keys.active("ML-KEM-768").version == 2


@pytest.mark.parametrize(
    "uses", [b"", b"[]", b'{"uses": 5}', b'{"uses": [{"key": [], "use": []}]}', b"\xff"]
)
def test_damaged_uses_of_moved_entries_are_named(uses: bytes) -> None:
    """What the log says of entries that were moved out is checked when uses are counted."""
    base = LogBase(7, bytes(32), bytes(32), uses, bytes(32))
    found = LogUsage(lambda _, **__: (), lambda _: base)
    with pytest.raises(IntegrityError, match="moved out"):
        found.all(uuid.uuid4())
