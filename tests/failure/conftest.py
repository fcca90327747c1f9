# SPDX-License-Identifier: Apache-2.0
"""A store with keys, the operations that are tried on it, and what it holds afterwards."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

import qpher_core
from qpher_core import KeyVersion, Session

#: Operations that release something or change something, on the keys of ``url``.
OPERATIONS: Mapping[str, Callable[[Session], object]] = MappingProxyType(
    {
        "generate": lambda s: s.keys.generate("ML-KEM-768", name="new"),
        "rotate": lambda s: s.keys.rotate("ML-KEM-768"),
        "suspend": lambda s: s.keys.suspend("ML-KEM-768", 1),
        "retire": lambda s: s.keys.retire("ML-KEM-768", 1),
        "compromise": lambda s: s.keys.compromise("ML-KEM-768", 1),
        "encrypt": lambda s: s.kem.encrypt(b"m"),
        "encapsulate": lambda s: s.kem.encapsulate(),
        "wrap": lambda s: s.kem.wrap(bytes(32)),
        "sign": lambda s: s.signatures.sign(b"m"),
        "sign_hash": lambda s: s.signatures.sign_hash(bytes(32), "SHA-256"),
    }
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Make a store with one tenant and two keys, and return its URL."""
    made = f"sqlite:///{tmp_path}/q.db"
    with qpher_core.open(made) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="test")
        session.keys.generate("ML-KEM-768")
        session.keys.generate("ML-DSA-65")
    return made


@pytest.fixture(params=OPERATIONS)
def operation(request: pytest.FixtureRequest) -> Callable[[Session], object]:
    """Return each operation."""
    return OPERATIONS[request.param]


def keys_of(url: str) -> Sequence[KeyVersion]:
    """Return the key versions that a store holds."""
    with qpher_core.open(url) as kms:
        return list(kms.session("acme", actor="test").keys.list())


def last_entry(url: str) -> dict[str, Any]:
    """Return the fields of the last audit entry, having verified the chain."""
    with qpher_core.open(url) as kms:
        assert kms.audit.verify("acme").ok
        return [*kms.session("acme", actor="test").audit.entries()][-1].fields
