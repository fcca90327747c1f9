# SPDX-License-Identifier: Apache-2.0
"""HPKE against the vectors of draft-ietf-hpke-pq, and with another implementation both ways."""

import hashlib
import hmac
import json
import os
import uuid
from importlib.resources import files
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import mlkem
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from qpher_core import hpke
from qpher_core.algorithms import ALGORITHMS
from qpher_core.discovery import open_primitives
from qpher_core.errors import DecryptionFailed
from qpher_core.messages import Binding, Kind, decrypt, encrypt
from qpher_core.models import KeyRef
from qpher_core.protocols import KemScheme
from qpher_core.session import Session

NAMES = {row.hpke_kem_id: row.name for row in ALGORITHMS.values() if row.hpke_kem_id}
HKDF_SHA256, AES_256_GCM = 1, 2


def vectors() -> list[dict[str, Any]]:
    """Return the vectors of KEMs that we have, in base mode."""
    path = files("cryptography_vectors") / "HPKE" / "hpke-pq-test-vectors.json"
    return [v for v in json.loads(path.read_text()) if v["kem_id"] in NAMES and v["mode"] == 0]


def raw(vector: dict[str, Any], name: str) -> bytes:
    """Return a field of a vector as bytes."""
    return bytes.fromhex(vector[name])


