# SPDX-License-Identifier: Apache-2.0
"""The format of field values: published vectors, and a decoder that knows the document alone."""

import hashlib
import hmac
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import mlkem
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from qpher_core import messages
from qpher_core.discovery import open_primitives
from qpher_core.errors import DecryptionFailed
from qpher_core.field_values import FieldValue, Secrets, seal
from qpher_core.models import KeyRef

FILE = Path(__file__).parents[2] / "docs" / "vectors" / "field_values.json"
DOCUMENT = json.loads(FILE.read_text(encoding="utf-8"))
VALUES: list[dict[str, Any]] = DOCUMENT["values"]
DETERMINISTIC = [value for value in VALUES if "secret" in value]
NAMES = [value["comment"] for value in VALUES]


def canonical(document: dict[str, Any]) -> bytes:
    """Return canonical JSON of text, numbers and objects."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def info(vector: dict[str, Any]) -> bytes:
    """Return the HPKE info of a field key."""
    return canonical(
        {
            "algorithm": DOCUMENT["algorithm"],
            "context": vector["context"],
            "format": "qpher-field-key/1",
            "name": DOCUMENT["name"],
            "tenant": DOCUMENT["tenant"],
            "version": DOCUMENT["version"],
        }
    )


def given(vector: dict[str, Any]) -> str | bytes:
    """Return the value of a vector."""
    return vector["text"] if "text" in vector else bytes.fromhex(vector["bytes"])


def typed(value: str | bytes) -> bytes:
    """Return a value with its type."""
    return b"\x01" + value.encode() if isinstance(value, str) else b"\x00" + value


@pytest.mark.parametrize("vector", VALUES, ids=NAMES)
def test_the_document_suffices_to_read_a_value(vector: dict[str, Any]) -> None:
    """With the private key, another HPKE and the document, every value opens."""
    data = bytes.fromhex(vector["stored"])
    assert data[:11] == b"QPH\x01\x05\x00\x41" + DOCUMENT["version"].to_bytes(4)
    message = 11 + 1088 + 32 + 16
    private_key = mlkem.MLKEM768PrivateKey.from_seed_bytes(bytes.fromhex(DOCUMENT["seed"]))
    suite = Suite(KEM.MLKEM768, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    field_key = suite.decrypt(data[11:message], private_key, info(vector))
    salt = data[message : message + 16]
    value_key = HKDFExpand(SHA256(), 32, b"qpher-field-value/1" + salt).derive(field_key)
    aad = canonical({"format": "qpher-field-value/1", "row": vector["row"]})
    opened = AESGCM(value_key).decrypt(bytes(12), data[message + 16 :], aad)
    assert opened == typed(given(vector))


@pytest.mark.parametrize("vector", VALUES, ids=NAMES)
def test_we_read_the_vectors(vector: dict[str, Any]) -> None:
    """Our own code opens the same values, and in no other row."""
    parts = FieldValue.from_bytes(bytes.fromhex(vector["stored"]))
    kem = open_primitives(None).kems["ML-KEM-768"]
    opened = kem.open_seed(bytes.fromhex(DOCUMENT["seed"]))
    field_key = messages.decrypt(opened, binding(vector), parts.wrapped_key)
    assert parts.open(field_key, vector["row"]) == given(vector)
    with pytest.raises(DecryptionFailed):
        parts.open(field_key, {**vector["row"], "other": ""})


def binding(vector: dict[str, Any]) -> messages.Binding:
    """Return what the field key of a vector is bound to."""
    ref = KeyRef(uuid.UUID(DOCUMENT["tenant"]), DOCUMENT["name"], "ML-KEM-768", DOCUMENT["version"])
    return messages.Binding(ref, messages.Kind.FIELD_KEY, vector["context"])


@pytest.mark.parametrize("vector", DETERMINISTIC, ids=lambda vector: vector["comment"])
def test_deterministic_values_are_made_again(vector: dict[str, Any]) -> None:
    """From the secret the document gives field key and encapsulation, and we the same bytes."""
    secret, value = bytes.fromhex(vector["secret"]), given(vector)
    scope = {"context": vector["context"], "name": DOCUMENT["name"], "row": vector["row"],
             "tenant": DOCUMENT["tenant"]}  # fmt: skip
    secrets = Secrets.of(secret)
    field_key = secrets.field_key(scope, value)
    kem = open_primitives(None).kems["ML-KEM-768"]
    public_key = kem.open_seed(bytes.fromhex(DOCUMENT["seed"])).encapsulation_key
    opened = kem.open_encapsulation_key(public_key)
    wrapped = messages.encrypt(opened, binding(vector), field_key, salt=secrets.keys)
    made = seal(wrapped, field_key, value, vector["row"], deterministic=True)
    assert made.hex() == vector["stored"]

    def part(name: str) -> bytes:
        return hmac.digest(secret, f"qpher-field-deterministic/1 {name}".encode(), "sha256")

    bound = canonical({"format": "qpher-field-deterministic/1", **scope})
    documented = hmac.new(part("values"), bound + b"\x00" + typed(value), hashlib.sha256).digest()
    assert field_key == documented
    randomness = HKDF(SHA256(), 32, part("keys"), b"qpher-deterministic/1\x00" + info(vector))
    enc, _ = opened.encapsulate(randomness=randomness.derive(field_key))
    assert wrapped[11 : 11 + 1088] == enc
