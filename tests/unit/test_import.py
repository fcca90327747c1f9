# SPDX-License-Identifier: Apache-2.0
"""Keys that come from elsewhere, and file keys that are wrapped for others."""

import hashlib
import io
from typing import Any

import pytest

from qpher_core.algorithms import ALGORITHMS
from qpher_core.discovery import open_primitives
from qpher_core.errors import DecryptionFailed, QpherError, ValidationError
from qpher_core.files import read_recipients
from qpher_core.service import Qpher
from qpher_core.session import Session

#: Those with a seed of random bytes alone; a composite's has an EC key in it.
PLAIN = ("ML-KEM-512", "ML-KEM-768", "ML-KEM-1024", "X-Wing", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87")


def scheme(algorithm: str) -> Any:
    """Return the provider's scheme of an algorithm."""
    primitives = open_primitives(None)
    return {**primitives.kems, **primitives.signatures}[algorithm]


@pytest.mark.parametrize("algorithm", [*PLAIN, "MLDSA65-ECDSA-P256"])
def test_an_imported_key_is_the_same_key(acme: Session, algorithm: str) -> None:
    """The public key of an imported seed is that of the seed, and the version is active."""
    seed = scheme(algorithm).generate_seed()
    opened = scheme(algorithm).open_seed(seed)
    expected = getattr(opened, "encapsulation_key", None) or opened.public_key
    key = acme.keys.import_key(algorithm, seed)
    assert (key.public_key, key.version, key.status) == (expected, 1, "active")
    acme.keys.generate(algorithm)
    assert acme.keys.import_key(algorithm, seed).version == 3
    assert [k.status for k in acme.keys.list(algorithm)] == ["retired", "retired", "active"]


def test_an_imported_key_works(acme: Session) -> None:
    """It decrypts what was encrypted to it elsewhere."""
    seed = hashlib.sha512(b"seed").digest()
    key = acme.keys.import_key("ML-KEM-768", seed)
    ciphertext, secret = scheme("ML-KEM-768").open_encapsulation_key(key.public_key).encapsulate()
    assert acme.kem.decapsulate(ciphertext, 1).shared_secret == secret


@pytest.mark.parametrize("algorithm", [*PLAIN, "MLDSA65-ECDSA-P256"])
def test_a_wrong_seed_is_refused(acme: Session, algorithm: str) -> None:
    """A seed of another length is refused by name, recorded without it, and makes no key."""
    seed = b"canary-" * 20
    with pytest.raises(ValidationError, match="seed") as refusal:
        acme.keys.import_key(algorithm, seed[: ALGORITHMS[algorithm].seed_bytes - 1])
    assert "canary" not in str(refusal.value)
    assert acme.keys.list() == []
    assert not any(b"canary" in entry.body for entry in acme.audit.entries())


def test_plans_count_imported_keys(kms: Qpher) -> None:
    """What a plan allows of key versions includes imported ones, and rotation by import."""
    kms.tenants.create("small", plan="free")
    small = kms.session("small", actor="tester")
    small.keys.import_key("ML-KEM-768", bytes(64))
    with pytest.raises(QpherError, match="rotation"):
        small.keys.import_key("ML-KEM-768", bytes(range(64)))


def test_file_keys_are_wrapped_for_others(acme: Session) -> None:
    """A wrapped file key is a recipient of a file; wrapped keys of other kinds are not."""
    acme.keys.generate("ML-KEM-768")
    file_key = bytes(range(32))
    wrapped = acme.kem.wrap_file_key(file_key, context={"a": "b"})
    opened = acme.kem.unwrap_file_key([wrapped.wrapped_key], 1, context={"a": "b"})
    assert opened.symmetric_key == file_key
    plain = acme.kem.wrap(file_key)
    for recipients in ([], [plain.wrapped_key], [wrapped.wrapped_key]):
        with pytest.raises(DecryptionFailed):
            acme.kem.unwrap_file_key(recipients, 1)
    file = io.BytesIO()
    acme.kem.encrypt_file(io.BytesIO(b"x"), file)
    file.seek(0)
    assert len(acme.kem.unwrap_file_key(read_recipients(file), 1).symmetric_key) == 32
