# SPDX-License-Identifier: Apache-2.0
"""Signing anew with a link to the former signature, on every backend."""

import hashlib

import pytest

from qpher_core.errors import NotFound, StateConflict, ValidationError
from qpher_core.session import Session

OLD, NEW = "ML-DSA-44", "ML-DSA-65"


def test_a_chain(session: Session) -> None:
    """Each signature verifies with its context alone, which names the one before it."""
    session.keys.generate(OLD)
    session.keys.generate(NEW)
    first = session.signatures.sign(b"m", algorithm=OLD, context={"kind": "invoice"})
    second = session.resign(
        b"m", first.signature, 1, OLD, to_algorithm=NEW, context={"kind": "invoice"}
    )
    third = session.resign(b"m", second.signature, 1, NEW, to_algorithm=NEW, context=second.context)
    for result, former in ((second, first), (third, second)):
        link = hashlib.sha256(former.signature).hexdigest()
        assert result.context == {"kind": "invoice", "previous-signature": link}
        verify = session.signatures.verify
        assert verify(b"m", result.signature, 1, NEW, context=result.context).valid
        assert not verify(b"m", result.signature, 1, NEW, context={"kind": "invoice"}).valid
        assert not verify(b"n", result.signature, 1, NEW, context=result.context).valid


def test_what_is_not_valid_is_not_signed(session: Session) -> None:
    """A wrong signature, message or context gets no new signature, whatever the key."""
    session.keys.generate(OLD)
    session.keys.generate(NEW)
    signed = session.signatures.sign(b"m", algorithm=OLD)
    before = len([e for e in session.audit.entries() if e.fields["action"] == "signatures.sign"])
    for message, signature, context in (
        (b"n", signed.signature, None),
        (b"m", signed.signature[:-1], None),
        (b"m", signed.signature, {"kind": "x"}),
    ):
        with pytest.raises(ValidationError, match="valid"):
            session.resign(message, signature, 1, OLD, to_algorithm=NEW, context=context)
    with pytest.raises(NotFound):
        session.resign(b"m", signed.signature, 2, OLD, to_algorithm=NEW)
    after = len([e for e in session.audit.entries() if e.fields["action"] == "signatures.sign"])
    assert after == before


def test_compromised_keys(session: Session) -> None:
    """What a compromised key signed is signed anew only knowingly."""
    session.keys.generate(OLD)
    session.keys.generate(NEW)
    signed = session.signatures.sign(b"m", algorithm=OLD)
    session.keys.compromise(OLD, 1)
    with pytest.raises(StateConflict):
        session.resign(b"m", signed.signature, 1, OLD, to_algorithm=NEW)
    result = session.resign(
        b"m", signed.signature, 1, OLD, to_algorithm=NEW, accept_compromised=True
    )
    assert session.signatures.verify(b"m", result.signature, 1, NEW, context=result.context).valid
