# SPDX-License-Identifier: Apache-2.0
"""Sealed seeds: they open at their own address only, and leave by no other way."""

import copy
import pickle
import re
import uuid
from collections.abc import Callable

import pytest
from attrs import evolve

from qpher_core.algorithms import ALGORITHMS
from qpher_core.discovery import open_primitives, open_protector
from qpher_core.errors import IntegrityError, ProtectorUnavailable
from qpher_core.models import KeyRecord
from qpher_core.protocols import KeyProtector
from qpher_core.sealing import Sealer, Seed
from tests.records import new_record

SEED = b"canary-seed-canary-seed-canary-1"


@pytest.fixture
def protector() -> KeyProtector:
    """Return a protector with one KEK."""
    return open_protector("memory:", create=True)


@pytest.fixture
def sealer(protector: KeyProtector) -> Sealer:
    """Return a sealer under one KEK."""
    return Sealer(protector)


def sealed_record(sealer: Sealer) -> KeyRecord:
    """Return a record that holds the canary seed."""
    record = new_record(uuid.uuid4(), 3)
    return sealer.seal(record.key, Seed(SEED, "ML-KEM-768", b""), sealer._protector.kek_id)


def test_a_seed_comes_back(sealer: Sealer) -> None:
    """A sealed seed opens at its address, and its sealed form does not contain it."""
    record = sealed_record(sealer)
    assert sealer.open(record, lambda seed: seed) == SEED
    assert record.sealed is not None
    assert SEED not in record.sealed
    assert len(record.sealed) == 1 + 12 + len(SEED) + 16


def test_sealing_twice_differs(sealer: Sealer) -> None:
    """The same seed sealed twice looks unrelated."""
    key = new_record(uuid.uuid4()).key
    seed = Seed(SEED, "ML-KEM-768", b"")
    one, two = (sealer.seal(key, seed, sealer._protector.kek_id).sealed for _ in range(2))
    assert one is not None
    assert two is not None
    assert one[1:] != two[1:]


@pytest.mark.parametrize(
    "changes",
    [{"tenant_id": uuid.uuid4()}, {"name": "other"}, {"algorithm": "X-Wing"}, {"version": 4}],
    ids=["tenant", "name", "algorithm", "version"],
)
def test_a_moved_record_does_not_open(sealer: Sealer, changes: dict[str, object]) -> None:
    """A record moved to another tenant, name, algorithm or version does not open."""
    record = sealed_record(sealer)
    key = evolve(record.key, ref=evolve(record.key.ref, **changes))
    with pytest.raises(IntegrityError, match="does not authenticate"):
        sealer.open(evolve(record, key=key), lambda seed: seed)


def test_a_record_of_another_kek_does_not_open(sealer: Sealer) -> None:
    """A record that names another KEK is unavailable without it, and wrong with it."""
    record = sealed_record(sealer)
    other = open_protector("memory:", create=True)
    with pytest.raises(ProtectorUnavailable, match=record.kek_id):
        Sealer(other).open(record, lambda seed: seed)
    with pytest.raises(IntegrityError):
        Sealer(other).open(evolve(record, kek_id=other.kek_id), lambda seed: seed)


def test_a_tampered_record_does_not_open(sealer: Sealer) -> None:
    """A flipped bit anywhere, a cut, an extension or an unknown format is an integrity error."""
    record = sealed_record(sealer)
    sealed = record.sealed
    assert sealed is not None
    wrong: list[bytes | None] = [None, b"", sealed[:1], sealed[:12], sealed[:-1], sealed + b"\x00"]
    for place in range(len(sealed)):
        altered = bytearray(sealed)
        altered[place] ^= 1
        wrong.append(bytes(altered))
    for data in wrong:
        with pytest.raises(IntegrityError) as caught:
            sealer.open(evolve(record, sealed=data), lambda seed: seed)
        assert caught.value.__cause__ is None
        assert "canary" not in str(caught.value)


@pytest.mark.parametrize("leave", [pickle.dumps, copy.copy, copy.deepcopy])
@pytest.mark.parametrize(
    ("name", "provider"),
    [(row.name, provider) for row in ALGORITHMS.values() for provider in row.providers],
)
def test_opened_keys_cannot_be_taken_along(
    leave: Callable[[object], object], name: str, provider: str
) -> None:
    """Opened private keys of every provider refuse pickling and copying, and show nothing."""
    primitives = open_primitives(provider)
    scheme = primitives.kems.get(name) or primitives.signatures[name]
    seed = scheme.generate_seed()
    opened = scheme.open_seed(seed)
    assert re.fullmatch(r"<\w+>", repr(opened))
    with pytest.raises(TypeError):
        leave(opened)
    opened.close()
