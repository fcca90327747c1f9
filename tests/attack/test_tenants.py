# SPDX-License-Identifier: Apache-2.0
"""Another tenant's things look exactly like things that do not exist."""

import random
import uuid
from collections.abc import Callable

import pytest

import qpher_core
from qpher_core.models import KeyRef, Receipt
from tests.attack.conftest import KEM, SIGNATURE

#: Every method that addresses a key, given its algorithm, version and name.
METHODS: dict[str, Callable[[qpher_core.Session, str, int, str], object]] = {
    "get": lambda s, a, v, n: s.keys.get(a, v, name=n),
    "active": lambda s, a, _, n: s.keys.active(a, name=n),
    "rotate": lambda s, a, _, n: s.keys.rotate(a, name=n),
    "suspend": lambda s, a, v, n: s.keys.suspend(a, v, name=n),
    "resume": lambda s, a, v, n: s.keys.resume(a, v, name=n),
    "retire": lambda s, a, v, n: s.keys.retire(a, v, name=n),
    "archive": lambda s, a, v, n: s.keys.archive(a, v, name=n),
    "restore": lambda s, a, v, n: s.keys.restore(a, v, name=n),
    "compromise": lambda s, a, v, n: s.keys.compromise(a, v, name=n),
    "destroy": lambda s, a, v, n: s.keys.destroy(a, v, name=n),
    "encrypt": lambda s, _, v, n: s.kem.encrypt(b"m", v, name=n),
    "decrypt": lambda s, _, v, n: s.kem.decrypt(bytes(1200), v, name=n),
    "encapsulate": lambda s, _, v, n: s.kem.encapsulate(v, name=n),
    "decapsulate": lambda s, _, v, n: s.kem.decapsulate(bytes(1088), v, name=n),
    "wrap": lambda s, _, v, n: s.kem.wrap(bytes(32), v, name=n),
    "unwrap": lambda s, _, v, n: s.kem.unwrap(bytes(1200), v, name=n),
    "sign": lambda s, _, v, n: s.signatures.sign(b"m", v, name=n),
    "verify": lambda s, _, v, n: s.signatures.verify(b"m", bytes(3309), v, name=n),
    "sign_hash": lambda s, _, v, n: s.signatures.sign_hash(bytes(32), "SHA-256", v, name=n),
    "verify_hash": lambda s, _, v, n: s.signatures.verify_hash(
        bytes(32), "SHA-256", bytes(3309), v, name=n
    ),
}


def _outcome(attempt: Callable[[], object]) -> tuple[object, ...]:
    with pytest.raises(qpher_core.QpherError) as caught:
        attempt()
    error = caught.value
    return type(error), error.code, str(error).replace("private", "absent!")


@pytest.mark.parametrize("method", METHODS)
def test_a_foreign_key_looks_like_a_missing_one(
    acme: qpher_core.Session, rival: qpher_core.Session, method: str
) -> None:
    """A name that only the other tenant has gives what a name that nobody has gives."""
    for algorithm in (KEM, SIGNATURE):
        acme.keys.generate(algorithm, name="private")
        foreign = _outcome(lambda a=algorithm: METHODS[method](rival, a, 1, "private"))
        missing = _outcome(lambda a=algorithm: METHODS[method](rival, a, 1, "absent!"))
        assert foreign == missing
        assert foreign[0] is qpher_core.NotFound


def test_random_attempts_change_nothing_of_the_other(
    kms: qpher_core.Qpher, acme: qpher_core.Session, rival: qpher_core.Session
) -> None:
    """Whatever a rival calls with the other's identifiers, the other's keys and log stay."""
    choose = random.Random(7)
    for _ in range(3):
        acme.keys.rotate(KEM)
    before, size = list(acme.keys.list()), len(list(acme.audit.entries()))
    for _ in range(300):
        method = METHODS[choose.choice(list(METHODS))]
        algorithm, version = choose.choice((KEM, SIGNATURE)), choose.randint(1, 5)
        try:
            method(rival, algorithm, version, "default")
        except qpher_core.QpherError:
            continue
    assert list(acme.keys.list()) == before
    assert len(list(acme.audit.entries())) == size
    assert all(k.ref.tenant_id == kms.tenants.get("rival").id for k in rival.keys.list())
    assert kms.audit.verify("acme").ok
    assert kms.audit.verify("rival").ok


def test_signatures_do_not_pass_between_tenants(
    acme: qpher_core.Session, rival: qpher_core.Session
) -> None:
    """What one tenant signed is not valid for the other."""
    signed = acme.signatures.sign(b"m")
    assert not rival.signatures.verify(b"m", signed.signature, 1).valid


def test_a_foreign_receipt_opens_nothing(
    acme: qpher_core.Session, rival: qpher_core.Session
) -> None:
    """A rival with the other's receipt does not get its entry."""
    receipt = acme.signatures.sign(b"m").receipt
    with pytest.raises(qpher_core.IntegrityError):
        rival.audit.entry(receipt)
    assert all(entry.tenant_id != receipt.tenant_id for entry in rival.audit.entries())


def test_every_read_of_the_store_is_scoped(kms: qpher_core.Qpher, acme: qpher_core.Session) -> None:
    """Under a third tenant's id the store has nothing at all."""
    store, stranger = kms._store, uuid.uuid4()
    key = acme.keys.get(KEM, 1)
    assert store.keys.get(KeyRef(stranger, key.name, key.algorithm, key.version)) is None
    assert store.keys.active(stranger, key.name, key.algorithm) is None
    assert list(store.keys.find(stranger)) == []
    assert store.audit.head(stranger) == (0, bytes(32))
    assert list(store.audit.read(stranger)) == []
    assert store.policies.get(stranger) is None
    assert store.tenants.get(stranger) is None
    assert not kms.audit.has(Receipt(stranger, 0, bytes(32)))


def test_a_suspended_tenant_can_do_nothing(kms: qpher_core.Qpher, acme: qpher_core.Session) -> None:
    """Suspending takes effect on the next operation of a session that is open."""
    kms.tenants.suspend("acme")
    with pytest.raises(qpher_core.AuthenticationError):
        acme.kem.encrypt(b"m")
    kms.tenants.resume("acme")
    assert acme.kem.encrypt(b"m").ciphertext


@pytest.mark.parametrize("name", ["ACME", "acme.", "acme/../rival", "\u0430cme", "acme\u200b"])
def test_similar_names_are_different_tenants(kms: qpher_core.Qpher, name: str) -> None:
    """Case, dots, slashes, look-alikes and invisible characters make another tenant."""
    other = kms.tenants.create(name)
    assert other.id != kms.tenants.get("acme").id
    assert list(kms.session(name, actor="test").keys.list()) == []


@pytest.mark.parametrize(
    "name", ["", " acme", "acme\x00", "acme\n", "A\u0308", "\ud800", "x" * 256]
)
def test_names_that_invite_confusion_are_refused(kms: qpher_core.Qpher, name: str) -> None:
    """Controls, white space at the ends, decomposed forms and over-long names are no names."""
    with pytest.raises(qpher_core.ValidationError) as caught:
        kms.tenants.create(name)
    assert caught.value.parameter == "name"
