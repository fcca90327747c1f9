# SPDX-License-Identifier: Apache-2.0
"""Batches of more items, or bytes, than a service elsewhere takes at once."""

from collections.abc import Iterator

import pytest

import qpher_core
from qpher_core.results import EncryptResult
from qpher_core.service import Qpher
from qpher_core.session import Session
from tests.contract.served import served

KEM, SIGNATURE = "ML-KEM-512", "ML-DSA-44"
COUNT = 1003  # a service takes 1,000


@pytest.fixture(scope="module")
def kms() -> Iterator[Qpher]:
    """Yield a service with a tenant's keys."""
    with qpher_core.open("memory:") as kms:
        kms.tenants.create("acme")
        for algorithm in (KEM, SIGNATURE):
            kms.session("acme", actor="tester").keys.generate(algorithm)
        yield kms


@pytest.fixture(scope="module")
def session(kms: Qpher) -> Iterator[Session]:
    """Yield a session of the tenant over HTTP."""
    with served(kms) as remote:
        yield remote.session("acme", actor="tester")


def encrypted(session: Session, texts: list[bytes]) -> list[bytes]:
    """Encrypt texts in one call."""
    done = session.kem.encrypt_many(texts, algorithm=KEM)
    good = [result for result in done if isinstance(result, EncryptResult)]
    assert len(good) == len(done) == len(texts)
    return [result.ciphertext for result in good]


def decrypted(session: Session, boxes: list[bytes], version: int = 1) -> list[bytes]:
    """Decrypt them in one call."""
    done = session.kem.decrypt_many(boxes, version, KEM)
    return [getattr(result, "plaintext", b"!") for result in done]


def test_many_items(session: Session) -> None:
    """Each item has its result at its place, and an entry of its own, however many they are."""
    texts = [b"%d" % number for number in range(COUNT)]
    before = sum(1 for _ in session.audit.entries())
    boxes = encrypted(session, texts)
    assert sum(1 for _ in session.audit.entries()) == before + COUNT
    assert decrypted(session, boxes) == texts
    pairs = session.kem.encapsulate_many(COUNT, algorithm=KEM)
    assert len({pair.shared_secret for pair in pairs if not isinstance(pair, Exception)}) == COUNT
    signed = session.signatures.sign_many(texts, algorithm=SIGNATURE)
    signatures = [one.signature for one in signed if not isinstance(one, Exception)]
    checked = session.signatures.verify_many(
        list(zip(texts, reversed(signatures), strict=True)), 1, SIGNATURE
    )
    valid = [one.valid for one in checked if not isinstance(one, Exception)]
    assert [place for place, good in enumerate(valid) if good] == [COUNT // 2]


def test_many_bytes(session: Session) -> None:
    """Items that together are more than one request's body are no fewer results."""
    texts = [bytes([number]) * (1 << 20) for number in range(20)]
    assert decrypted(session, encrypted(session, texts)) == texts


def test_migrating_large_batches(session: Session) -> None:
    """A migration takes batches of any size; values of fields are moved by their keys."""
    texts = [b"%d" % number for number in range(COUNT)]
    stored = dict(enumerate(encrypted(session, texts)))
    session.keys.rotate(KEM)
    report = session.migrate(list(stored.items()), to_algorithm=KEM, sink=stored.update, batch=5000)
    assert (report.moved, report.failed, report.complete) == (COUNT, (), True)
    assert decrypted(session, list(stored.values()), 2) == texts


def test_migrating_many_field_keys(kms: Qpher, session: Session) -> None:
    """Field keys are moved in as many calls as the service needs."""
    field = kms.session("acme", actor="tester").kem.field(algorithm=KEM)
    words = [f"value-{number}" for number in range(COUNT)]
    stored = {number: field.encrypt(word) for number, word in enumerate(words)}
    session.keys.rotate(KEM)
    report = session.migrate(list(stored.items()), to_algorithm=KEM, sink=stored.update, batch=5000)
    assert (report.moved, report.failed) == (COUNT, ())
    assert field.decrypt_many(list(stored.values())) == words
