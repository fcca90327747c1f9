# SPDX-License-Identifier: Apache-2.0
"""ML-DSA against two implementations by others: pyca/cryptography and pqcrypto."""

from __future__ import annotations

import importlib
import random
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import mldsa

from qpher_native import MLDSA
from tests.native.mldsa_paths import every_path  # noqa: F401 (a fixture)

NUMBERS = (44, 65, 87)
CASES = 20


def accepts(key: Any, signature: bytes, message: bytes, context: bytes) -> bool:
    """Whether pyca takes the signature."""
    try:
        key.verify(signature, message, context)
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize("number", NUMBERS)
def test_against_pyca(number: int) -> None:
    """Keys are equal, each verifies the other's signatures, and both refuse changed ones."""
    rng = random.Random(number)
    private = getattr(mldsa, f"MLDSA{number}PrivateKey")
    for _ in range(CASES):
        seed, message = rng.randbytes(32), rng.randbytes(rng.randrange(400))
        context = rng.randbytes(rng.choice((0, 1, 255)))
        peer = private.from_seed_bytes(seed)
        public = peer.public_key()
        with MLDSA(f"ML-DSA-{number}").from_seed(seed) as sk:
            pk = sk.public_key
            assert bytes(pk) == public.public_bytes_raw()
            ours, theirs = sk.sign(message, context=context), peer.sign(message, context)
            assert pk.verify(message, theirs, context=context)
            assert accepts(public, ours, message, context)
            changed = bytearray(ours)
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            assert pk.verify(message, changed, context=context) is False
            assert accepts(public, bytes(changed), message, context) is False


@pytest.mark.parametrize("number", NUMBERS)
def test_against_pqcrypto(number: int) -> None:
    """Each verifies the other's signatures, and refuses them for another message."""
    peer = importlib.import_module(f"pqcrypto.sign.ml_dsa_{number}")
    public, secret = peer.keygen()
    dsa = MLDSA(f"ML-DSA-{number}")
    ours = dsa.load_public_key(bytes(public))
    assert ours.verify(
        b"message", bytes(peer.SecretKey(secret).sign(b"message", context=b"c")), context=b"c"
    )
    with dsa.generate() as sk:
        theirs = peer.PublicKey(bytes(sk.public_key))
        theirs.verify(b"message", sk.sign(b"message", context=b"c"), context=b"c")
        with pytest.raises(Exception, match="verification failed"):
            theirs.verify(b"massage", sk.sign(b"message"))
