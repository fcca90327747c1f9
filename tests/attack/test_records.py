# SPDX-License-Identifier: Apache-2.0
"""Key records that were moved or altered in the database do not open."""

import sqlite3
from pathlib import Path

import pytest

import qpher_core
from qpher_core import IntegrityError
from tests.attack.conftest import KEM, SIGNATURE, Prompt


def _columns(tmp_path: Path, tenant: object, algorithm: str, version: int = 1) -> tuple[bytes, ...]:
    database = sqlite3.connect(tmp_path / "q.db")
    row = database.execute(
        "SELECT sealed, public_key FROM key_versions"
        " WHERE tenant_id = ? AND algorithm = ? AND version = ?",
        (str(tenant), algorithm, version),
    ).fetchone()
    database.close()
    return tuple(row)


def _put(prompt: Prompt, tenant: object, algorithm: str, column: str, value: bytes) -> None:
    prompt(
        f"UPDATE key_versions SET {column} = ?, revision = revision + 1"
        " WHERE tenant_id = ? AND algorithm = ? AND version = 1",
        (value, str(tenant), algorithm),
    )


def test_a_record_of_another_tenant_does_not_open(
    kms: qpher_core.Qpher,
    acme: qpher_core.Session,
    rival: qpher_core.Session,
    prompt: Prompt,
    tmp_path: Path,
) -> None:
    """A rival who copies a sealed seed and public key into their own record gains nothing."""
    box = acme.kem.encrypt(b"m")
    target = kms.tenants.get("rival").id
    for column, value in zip(
        ("sealed", "public_key"),
        _columns(tmp_path, kms.tenants.get("acme").id, KEM),
        strict=True,
    ):
        _put(prompt, target, KEM, column, value)
    with pytest.raises(IntegrityError, match="does not authenticate"):
        rival.kem.decrypt(box.ciphertext, 1)


def test_a_record_of_another_version_does_not_open(
    kms: qpher_core.Qpher, acme: qpher_core.Session, prompt: Prompt, tmp_path: Path
) -> None:
    """A seed that is put under another version of the same key does not open."""
    acme.keys.rotate(SIGNATURE)
    tenant = kms.tenants.get("acme").id
    _put(prompt, tenant, SIGNATURE, "sealed", _columns(tmp_path, tenant, SIGNATURE, 2)[0])
    prompt("UPDATE key_versions SET state = 'retired' WHERE version = 2", ())
    prompt(
        "UPDATE key_versions SET state = 'active', revision = 9 WHERE version = 1"
        " AND algorithm = ? AND tenant_id = ?",
        (SIGNATURE, str(tenant)),
    )
    with pytest.raises(IntegrityError):
        acme.signatures.sign(b"m")


@pytest.mark.parametrize("place", [0, 1, 12, 13, 40, -1])
def test_an_altered_seed_does_not_open(
    kms: qpher_core.Qpher, acme: qpher_core.Session, prompt: Prompt, tmp_path: Path, place: int
) -> None:
    """One flipped bit, anywhere, is noticed."""
    tenant = kms.tenants.get("acme").id
    sealed = bytearray(_columns(tmp_path, tenant, SIGNATURE)[0])
    sealed[place] ^= 1
    _put(prompt, tenant, SIGNATURE, "sealed", bytes(sealed))
    with pytest.raises(IntegrityError):
        acme.signatures.sign(b"m")


@pytest.mark.parametrize("length", [0, 1, 12, 13, 28, 40])
def test_a_cut_seed_does_not_open(
    kms: qpher_core.Qpher, acme: qpher_core.Session, prompt: Prompt, tmp_path: Path, length: int
) -> None:
    """A record that was cut short is noticed, wherever the cut is."""
    tenant = kms.tenants.get("acme").id
    sealed = _columns(tmp_path, tenant, SIGNATURE)[0]
    _put(prompt, tenant, SIGNATURE, "sealed", sealed[:length])
    with pytest.raises(IntegrityError):
        acme.signatures.sign(b"m")


def test_a_swapped_public_key_is_noticed_by_its_private_key(
    kms: qpher_core.Qpher, acme: qpher_core.Session, prompt: Prompt, tmp_path: Path
) -> None:
    """A private key is not used under a public key that is not its own."""
    foreign = _columns(tmp_path, kms.tenants.get("rival").id, SIGNATURE)[1]
    _put(prompt, kms.tenants.get("acme").id, SIGNATURE, "public_key", foreign)
    with pytest.raises(IntegrityError, match="public key"):
        acme.signatures.sign(b"m")


@pytest.mark.parametrize("value", [None, "2020-01-01T00:00:00.000000Z"])
def test_a_compromise_cannot_be_unmarked(
    kms: qpher_core.Qpher,
    acme: qpher_core.Session,
    prompt: Prompt,
    tmp_path: Path,
    value: str | None,
) -> None:
    """The schema keeps the mark; with the schema out of the way, the seal covers it."""
    tenant = str(kms.tenants.get("acme").id)
    acme.keys.compromise(KEM, 1)
    acme.keys.archive(KEM, 1)
    clear = "UPDATE key_versions SET compromised_at = ? WHERE tenant_id = ? AND algorithm = ?"
    database = sqlite3.connect(tmp_path / "q.db")
    with pytest.raises(sqlite3.IntegrityError, match="stays marked"):
        database.execute(clear, (value, tenant, KEM))
    database.close()
    prompt(clear, (value, tenant, KEM))
    with pytest.raises(IntegrityError, match="does not authenticate"):
        acme.keys.restore(KEM, 1)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit_entries SET body = x'00'",
        "DELETE FROM audit_entries",
        "DELETE FROM key_versions",
        "UPDATE key_versions SET public_key = x'00'",
        "UPDATE key_versions SET version = version + 10",
        "UPDATE policies SET rules = '[]'",
        "DELETE FROM policies",
        (
            "INSERT INTO key_versions SELECT tenant_id, name, algorithm, 7, state, public_key,"
            " created_at, changed_at, reason, revision, kek_id, sealed, compromised_at"
            " FROM key_versions"
        ),
        "UPDATE key_versions SET state = 'unheard of'",
        "UPDATE key_versions SET sealed = NULL",
    ],
)
def test_the_schema_refuses_what_must_never_happen(
    kms: qpher_core.Qpher, tmp_path: Path, sql: str
) -> None:
    """With the schema as it is, a SQL prompt cannot do these things."""
    assert kms.tenants.list()
    database = sqlite3.connect(tmp_path / "q.db")
    with pytest.raises(sqlite3.IntegrityError):
        database.execute(sql)
    database.close()
