# SPDX-License-Identifier: Apache-2.0
"""The ratios to reach: how many times as fast a subject is as another, or as another operation."""

from collections.abc import Iterator
from typing import Final

from attrs import frozen

from benchmarks.subjects import MANY, THREADS

__all__ = ["GOALS", "Goal"]

_KEM: Final = "ML-KEM-768"
_DSA: Final = "ML-DSA-65"
_PYCA: Final = "cryptography"

#: What, and how many times as fast as cryptography with AVX-512 and with AVX2.
_AGAINST_PYCA: Final = (
    (f"{_KEM} encapsulate", 6.4, 4.5),
    (f"{_KEM} decapsulate", 5.3, 4.0),
    (f"{_DSA} sign", 17.0, 11.0),
    (f"{_DSA} verify", 23.0, 17.0),
    (f"{_KEM} generate", 12.0, 7.5),
    (f"{_DSA} generate", 7.5, 4.8),
)
_SINGLE: Final = (
    f"{_KEM} generate",
    f"{_KEM} encapsulate",
    f"{_KEM} decapsulate",
    f"{_DSA} generate",
    f"{_DSA} sign",
    f"{_DSA} verify",
)
_ENCODED: Final = (
    f"{_KEM} generate",
    f"{_KEM} encapsulate, encoded key",
    f"{_KEM} decapsulate, encoded key",
    f"{_DSA} generate",
    f"{_DSA} sign, encoded key",
    f"{_DSA} verify, encoded key",
)


@frozen
class Goal:
    """A ratio to reach.

    Attributes:
        what: the operation.
        subject: who does it.
        base: who is compared with it.
        goal: the ratio; None if there is only something to know.
        base_operation: what the other does, where it is another operation.
    """

    what: str
    subject: str
    base: str
    goal: float | None
    base_operation: str = ""

    @property
    def against(self) -> str:
        """What it is compared with, for people."""
        parts = [self.base if self.base != self.subject else "", self.base_operation]
        return ": ".join(part for part in parts if part)


def _goals() -> Iterator[Goal]:
    for what, high, low in _AGAINST_PYCA:
        yield Goal(what, "native avx512", _PYCA, high)
        yield Goal(what, "native avx2", _PYCA, low)
    # At most 28 µs where cryptography takes 174 with an opened key; and 1.5 × liboqs.
    verify = f"{_DSA} verify, encoded key"
    yield Goal(verify, "native avx512", _PYCA, 6.2, f"{_DSA} verify")
    yield Goal(verify, "native avx512", "liboqs", 1.5)
    for subject, goal in (("native avx512", 1.6), ("native avx2", 1.15)):
        for single in _SINGLE:
            yield Goal(f"{single}, batch", subject, subject, goal, single)
    for single in _SINGLE:
        one, two = f"{single}, {MANY} on 1 thread", f"{single}, {MANY} on {THREADS} threads"
        yield Goal(two, "native avx512", "native avx512", None, one)
    for subject in ("native avx512", "native avx2", "native portable"):
        for what in ("sign", "verify"):
            yield Goal(f"{_DSA} {what}, 1 MiB", subject, subject, 1 / 1.1, "SHAKE256 of 1 MiB")
    for what in _ENCODED:
        yield Goal(what, "native portable", "PQClean C", 1.3)


#: Every goal, in the order of the table.
GOALS: Final = tuple(_goals())
