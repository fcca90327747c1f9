# SPDX-License-Identifier: Apache-2.0
"""What ``session.kem.encrypt_local`` and ``decrypt_local`` promise."""

import pytest
from attrs import evolve
from qpher.types import EncryptedEnvelope as SdkEnvelope

from qpher_core import DecryptionFailed, EncryptedEnvelope, NotFound, StateConflict, ValidationError
from qpher_core.session import Session


@pytest.mark.parametrize("size", [0, 1, 2_000_000])
def test_envelopes_open_again(session: Session, kem: str, size: int) -> None:
    """A message of any size, larger than a request may be, opens; also from bytes."""
    session.keys.generate(kem)
    plaintext = bytes(size)
    sealed = session.kem.encrypt_local(plaintext, algorithm=kem)
    assert (sealed.key_version, sealed.algorithm) == (1, kem)
    assert session.kem.decrypt_local(sealed) == plaintext
    again = EncryptedEnvelope.from_bytes(sealed.to_bytes(), 1, kem)
    assert session.kem.decrypt_local(again) == plaintext
    assert sealed.receipt is not None
    assert session.audit.entry(sealed.receipt).fields["action"] == "kem.encapsulate"


def test_the_form_is_that_of_the_sdk(session: Session) -> None:
    """The published SDK reads our bytes and writes the same."""
    session.keys.generate("ML-KEM-768")
    data = session.kem.encrypt_local(b"message").to_bytes()
    theirs = SdkEnvelope.from_bytes(data, 1)
    assert theirs.to_bytes() == data
    ours = EncryptedEnvelope.from_bytes(theirs.to_bytes(), 1, theirs.algorithm)
    assert session.kem.decrypt_local(ours) == b"message"


def test_altered_envelopes_fail_alike(session: Session, kem: str) -> None:
    """Any alteration is one error, whichever part it is in."""
    session.keys.generate(kem)
    sealed = session.kem.encrypt_local(b"message", algorithm=kem)

    def flipped(data: bytes, at: int = 0) -> bytes:
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    for altered in (
        evolve(sealed, kem_ciphertext=flipped(sealed.kem_ciphertext)),
        evolve(sealed, iv=flipped(sealed.iv)),
        evolve(sealed, iv=b""),
        evolve(sealed, aes_ciphertext=flipped(sealed.aes_ciphertext)),
        evolve(sealed, aes_ciphertext=sealed.aes_ciphertext[:-1]),
        evolve(sealed, aes_ciphertext=b""),
    ):
        with pytest.raises(DecryptionFailed) as caught:
            session.kem.decrypt_local(altered)
        assert str(caught.value) == "the input cannot be decrypted"


def test_key_states_hold(session: Session) -> None:
    """Sealing needs an active key, opening one that processes; names are separate."""
    with pytest.raises(NotFound):
        session.kem.encrypt_local(b"x")
    session.keys.generate("ML-KEM-768")
    sealed = session.kem.encrypt_local(b"x")
    session.keys.generate("ML-KEM-768", name="other")
    with pytest.raises(DecryptionFailed):
        session.kem.decrypt_local(sealed, name="other")
    session.keys.compromise("ML-KEM-768", 1)
    with pytest.raises(StateConflict):
        session.kem.decrypt_local(sealed)
    assert session.kem.decrypt_local(sealed, accept_compromised=True) == b"x"


def test_wrong_parameters_are_named(session: Session) -> None:
    """What is no plaintext, envelope or stored envelope is refused by name."""
    for parameter, attempt in (
        ("plaintext", lambda: session.kem.encrypt_local("text")),
        ("envelope", lambda: session.kem.decrypt_local(b"bytes")),
        ("data", lambda: EncryptedEnvelope.from_bytes(b"\x04\x40" + bytes(1000), 1)),
        ("data", lambda: EncryptedEnvelope.from_bytes(b"", 1)),
        ("data", lambda: EncryptedEnvelope.from_bytes("text", 1)),
    ):
        with pytest.raises(ValidationError) as caught:
            attempt()
        assert caught.value.parameter == parameter
