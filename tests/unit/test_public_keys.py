# SPDX-License-Identifier: Apache-2.0
"""Public keys in PEM and JWK, read by others."""

import base64
import hashlib
import json

import pytest
from cryptography.hazmat.primitives import serialization

from qpher_core.algorithms import ALGORITHMS
from qpher_core.public_keys import to_jwk, to_pem, to_spki
from qpher_core.session import Session


@pytest.mark.parametrize("algorithm", ["ML-KEM-768", "ML-KEM-1024", "ML-DSA-44", "ML-DSA-87"])
def test_openssl_reads_the_pem(acme: Session, algorithm: str) -> None:
    """OpenSSL loads the PEM and gives the same key back in the same form."""
    key = acme.keys.generate(algorithm)
    loaded = serialization.load_pem_public_key(to_pem(algorithm, key.public_key).encode())
    assert loaded.public_bytes_raw() == key.public_key  # type: ignore[union-attr]
    der = loaded.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert der == to_spki(algorithm, key.public_key)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_has_a_form(algorithm: str) -> None:
    """Each algorithm's key has a PEM, and a JWK whose id is the thumbprint of its members."""
    row = ALGORITHMS[algorithm]
    public_key = bytes(row.public_key_bytes)
    der = to_spki(algorithm, public_key)
    assert der.endswith(b"\x00" + public_key)
    assert int.from_bytes(der[2:4], "big") == len(der) - 4 or der[1] < 0x80
    jwk = to_jwk(algorithm, public_key)
    assert base64.urlsafe_b64decode(jwk["pub"] + "=" * (-len(jwk["pub"]) % 4)) == public_key
    members = {name: jwk[name] for name in ("alg", "kty", "pub")}
    text = json.dumps(members, separators=(",", ":"), sort_keys=True)
    digest = hashlib.sha256(text.encode()).digest()
    assert jwk["kid"] == base64.urlsafe_b64encode(digest).decode().rstrip("=")
