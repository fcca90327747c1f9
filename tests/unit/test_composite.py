# SPDX-License-Identifier: Apache-2.0
"""Composite signatures against the vectors of their draft."""

import base64
import hashlib
from typing import Any

import pytest

from qpher_core.discovery import open_primitives
from qpher_core.protocols import SignatureScheme
from tests import vectors
from tests.contract.table import PROVIDERS

IDS = {
    "MLDSA65-ECDSA-P256": "id-MLDSA65-ECDSA-P256-SHA512",
    "MLDSA87-ECDSA-P384": "id-MLDSA87-ECDSA-P384-SHA512",
}
ML_DSA = {"MLDSA65-ECDSA-P256": 3309, "MLDSA87-ECDSA-P384": 4627}
CASES = [(p, a) for p in PROVIDERS for a in IDS if a in open_primitives(p).signatures]


@pytest.fixture(params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest) -> tuple[SignatureScheme, str]:
    """Return each composite of each provider."""
    provider, algorithm = request.param
    return open_primitives(provider).signatures[algorithm], algorithm


def vector_of(algorithm: str) -> tuple[dict[str, bytes], bytes, bytes]:
    """Return the draft's vector of an algorithm, its message and its context."""
    document: dict[str, Any] = vectors.load_json("composite/testvectors.json.gz")
    vector = next(t for t in document["tests"] if t["tcId"] == IDS[algorithm])
    fields = {k: base64.b64decode(v) for k, v in vector.items() if k != "tcId"}
    return fields, base64.b64decode(document["m"]), base64.b64decode(document["ctx"])


def test_draft_signatures_verify(case: tuple[SignatureScheme, str]) -> None:
    """The draft's signatures verify, with and without context, and not crosswise."""
    scheme, algorithm = case
    vector, message, context = vector_of(algorithm)
    key = scheme.open_public_key(vector["pk"])
    assert key.verify(message, vector["s"])
    assert key.verify(message, vector["sWithContext"], context=context)
    assert not key.verify(message, vector["s"], context=context)
    assert not key.verify(message, vector["sWithContext"])
    digest = hashlib.sha512(message).digest()
    assert key.verify_prehash(digest, "SHA-512", vector["s"])


def test_draft_keys_open(case: tuple[SignatureScheme, str]) -> None:
    """The draft's private keys open as seeds and belong to its public keys."""
    scheme, algorithm = case
    vector, message, context = vector_of(algorithm)
    key = scheme.open_seed(vector["sk"])
    assert key.public_key == vector["pk"]
    signature = key.sign(message, context=context)
    assert scheme.open_public_key(vector["pk"]).verify(message, signature, context=context)


def test_both_parts_are_needed(case: tuple[SignatureScheme, str]) -> None:
    """A signature with either part wrong, missing or from another message is invalid."""
    scheme, algorithm = case
    key = scheme.open_seed(scheme.generate_seed())
    public = scheme.open_public_key(key.public_key)
    one, two = key.sign(b"one"), key.sign(b"two")
    end = ML_DSA[algorithm]
    assert public.verify(b"one", one)
    for wrong in (one[:end] + two[end:], two[:end] + one[end:], one[:end], one[end:], b""):
        assert not public.verify(b"one", wrong)


def test_malformed_keys_are_refused(case: tuple[SignatureScheme, str]) -> None:
    """Compressed, off-curve and cut points, and seeds of another structure, are refused."""
    scheme, algorithm = case
    seed = scheme.generate_seed()
    public = scheme.open_seed(seed).public_key
    scalar = 32 if algorithm == "MLDSA65-ECDSA-P256" else 48
    point = len(public) - (1 + 2 * scalar)
    for wrong in (
        public[:-1],
        public + b"\x00",
        public[:point] + b"\x02" + public[point + 1 :],
        public[:-1] + bytes([public[-1] ^ 1]),
    ):
        with pytest.raises(ValueError, match=r"."):
            scheme.open_public_key(wrong)
    for wrong in (
        seed[:-1],
        seed[:32] + b"\x00" + seed[33:],
        seed[:-1] + b"\x00",
        seed[:39] + bytes(scalar) + seed[39 + scalar :],
    ):
        with pytest.raises(ValueError, match=r"."):
            scheme.open_seed(wrong)


def test_prehash_is_sha512(case: tuple[SignatureScheme, str]) -> None:
    """No other hash, digest length or long context is taken."""
    scheme, _ = case
    key = scheme.open_seed(scheme.generate_seed())
    for digest, name in ((bytes(32), "SHA-256"), (bytes(48), "SHA-512"), (bytes(64), "SHA-384")):
        with pytest.raises(ValueError, match="SHA-512"):
            key.sign_prehash(digest, name)
    with pytest.raises(ValueError, match="255"):
        key.sign(b"", context=bytes(256))
