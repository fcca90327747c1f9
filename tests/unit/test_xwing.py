# SPDX-License-Identifier: Apache-2.0
"""X-Wing against the vectors of its draft."""

import pytest

from qpher_core.discovery import open_primitives
from qpher_core.errors import AlgorithmUnavailable, DecryptionFailed
from tests import vectors
from tests.contract.table import PROVIDERS

CASES = [(p, n) for p in PROVIDERS if "X-Wing" in open_primitives(p).kems for n in range(3)]


@pytest.mark.parametrize(("provider", "number"), CASES)
def test_draft_vectors(provider: str, number: int) -> None:
    """Seeds give the draft's public keys, and ciphertexts its shared secrets."""
    vector = vectors.load_json("xwing/test-vectors.json.gz")[number]
    kem = open_primitives(provider).kems["X-Wing"]
    opened = kem.open_seed(bytes.fromhex(vector["sk"]))
    assert opened.encapsulation_key.hex() == vector["pk"]
    assert opened.decapsulate(bytes.fromhex(vector["ct"])).hex() == vector["ss"]


@pytest.mark.parametrize(("provider", "number"), CASES)
def test_draft_encapsulation(provider: str, number: int) -> None:
    """With the draft's randomness its ciphertext and secret come out, where that can be given."""
    vector = vectors.load_json("xwing/test-vectors.json.gz")[number]
    kem = open_primitives(provider).kems["X-Wing"]
    public = kem.open_encapsulation_key(bytes.fromhex(vector["pk"]))
    randomness = bytes.fromhex(vector["eseed"])
    if not PROVIDERS[provider].deterministic:
        with pytest.raises(AlgorithmUnavailable):
            public.encapsulate(randomness=randomness)
        return
    ciphertext, secret = public.encapsulate(randomness=randomness)
    assert (ciphertext.hex(), secret.hex()) == (vector["ct"], vector["ss"])


def test_points_of_small_order_fail() -> None:
    """Neither a ciphertext nor a public key with an all-zero X25519 result gives a secret."""
    kem = open_primitives(None).kems["X-Wing"]
    opened = kem.open_seed(kem.generate_seed())
    public = kem.open_encapsulation_key(opened.encapsulation_key)
    ciphertext, _ = public.encapsulate()
    with pytest.raises(DecryptionFailed):
        opened.decapsulate(ciphertext[:-32] + bytes(32))
    with pytest.raises(DecryptionFailed):
        kem.open_encapsulation_key(opened.encapsulation_key[:-32] + bytes(32)).encapsulate()


def test_lengths_are_checked() -> None:
    """Randomness and ciphertexts of another length are refused."""
    kem = open_primitives(None).kems["X-Wing"]
    opened = kem.open_seed(kem.generate_seed())
    for size in (0, 1088, 1119, 1121):
        with pytest.raises(ValueError, match="1120"):
            opened.decapsulate(bytes(size))
    with pytest.raises(ValueError, match="64"):
        kem.open_encapsulation_key(opened.encapsulation_key).encapsulate(randomness=bytes(32))
