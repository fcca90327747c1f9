# SPDX-License-Identifier: Apache-2.0
"""Public keys in PEM and JWK, read by others."""

import base64
import hashlib
import json

import pytest
from cryptography.hazmat.primitives import serialization

from qpher_core.algorithms import ALGORITHMS
from qpher_core.errors import ValidationError
from qpher_core.public_keys import (
    has_jwk,
    parse_jwk,
    parse_pem,
    parse_spki,
    to_jwk,
    to_pem,
    to_spki,
)
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
    """Each algorithm's key has a PEM, ML-DSA's a JWK with the thumbprint of its members."""
    row = ALGORITHMS[algorithm]
    public_key = bytes(row.public_key_bytes)
    der = to_spki(algorithm, public_key)
    assert der.endswith(b"\x00" + public_key)
    assert int.from_bytes(der[2:4], "big") == len(der) - 4 or der[1] < 0x80
    if not has_jwk(algorithm):
        with pytest.raises(ValidationError, match="JWK"):
            to_jwk(algorithm, public_key)
        return
    jwk = to_jwk(algorithm, public_key)
    assert base64.urlsafe_b64decode(jwk["pub"] + "=" * (-len(jwk["pub"]) % 4)) == public_key
    members = {name: jwk[name] for name in ("alg", "kty", "pub")}
    text = json.dumps(members, separators=(",", ":"), sort_keys=True)
    digest = hashlib.sha256(text.encode()).digest()
    assert jwk["kid"] == base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _pem(label: str, body: str) -> str:
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        _pem("PUBLIC KEY", ""),
        _pem("PUBLIC KEY", "!!"),
        _pem("PUBLIC KEY", "AAAA"),
        _pem("PRIVATE KEY", "AAAA"),
    ],
)
def test_other_text_is_no_public_key(text: str) -> None:
    """Anything but one PEM block with a known key is refused."""
    with pytest.raises(ValidationError):
        parse_pem(text)


def test_only_the_exact_encoding_is_read() -> None:
    """A SubjectPublicKeyInfo with anything altered, missing or added is refused."""
    der = to_spki("ML-DSA-44", bytes(1312))
    assert parse_spki(der) == ("ML-DSA-44", bytes(1312))
    spoiled = [der[:-1], der + b"\x00", b"\x00" + der, der[1:], b"", der[:22]]
    for place in range(22):
        altered = bytearray(der)
        altered[place] ^= 0x40
        spoiled.append(bytes(altered))
    for data in spoiled:
        with pytest.raises(ValidationError):
            parse_spki(data)


@pytest.mark.parametrize(
    "change",
    [
        {"kty": "OKP"},
        {"alg": "ML-KEM-768"},
        {"alg": "ML-DSA-65"},
        {"alg": 1},
        {"pub": ""},
        {"pub": "+" * 1750},
        {"pub": None},
        {"priv": "AAAA"},
    ],
)
def test_other_jwks_are_refused(change: dict[str, object]) -> None:
    """A JWK of another type or length is refused, and one with a private key always."""
    jwk: dict[str, object] = dict(to_jwk("ML-DSA-44", bytes(1312)))
    assert parse_jwk(jwk) == ("ML-DSA-44", bytes(1312))
    with pytest.raises(ValidationError):
        parse_jwk({**jwk, **change})