def schedule(vector: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> tuple[bytes, bytes]:
    """Run our key schedule for the vector's AEAD, whose key may be shorter than ours."""
    monkeypatch.setattr(hpke, "_AEAD_AES_256_GCM", vector["aead_id"])
    monkeypatch.setattr(hpke, "_KEY_BYTES", len(raw(vector, "key")))
    schedule = hpke.KeySchedule(vector["kem_id"], raw(vector, "info"))
    return schedule._derive(raw(vector, "shared_secret"))


@pytest.mark.parametrize(
    "vector",
    [v for v in vectors() if v["kdf_id"] == HKDF_SHA256],
    ids=lambda v: f"{v['kem_id']:#06x}-{v['aead_id']}",
)
def test_the_key_schedule(vector: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """From a KEM shared secret and info our schedule gives the vector's key and nonce."""
    expected = raw(vector, "key"), raw(vector, "base_nonce")
    assert schedule(vector, monkeypatch) == expected


@pytest.mark.parametrize("length", [0, 1, 32, 63, 64])
def test_its_hmac_is_hmac(length: int) -> None:
    """For keys of up to a block, and texts of up to some, it is HMAC-SHA256 as Python has it."""
    for key in (bytes(length), os.urandom(length)):
        for text in (b"", b"text", os.urandom(55), os.urandom(200)):
            assert hpke._hmac(hpke._pads(key), text) == hmac.digest(key, text, "sha256")


def test_its_hmac_takes_no_longer_key() -> None:
    """A key of more than a block, which HMAC would hash first, is refused."""
    with pytest.raises(OverflowError):
        hpke._pads(b"\x01" * 65)


def test_the_vectors_cover_our_kems() -> None:
    """The vectors with our KDF cover at least ML-KEM-512, ML-KEM-768 and X-Wing."""
    covered = {v["kem_id"] for v in vectors() if v["kdf_id"] == HKDF_SHA256}
    assert {0x0040, 0x0041, 0x647A} <= covered


@pytest.mark.parametrize("vector", vectors(), ids=lambda v: f"{v['kem_id']:#06x}-{v['kdf_id']}")
def test_the_kem_goes_in_unchanged(vector: dict[str, Any]) -> None:
    """Every provider decapsulates the vectors' ciphertexts to their shared secrets."""
    name = NAMES[vector["kem_id"]]
    for provider in ALGORITHMS[name].providers:
        check_kem(open_primitives(provider).kems[name], vector)


def check_kem(kem: KemScheme, vector: dict[str, Any]) -> None:
    """Check one provider's KEM against a vector."""
    opened = kem.open_seed(raw(vector, "skRm"))
    assert opened.encapsulation_key == raw(vector, "pkRm")
    assert opened.decapsulate(raw(vector, "enc")) == raw(vector, "shared_secret")


def test_sealing_round_trip() -> None:
    """What was sealed opens under the same KEM, secret and info, and under no other."""
    secret = bytes(range(32))
    sealed = hpke.seal(0x0041, secret, b"info", b"plaintext")
    assert len(sealed) == len(b"plaintext") + hpke.OVERHEAD
    assert hpke.open_sealed(0x0041, secret, b"info", sealed) == b"plaintext"
    for kem_id, key, info, data in (
        (0x0042, secret, b"info", sealed),
        (0x0041, bytes(32), b"info", sealed),
        (0x0041, secret, b"other", sealed),
        (0x0041, secret, b"info", sealed[:-1]),
        (0x0041, secret, b"info", sealed[:15]),
        (0x0041, secret, b"info", b""),
    ):
        with pytest.raises(DecryptionFailed):
            hpke.open_sealed(kem_id, key, info, data)


# --- interoperability: everything below knows docs/formats.md and nothing of our code ----------

SUITES = {
    "ML-KEM-768": (KEM.MLKEM768, 0x0041, 1088),
    "ML-KEM-1024": (KEM.MLKEM1024, 0x0042, 1568),
    "X-Wing": (KEM.MLKEM768_X25519, 0x647A, 1120),
}


def documented_info(
    kind: str, tenant: uuid.UUID, algorithm: str, version: int, context: dict[str, str]
) -> bytes:
    """Return HPKE info as the document describes it."""
    document = {
        "algorithm": algorithm,
        "context": context,
        "format": kind,
        "name": "default",
        "tenant": str(tenant),
        "version": version,
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def documented_header(kind: int, kem_id: int, version: int) -> bytes:
    """Return the header as the document describes it."""
    return b"QPH\x01" + bytes([kind]) + kem_id.to_bytes(2) + version.to_bytes(4)


def their_public_key(algorithm: str, data: bytes) -> Any:
    """Return another implementation's public key."""
    if algorithm == "ML-KEM-768":
        return mlkem.MLKEM768PublicKey.from_public_bytes(data)
    if algorithm == "ML-KEM-1024":
        return mlkem.MLKEM1024PublicKey.from_public_bytes(data)
    return MLKEM768X25519PublicKey(
        mlkem.MLKEM768PublicKey.from_public_bytes(data[:1184]),
        X25519PublicKey.from_public_bytes(data[1184:]),
    )


@pytest.mark.parametrize("algorithm", SUITES)
@pytest.mark.parametrize("context", [{}, {"table": "größe"}])
def test_others_encrypt_to_us(acme: Session, algorithm: str, context: dict[str, str]) -> None:
    """Whoever has a public key and the document encrypts without an account; we decrypt."""
    key = acme.keys.generate(algorithm)
    kem, kem_id, _ = SUITES[algorithm]
    info = documented_info("qpher-message/1", key.ref.tenant_id, algorithm, 1, context)
    theirs = Suite(kem, KDF.HKDF_SHA256, AEAD.AES_256_GCM).encrypt(
        b"from outside", their_public_key(algorithm, key.public_key), info
    )
    message = documented_header(1, kem_id, 1) + theirs
    opened = acme.kem.decrypt(message, 1, algorithm, context=context or None)
    assert opened.plaintext == b"from outside"


@pytest.mark.parametrize("algorithm", SUITES)
@pytest.mark.parametrize(
    ("kind", "kind_name"),
    [(Kind.MESSAGE, "qpher-message/1"), (Kind.WRAPPED_KEY, "qpher-wrapped-key/1")],
)
def test_others_decrypt_from_us(algorithm: str, kind: Kind, kind_name: str) -> None:
    """Whoever has the private key and the document decrypts what we encrypt."""
    tenant = uuid.uuid4()
    provider = open_primitives(None)
    seed = provider.kems[algorithm].generate_seed()
    public_key = provider.kems[algorithm].open_seed(seed).encapsulation_key
    binding = Binding(KeyRef(tenant, "default", algorithm, 7), kind, {"a": "b"})
    opened = provider.kems[algorithm].open_encapsulation_key(public_key)
    message = encrypt(opened, binding, b"to outside")

    kem, kem_id, enc = SUITES[algorithm]
    assert message[:11] == documented_header(int(kind), kem_id, 7)
    assert len(message) == 11 + enc + len(b"to outside") + 16
    if algorithm == "X-Wing":
        theirs: Any = MLKEM768X25519PrivateKey(*_expand_xwing(seed))
    elif algorithm == "ML-KEM-768":
        theirs = mlkem.MLKEM768PrivateKey.from_seed_bytes(seed)
    else:
        theirs = mlkem.MLKEM1024PrivateKey.from_seed_bytes(seed)
    info = documented_info(kind_name, tenant, algorithm, 7, {"a": "b"})
    suite = Suite(kem, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    assert suite.decrypt(message[11:], theirs, info) == b"to outside"


def _expand_xwing(seed: bytes) -> tuple[Any, Any]:
    expanded = hashlib.shake_256(seed).digest(96)
    return (
        mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64]),
        X25519PrivateKey.from_private_bytes(expanded[64:]),
    )


@pytest.mark.parametrize("size", [0, 10, 11, 11 + 1088, 11 + 1088 + 15])
def test_short_messages_fail_alike(size: int) -> None:
    """A message too short for its parts is refused before the key is used."""
    binding = Binding(KeyRef(uuid.uuid4(), "default", "ML-KEM-768", 1), Kind.MESSAGE, {})

    class Unused:
        """A key that must not be used."""

        def decapsulate(self, ciphertext: bytes) -> bytes:
            """Fail the test."""
            raise AssertionError(ciphertext)

    data = (binding.header + bytes(2000))[:size]
    with pytest.raises(DecryptionFailed):
        decrypt(Unused(), binding, data)  # type: ignore[arg-type]


def test_only_kems_bind_messages() -> None:
    """A message cannot be bound to a signature key."""
    binding = Binding(KeyRef(uuid.uuid4(), "default", "ML-DSA-65", 1), Kind.MESSAGE, {})
    with pytest.raises(TypeError, match="not a KEM"):
        _ = binding.kem_id
