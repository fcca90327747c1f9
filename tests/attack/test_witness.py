# SPDX-License-Identifier: Apache-2.0
"""A service that shows different logs does not get both of them witnessed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import qpher_core
from qpher_core import (
    AnchorSettings,
    AuditIntegrityError,
    Problem,
    Unavailable,
    ValidationError,
    VerifierKey,
    Witness,
)
from qpher_core.audit.note import Note
from qpher_core.audit.vkey import verify_note
from tests.attack.exports import forged_key
from tests.policy_servers import hanging_up
from tests.witness import SmallWitness


@pytest.fixture
def witness() -> Iterator[SmallWitness]:
    """Serve a witness."""
    with SmallWitness() as served:
        yield served


def _open(folder: Path, name: str, *witnesses: Witness) -> qpher_core.Qpher:
    return qpher_core.open(
        f"sqlite:///{folder}/{name}.db",
        protector=f"file://{folder}/kek",
        anchors=AnchorSettings(every_seconds=None, witnesses=witnesses),
    )


@pytest.fixture
def tenant(tmp_path: Path, witness: SmallWitness) -> qpher_core.Tenant:
    """Return the tenant of a log that the witness cosigned at two entries."""
    with _open(tmp_path, "a") as kms:
        made = kms.tenants.create("acme")
        witness.trusted = [VerifierKey.parse(kms.anchors.key())]
    with _open(tmp_path, "a", Witness(witness.url, witness.key)) as kms:
        kms.session("acme", actor="x").keys.generate("ML-KEM-768")
        anchor = kms.anchors.publish(made)
        assert verify_note(Note.parse(anchor.note), [witness.key]) == [witness.key]
    return made


def test_a_log_that_grows_is_cosigned_again(
    tmp_path: Path, tenant: qpher_core.Tenant, witness: SmallWitness
) -> None:
    """The second checkpoint comes with a proof from the first, and is cosigned at once."""
    with _open(tmp_path, "a", Witness(witness.url, str(witness.key))) as kms:
        kms.session("acme", actor="x").kem.encapsulate()
        note = Note.parse(kms.anchors.publish(tenant).note)
        assert verify_note(note, [witness.key])
        assert witness.requests == 2


def test_a_witness_that_knows_more_is_asked_again(
    tmp_path: Path, tenant: qpher_core.Tenant, witness: SmallWitness
) -> None:
    """A client that does not know the last cosigned size learns it from the conflict."""
    with _open(tmp_path, "a") as kms:
        for _ in range(3):
            kms.session("acme", actor="x").kem.encapsulate()
            kms.anchors.publish(tenant)
        kms.session("acme", actor="x").kem.encapsulate()
    with _open(tmp_path, "a", Witness(witness.url, witness.key)) as kms:
        assert verify_note(Note.parse(kms.anchors.publish(tenant).note), [witness.key])
        assert witness.requests == 3


def _refused(kms: qpher_core.Qpher, tenant: qpher_core.Tenant) -> Problem:
    before = kms.anchors.latest(tenant)
    with pytest.raises(AuditIntegrityError) as caught:
        kms.anchors.publish(tenant)
    assert kms.anchors.latest(tenant) == before
    return caught.value.problem


@pytest.mark.parametrize("entries", [1, 2, 5])
def test_a_split_view_is_refused(
    tmp_path: Path, tenant: qpher_core.Tenant, witness: SmallWitness, entries: int
) -> None:
    """Of two histories with the same beginning and the same key, one is witnessed."""
    shutil.copy(tmp_path / "a.db", tmp_path / "b.db")
    chosen = Witness(witness.url, witness.key)
    with _open(tmp_path, "a", chosen) as kms:
        for _ in range(2):
            kms.session("acme", actor="x").kem.encapsulate()
        kms.anchors.publish(tenant)
    with _open(tmp_path, "b", chosen) as kms:
        for _ in range(entries):
            kms.session("acme", actor="y").kem.encapsulate()
        expected = Problem.ROLLED_BACK if entries < 2 else Problem.FORKED
        assert _refused(kms, tenant) is expected


def test_a_stranger_gets_nothing(
    tmp_path: Path, tenant: qpher_core.Tenant, witness: SmallWitness
) -> None:
    """A witness that does not know the anchor key refuses, and the anchor is not made."""
    witness.trusted = [forged_key("other").key]
    with _open(tmp_path, "a", Witness(witness.url, witness.key)) as kms:
        kms.session("acme", actor="x").kem.encapsulate()
        assert _refused(kms, tenant) is Problem.UNKNOWN_KEY


def test_an_answer_by_another_key_does_not_count(
    tmp_path: Path, tenant: qpher_core.Tenant, witness: SmallWitness
) -> None:
    """Who answers in the place of the witness cannot sign for it."""
    with SmallWitness() as expected:
        key = expected.key
    with _open(tmp_path, "a", Witness(witness.url, key)) as kms:
        kms.session("acme", actor="x").kem.encapsulate()
        assert _refused(kms, tenant) is Problem.UNKNOWN_KEY


def test_a_required_witness_must_answer(
    tmp_path: Path, tenant: qpher_core.Tenant, witness: SmallWitness
) -> None:
    """Without it there is no anchor; one that is not required may be away."""
    away = "http://127.0.0.1:9"
    with _open(tmp_path, "a", Witness(away, witness.key)) as kms:
        kms.session("acme", actor="x").kem.encapsulate()
        with pytest.raises(Unavailable):
            kms.anchors.publish(tenant)
    with _open(tmp_path, "a", Witness(away, witness.key, required=False)) as kms:
        assert kms.anchors.publish(tenant).size == 3


@pytest.mark.parametrize("said", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 2\r\n\r\n"])
def test_a_witness_that_answers_nonsense_is_away(
    tmp_path: Path, tenant: qpher_core.Tenant, witness: SmallWitness, said: bytes
) -> None:
    """What is no HTTP is no answer, as if it could not be reached."""
    with hanging_up(said) as host:
        away = f"http://{host}"
        with _open(tmp_path, "a", Witness(away, witness.key)) as kms:
            kms.session("acme", actor="x").kem.encapsulate()
            with pytest.raises(Unavailable, match="does not answer"):
                kms.anchors.publish(tenant)
        with _open(tmp_path, "a", Witness(away, witness.key, required=False)) as kms:
            assert kms.anchors.publish(tenant).size == 3


@pytest.mark.parametrize("url", ["file:///etc/passwd", "https://", "https://user:pass@x", ""])
def test_a_witness_has_a_url(witness: SmallWitness, url: str) -> None:
    """Anything but HTTP, with a host and without credentials, is refused."""
    with pytest.raises(ValidationError):
        Witness(url, witness.key)
