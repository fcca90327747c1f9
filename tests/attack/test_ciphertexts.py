# SPDX-License-Identifier: Apache-2.0
"""Ciphertexts that are altered or used in another place: one answer for every cause."""

from collections.abc import Callable

import pytest

import qpher_core
from qpher_core import DecryptionFailed
from tests.attack.conftest import KEM

CONTEXT = {"table": "patients"}
HEADER, ENC = 11, 1088

Attempt = Callable[[qpher_core.Session, bytes], object]


def _message(session: qpher_core.Session) -> bytes:
    return session.kem.encrypt(b"a message", context=CONTEXT).ciphertext


ALTERATIONS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "header alone": lambda c: c[:HEADER],
    "cut by one": lambda c: c[:-1],
    "cut in the KEM ciphertext": lambda c: c[: HEADER + 100],
    "one more byte": lambda c: c + b"\x00",
    "magic": lambda c: b"X" + c[1:],
    "format": lambda c: c[:3] + b"\x02" + c[4:],
    "kind": lambda c: c[:4] + b"\x02" + c[5:],
    "KEM id": lambda c: c[:5] + b"\x00\x42" + c[7:],
    "version in the header": lambda c: c[:7] + b"\x00\x00\x00\x02" + c[HEADER:],
    "KEM ciphertext": lambda c: c[:HEADER] + bytes([c[HEADER] ^ 1]) + c[HEADER + 1 :],
    "sealed": lambda c: c[: HEADER + ENC] + bytes([c[HEADER + ENC] ^ 1]) + c[HEADER + ENC + 1 :],
    "tag": lambda c: c[:-1] + bytes([c[-1] ^ 1]),
}

PLACES: dict[str, Attempt] = {
    "without its context": lambda s, c: s.kem.decrypt(c, 1),
    "with another context": lambda s, c: s.kem.decrypt(c, 1, context={"table": "cards"}),
    "under another version": lambda s, c: s.kem.decrypt(c, 2, context=CONTEXT),
    "under another name": lambda s, c: s.kem.decrypt(c, 1, name="other", context=CONTEXT),
    "under another algorithm": lambda s, c: s.kem.decrypt(c, 1, "ML-KEM-1024", context=CONTEXT),
    "as a wrapped key": lambda s, c: s.kem.unwrap(c, 1, context=CONTEXT),
}


def _failure(attempt: Callable[[], object]) -> DecryptionFailed:
    with pytest.raises(DecryptionFailed) as caught:
        attempt()
    return caught.value


def _shown(error: DecryptionFailed) -> tuple[object, ...]:
    return type(error), str(error), error.code, error.parameter, error.__cause__


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_an_altered_ciphertext_says_only_that_it_cannot_be_decrypted(
    acme: qpher_core.Session, alteration: str
) -> None:
    """Every alteration gives the same error, in everything that a caller can see."""
    altered = ALTERATIONS[alteration](_message(acme))
    error = _failure(lambda: acme.kem.decrypt(altered, 1, context=CONTEXT))
    assert _shown(error) == _shown(DecryptionFailed())


@pytest.mark.parametrize("place", PLACES)
def test_a_ciphertext_opens_in_its_own_place_only(acme: qpher_core.Session, place: str) -> None:
    """Another context, version, name, algorithm or kind gives the same error as an alteration."""
    ciphertext = _message(acme)
    acme.keys.rotate(KEM)
    acme.keys.generate(KEM, name="other")
    acme.keys.generate("ML-KEM-1024")
    error = _failure(lambda: PLACES[place](acme, ciphertext))
    assert _shown(error) == _shown(DecryptionFailed())


def test_another_tenant_cannot_open_it(acme: qpher_core.Session, rival: qpher_core.Session) -> None:
    """A rival with a key of the same address gets the same error again."""
    error = _failure(lambda: rival.kem.decrypt(_message(acme), 1, context=CONTEXT))
    assert _shown(error) == _shown(DecryptionFailed())


def test_failures_are_recorded_without_their_cause(acme: qpher_core.Session) -> None:
    """The audit entry of a failed decryption does not tell the cause either."""
    reasons = set()
    for alter in ALTERATIONS.values():
        altered = alter(_message(acme))
        _failure(lambda altered=altered: acme.kem.decrypt(altered, 1, context=CONTEXT))
        fields = list(acme.audit.entries())[-1].fields
        reasons.add((fields["outcome"], fields["reason"], fields["content"]))
    assert reasons == {("failed", "ERR_KEM_005: the input cannot be decrypted", None)}
