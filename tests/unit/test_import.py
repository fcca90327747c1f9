# SPDX-License-Identifier: Apache-2.0
"""Keys that come from elsewhere, and file keys that are wrapped for others."""

import io
from typing import Any

import pytest
from attrs import evolve

from qpher_core.algorithms import ALGORITHMS
from qpher_core.errors import DecryptionFailed, QpherError, ValidationError
from qpher_core.file_header import FileHeader
from qpher_core.importing import wrap_private_key
from qpher_core.models import KeyVersion
from qpher_core.service import Qpher
from qpher_core.session import Session

#: Those with a seed of random bytes alone; a composite's has an EC key in it.
PLAIN = ("ML-KEM-512", "ML-KEM-768", "ML-KEM-1024", "X-Wing", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87")


def bring(session: Session, algorithm: str, seed: bytes) -> KeyVersion:
    """Wrap a seed and import it."""
    wrapped = wrap_private_key(session.keys.import_parameters(), seed, algorithm=algorithm)
    return session.keys.import_key(algorithm, wrapped)


@pytest.mark.parametrize("algorithm", [*PLAIN, "MLDSA65-ECDSA-P256"])
def test_a_wrong_seed_is_not_wrapped(acme: Session, algorithm: str) -> None:
    """A seed of another length is refused by name before it is sent, and not shown."""
    seed = b"canary-" * 20
    with pytest.raises(ValidationError, match="private_key") as refusal:
        bring(acme, algorithm, seed[: ALGORITHMS[algorithm].seed_bytes - 1])
    assert "canary" not in str(refusal.value)
    assert acme.keys.list() == []


@pytest.mark.parametrize(
    "changed",
    [{"key_version": 0}, {"key_version": -1}, {"key_version": 2**32}, {"encapsulation_key": None}],
    ids=str,
)
def test_parameters_that_are_none_wrap_nothing(acme: Session, changed: dict[str, Any]) -> None:
    """What no service gave out, as a file or another object may hold it, is refused by name."""
    given = acme.keys.import_parameters()
    for wrong in (evolve(given, **changed), given.to_json(), None):
        with pytest.raises(ValidationError, match="parameters"):
            wrap_private_key(wrong, bytes(64), algorithm="ML-KEM-768")  # type: ignore[arg-type]


def test_plans_count_imported_keys(kms: Qpher) -> None:
    """What a plan allows of key versions includes imported ones, and rotation by import."""
    kms.tenants.create("small", plan="free")
    small = kms.session("small", actor="tester")
    bring(small, "ML-KEM-768", bytes(64))
    with pytest.raises(QpherError, match="rotation"):
        bring(small, "ML-KEM-768", bytes(range(64)))


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
    assert len(acme.kem.unwrap_file_key(FileHeader.read(file).recipients, 1).symmetric_key) == 32
