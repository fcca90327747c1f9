# SPDX-License-Identifier: Apache-2.0
"""Rotation without downtime: keys rotate by schedule while threads use them, and nothing fails.

``QPHER_ROTATIONS`` sets how often; ``make rotation-load`` rotates 100 times.
"""

import os
import queue
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Self

from qpher_core import Due
from qpher_core.errors import QpherError
from qpher_core.service import Qpher
from qpher_core.session import Session

KEM, SIGNATURE = "ML-KEM-768", "ML-DSA-44"
ROTATIONS = int(os.environ.get("QPHER_ROTATIONS", "3"))
USES = 4  # of a version, after which it is due

Act = Callable[[Session], int]


def sign(session: Session) -> int:
    """Sign and verify; return the version."""
    signed = session.signatures.sign(b"message", algorithm=SIGNATURE)
    version = signed.key_version
    assert session.signatures.verify(b"message", signed.signature, version, SIGNATURE).valid
    return version


def encrypt(session: Session) -> int:
    """Encrypt and decrypt; return the version."""
    box = session.kem.encrypt(b"message", algorithm=KEM)
    assert session.kem.decrypt(box.ciphertext, box.key_version, KEM).plaintext == b"message"
    return box.key_version


def use_field(session: Session) -> int:
    """Encrypt and decrypt a value of a field, which outlives rotations; return the version."""
    field = session.kem.field(remember=0)
    stored = field.encrypt_many(["one", "two"])
    assert field.decrypt_many(stored) == ["one", "two"]
    return int.from_bytes(stored[0][7:11])


class Load:
    """Threads that use keys until they are told to stop."""

    def __init__(self, session: Session, acts: Sequence[Act]) -> None:
        self.errors: list[QpherError] = []
        self.versions: dict[Act, set[int]] = {act: set() for act in acts}
        self._session = session
        self._used = {act: queue.Queue[int]() for act in acts}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(act,)) for act in acts]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for act, used in self._used.items():
            self.versions[act].update(used.get() for _ in range(used.qsize()))

    def wait(self) -> None:
        """Wait until each thread has used a key once more."""
        for act, used in self._used.items():
            self.versions[act].add(used.get(timeout=120))

    def _work(self, act: Act) -> None:
        while not self._stop.is_set():
            try:
                self._used[act].put(act(self._session))
            except QpherError as error:
                self.errors.append(error)


def test_nothing_fails_while_keys_are_rotated(service: Qpher, session: Session) -> None:
    """Every operation succeeds, under the version that was active; no version is left out."""
    tenant = session._context.tenant_id
    for algorithm in (KEM, SIGNATURE):
        session.keys.generate(algorithm)
        service.policies.schedule(algorithm, tenant=tenant, max_uses=USES)
    rotated = Counter({KEM: 0, SIGNATURE: 0})
    with Load(session, (sign, encrypt, use_field)) as load:
        while min(rotated.values()) < ROTATIONS:
            load.wait()
            report = service.maintain(tenant)
            assert report.ok
            rotated.update(key.key.algorithm for key in report.standing(Due.ROTATED))
    assert load.errors == []
    used = {KEM: load.versions[encrypt] | load.versions[use_field], SIGNATURE: load.versions[sign]}
    for algorithm, versions in used.items():
        newest = session.keys.active(algorithm).version
        assert newest == 1 + rotated[algorithm]
        assert set(range(1, newest)) <= versions <= set(range(1, newest + 1))
