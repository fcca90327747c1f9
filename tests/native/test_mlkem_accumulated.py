# SPDX-License-Identifier: Apache-2.0
"""ML-KEM against digests that stand for ten thousand cases each (C2SP CCTV, accumulated)."""

import hashlib

import pytest

from qpher_native import MLKEM

CASES = 10_000
#: SHAKE128 over ek, ct, K and the K of a random ciphertext, of all cases.
DIGESTS = {
    "ML-KEM-512": "845913ea5a308b803c764a9ed8e9d814ca1fd9c82ba43c7b1e64b79c7a6ec8e4",
    "ML-KEM-768": "f7db260e1137a742e05fe0db9525012812b004d29040a5b606aad3d134b548d3",
    "ML-KEM-1024": "47ac888fe61544efc0518f46094b4f8a600965fc89822acb06dc7169d24f3543",
}


@pytest.mark.parametrize("name", DIGESTS)
def test_ten_thousand_cases_give_the_published_digest(name: str) -> None:
    """Keys, ciphertexts, secrets and rejections of 10,000 cases are all as published."""
    kem = MLKEM(name)
    size = 96 + kem.ciphertext_bytes
    stream = hashlib.shake_128(b"").digest(CASES * size)
    total = hashlib.shake_128()
    for start in range(0, len(stream), size):
        case = stream[start : start + size]
        with kem.from_seed(case[:64]) as dk:
            ek = dk.encapsulation_key
            ciphertext, secret = ek.encapsulate(case[64:96])
            assert dk.decapsulate(ciphertext) == secret
            for part in (bytes(ek), ciphertext, secret, dk.decapsulate(case[96:])):
                total.update(part)
    assert total.hexdigest(32) == DIGESTS[name]
