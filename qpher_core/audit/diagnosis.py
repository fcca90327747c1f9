# SPDX-License-Identifier: Apache-2.0
"""Naming what is wrong with a run of entries that is known to be wrong, and the first bad one.

Slower than the scan that found the log unsound, and used only then; constant memory too.
"""

import hashlib
from collections.abc import Callable, Iterator
from itertools import chain, islice, pairwise

from attrs import frozen

from qpher_core.audit.grammar import ENTRY, is_entry
from qpher_core.audit.problems import Problem
from qpher_core.audit.records import EMPTY_LOG, LogState

__all__ = ["Finding", "diagnose"]

#: Opens the lines of the entries anew; each ends with a newline.
Lines = Callable[[], Iterator[bytes]]


@frozen
class Finding:
    """What is wrong, and with which entry.

    Attributes:
        problem: its name.
        seq: the first bad entry, or None where it is about no entry.
        detail: one sentence.
    """

    problem: Problem
    seq: int | None
    detail: str


def diagnose(
    lines: Lines, tenant: str, size: int, head: bytes, base: LogState = EMPTY_LOG
) -> Finding | None:
    """Return the first thing that is wrong, or None if chain, places and head are sound.

    Args:
        lines: opens the entries.
        tenant: id of the tenant that every entry must name.
        size: number of entries that there must be.
        head: hash that the last entry must have, 32 bytes.
        base: what the first entry follows.
    """
    first, expected, previous = base.size, base.size, base.head.hex()
    for line, following in pairwise(chain(lines(), [b""])):
        finding = _entry(lines, line, following, tenant, first, expected, previous, head)
        if finding is not None:
            return finding
        expected, previous = expected + 1, hashlib.sha256(line[:-1]).hexdigest()
        if expected > size:
            return Finding(Problem.INSERTED, size, f"the log ends before entry {size}")
    if expected < size:
        return Finding(Problem.CUT, expected, f"the entries from {expected} to {size - 1} are gone")
    if previous != head.hex():
        return Finding(Problem.ALTERED, size - 1, "the last entry has another hash than recorded")
    return None


def _entry(
    lines: Lines,
    line: bytes,
    following: bytes,
    tenant: str,
    first: int,
    expected: int,
    previous: str,
    head: bytes,
) -> Finding | None:
    found = ENTRY.fullmatch(line[:-1]) if line.endswith(b"\n") and is_entry(line[:-1]) else None
    if found is None:
        return Finding(Problem.MALFORMED, expected, "the line is not a canonical audit entry")
    prev_hash, place, owner = (group.decode() for group in found.groups())
    if owner != tenant:
        return Finding(Problem.FOREIGN, expected, f"the entry belongs to the log of {owner}")
    if int(place) != expected:
        return _misplaced(lines, line, int(place), first, expected)
    if prev_hash == previous:
        return None
    return _unlinked(line, following, first, expected, head)


def _misplaced(lines: Lines, line: bytes, place: int, first: int, expected: int) -> Finding:
    """Name what happened where entry ``place`` stands instead of entry ``expected``."""
    if place < expected:
        if _holds(lines, lambda other: other == line, expected - first):
            return Finding(Problem.DUPLICATED, expected, f"entry {place} is there a second time")
        return Finding(Problem.INSERTED, expected, f"another entry claims the place {place}")
    if _holds(lines, lambda other: _place(other) == expected):
        return Finding(
            Problem.REORDERED, expected, f"entry {place} stands where {expected} belongs"
        )
    return Finding(Problem.MISSING, expected, f"entry {place} follows entry {expected - 1}")


def _unlinked(line: bytes, following: bytes, first: int, expected: int, head: bytes) -> Finding:
    """Name which of two entries that do not fit is the wrong one: what follows decides."""
    digest = hashlib.sha256(line[:-1]).hexdigest()
    after = ENTRY.fullmatch(following[:-1])
    vouched = digest == (after.group(1).decode() if after else head.hex())
    if expected > first and vouched:
        return Finding(
            Problem.ALTERED, expected - 1, f"entry {expected} follows another entry than this"
        )
    if expected > first and after is not None and _place(following) == expected:
        return Finding(Problem.INSERTED, expected, "two entries claim the same place")
    return Finding(Problem.BROKEN_LINK, expected, "the entry does not follow the one before it")


def _holds(lines: Lines, wanted: Callable[[bytes], bool], limit: int | None = None) -> bool:
    """Return whether one of the first ``limit`` lines is wanted."""
    return any(map(wanted, islice(lines(), limit)))


def _place(line: bytes) -> int | None:
    found = ENTRY.fullmatch(line[:-1])
    return int(found.group(2)) if found else None
