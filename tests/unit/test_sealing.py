# SPDX-License-Identifier: Apache-2.0
"""Sealed seeds: they open at their own address only, and leave by no other way."""

import copy
import pickle
import uuid
from collections.abc import Callable

import pytest
from attrs import evolve

from qpher_core.discovery import open_primitives, open_protector
from qpher_core.errors import IntegrityError, ProtectorUnavailable, StateConflict
from qpher_core.keystore import SealedKeyStore
from qpher_core.lifecycle import KeyState
from qpher_core.models import KeyRecord, KeyVersion
from qpher_core.protocols import KeyProtector
from qpher_core.sealing import Sealer, Seed
from tests.records import NOW, new_record

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
    sealed = sealer.seal(record.key, Seed(SEED, "ML-KEM-768", b""))
    return evolve(record, kek_id=sealed.kek_id, sealed=sealed.sealed)


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
    assert sealer.seal(key, seed).sealed[1:] != sealer.seal(key, seed).sealed[1:]


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
def test_a_seed_cannot_be_taken_along(leave: Callable[[object], object], sealer: Sealer) -> None:
    """A seed shows nothing of itself and can be neither pickled nor copied."""
    seed = Seed(SEED, "ML-KEM-768", b"")
    assert "canary" not in repr(seed) + str(seed)
    with pytest.raises(TypeError, match="cannot be pickled"):
        leave(seed)
    assert repr(sealer) == "<Sealer>"


@pytest.mark.parametrize("leave", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_protector_cannot_be_taken_along(
    leave: Callable[[object], object], protector: KeyProtector
) -> None:
    """Key encryption keys can be neither pickled nor copied."""
    with pytest.raises(TypeError, match="cannot be pickled"):
        leave(protector)


def test_tenants_have_keys_of_their_own(protector: KeyProtector) -> None:
    """Different information derives different keys; the id of a KEK is none of them."""
    one, two = protector.derive(protector.kek_id, b"1"), protector.derive(protector.kek_id, b"2")
    assert len(one) == len(two) == 32
    assert one != two
    assert protector.derive(protector.kek_id, b"1") == one
    assert protector.kek_id not in {one.hex()[:16], two.hex()[:16]}


def test_a_closed_protector_has_nothing(protector: KeyProtector) -> None:
    """A closed protector derives no more, and may be closed again."""
    protector.close()
    protector.close()
    with pytest.raises(ProtectorUnavailable):
        protector.derive(protector.kek_id, b"1")


class OneRecord:
    """The records of a key store that holds one."""

    def __init__(self, record: KeyRecord) -> None:
        self.record: KeyRecord | None = record

    def get(self, _ref: object) -> KeyRecord | None:
        """Return the one record."""
        return self.record


def stored_key(protector: KeyProtector) -> tuple[SealedKeyStore, OneRecord, KeyVersion]:
    """Return a key store that holds one real ML-KEM-768 key."""
    sealer, kem = Sealer(protector), open_primitives("openssl").kems["ML-KEM-768"]
    value = kem.generate_seed()
    record = new_record(uuid.uuid4())
    key = evolve(record.key, public_key=kem.open_seed(value).encapsulation_key)
    sealed = sealer.seal(key, Seed(value, "ML-KEM-768", key.public_key))
    records = OneRecord(KeyRecord(key, sealed.kek_id, sealed.sealed))
    store = SealedKeyStore(records, protector, open_primitives("openssl"))  # type: ignore[arg-type]
    return store, records, key


def test_a_swapped_public_key_is_noticed(protector: KeyProtector) -> None:
    """A private key does not open beside a public key that is not its own."""
    store, records, key = stored_key(protector)
    assert store.open_decapsulation(key)
    assert records.record is not None
    forged = evolve(key, public_key=bytes(1184), revision=2)
    records.record = evolve(records.record, key=forged)
    for use in (store.open_decapsulation, store.open_encapsulation):
        with pytest.raises(IntegrityError, match="public key"):
            use(forged)


def test_a_destroyed_key_does_not_open(protector: KeyProtector) -> None:
    """Without a sealed seed there is no private key to open."""
    store, records, key = stored_key(protector)
    assert records.record is not None
    gone = evolve(key, state=KeyState.DESTROYED, revision=2, changed_at=NOW)
    records.record = KeyRecord(gone, records.record.kek_id, None)
    with pytest.raises(StateConflict, match="no private part"):
        store.open_decapsulation(gone)


@pytest.mark.parametrize("leave", [pickle.dumps, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("name", ["ML-KEM-768", "X-Wing", "ML-DSA-44", "MLDSA65-ECDSA-P256"])
def test_opened_keys_cannot_be_taken_along(leave: Callable[[object], object], name: str) -> None:
    """Opened private keys of every construction refuse pickling and copying, and show nothing."""
    primitives = open_primitives(None)
    scheme = primitives.kems.get(name) or primitives.signatures[name]
    seed = scheme.generate_seed()
    opened = scheme.open_seed(seed)
    assert seed.hex() not in repr(opened)
    with pytest.raises(TypeError):
        leave(opened)
