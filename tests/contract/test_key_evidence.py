# SPDX-License-Identifier: Apache-2.0
"""What is known to depend on a key version, on every backend."""

import io
import warnings

import pytest

from qpher_core import KeyEvidence, KeyState, KeyStillNeeded, KeyUse
from qpher_core.errors import NotFound
from qpher_core.session import Session
from tests.contract.crossed import Crossed

KEM, SIGNATURE = "ML-KEM-768", "ML-DSA-44"


def here(session: Session) -> bool:
    """Return whether calls are executed in this process."""
    return session._migrator._pipeline.here


def test_use_is_counted(session: Session) -> None:
    """Successful uses count, each of a batch; refusals, reads and other versions do not."""
    session.keys.generate(KEM)
    assert session.keys.evidence(KEM, 1).use == KeyUse()
    box = session.kem.encrypt(b"x")
    session.kem.encrypt_many([b"y", b"z"])
    session.kem.encrypt_file(io.BytesIO(b"f"), io.BytesIO())
    session.kem.decrypt(box.ciphertext, 1)
    with pytest.raises(NotFound):
        session.kem.decrypt(box.ciphertext, 2)
    session.keys.rotate(KEM)
    session.kem.encrypt(b"x")
    found = session.keys.evidence(KEM, 1)
    assert (found.use.protected, found.use.processed, found.use.migrated) == (4, 1, 0)
    assert (found.remaining, found.successor) == (4, 2)
    use = found.use
    assert use.last_protected is not None
    assert use.last_processed is not None
    assert use.last_protected < use.last_processed == use.last_used
    assert session.keys.evidence(KEM, 2).use.protected == 1


def test_migration_covers(session: Session) -> None:
    """What migrations moved no longer depends on the key; values and files alike."""
    session.keys.generate(KEM)
    file = io.BytesIO()
    session.kem.encrypt_file(io.BytesIO(b"f"), file)
    boxes = [(n, session.kem.encrypt(b"x").ciphertext) for n in range(4)]
    session.keys.rotate(KEM)
    session.migrate(boxes[:3], sink=print)
    if here(session):  # there, values are decrypted and encrypted by the calls of everyone
        assert session.keys.evidence(KEM, 1).remaining == 2
        assert "of which migrations moved 3; 2 will be" in str(
            session.keys.evidence(KEM, 1).against_destroying
        )
        header = file.getvalue()
        session.migrate([("f", header), boxes[3]], sink=print)
        assert session.keys.evidence(KEM, 1).remaining == 0
        assert session.keys.evidence(KEM, 1).against_destroying == ()
    assert session.keys.evidence(KEM, 2).use.protected >= 3


def test_retiring(session: Session) -> None:
    """An active version that protects and has no successor is warned of; a successor helps."""
    session.keys.generate(KEM)
    assert session.keys.evidence(KEM, 1).against_retiring == ()
    session.kem.encrypt(b"x")
    (reason,) = session.keys.evidence(KEM, 1).against_retiring
    assert "has no successor" in reason
    if here(session):
        with pytest.warns(KeyStillNeeded, match="has no successor") as caught:
            session.keys.retire(KEM, 1)
        warning = caught[0].message
        assert isinstance(warning, KeyStillNeeded)
        assert isinstance(warning.evidence, KeyEvidence)
        assert warning.evidence.use.protected == 1
        if not isinstance(session, Crossed):  # whose warnings come from a thread
            assert caught[0].filename == __file__
    else:
        session.keys.retire(KEM, 1)
    assert session.keys.get(KEM, 1).state is KeyState.RETIRED
    session.keys.generate(KEM)
    session.keys.rotate(KEM)
    assert session.keys.evidence(KEM, 2).against_retiring == ()


def test_destroying(session: Session) -> None:
    """Destroying what is needed warns first; as an error, the warning stops it; force does not."""
    session.keys.generate(SIGNATURE)
    session.signatures.sign(b"x", algorithm=SIGNATURE)
    session.keys.rotate(SIGNATURE)
    session.keys.archive(SIGNATURE, 1)
    evidence = session.keys.evidence(SIGNATURE, 1)
    assert evidence.against_destroying == ("it made 1 signatures, which it will no longer verify",)
    with warnings.catch_warnings():
        warnings.simplefilter("error", KeyStillNeeded)
        if here(session):
            with pytest.raises(KeyStillNeeded, match="1 signatures"):
                session.keys.destroy(SIGNATURE, 1)
            assert session.keys.get(SIGNATURE, 1).state is KeyState.ARCHIVED
            last = [*session.audit.entries()][-1].fields
            assert (last["action"], last["outcome"]) == ("keys.archive", "success")
        session.keys.destroy(SIGNATURE, 1, force=True)
    assert session.keys.get(SIGNATURE, 1).state is KeyState.DESTROYED
    assert session.keys.evidence(SIGNATURE, 1).against_destroying == ()


def test_unused_keys_go_silently(session: Session) -> None:
    """Nothing speaks against a key that never protected anything."""
    session.keys.generate(KEM)
    with warnings.catch_warnings():
        warnings.simplefilter("error", KeyStillNeeded)
        session.keys.retire(KEM, 1)
        session.keys.archive(KEM, 1)
        session.keys.destroy(KEM, 1)
