# SPDX-License-Identifier: Apache-2.0
"""Scanning entries in blocks, against reading them one by one."""

import hashlib
import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from qpher_core.audit.entry import build_entry
from qpher_core.audit.grammar import is_entry
from qpher_core.audit.scan import Forest, join, scan
from tests.properties.test_entry import DRAFTS

_TENANT = uuid.UUID(int=7)
_TIME = datetime(2026, 1, 1, tzinfo=UTC)
_FIRST = 41


def _chain(drafts: Sequence) -> list[bytes]:
    """Return the lines of a log of these entries."""
    lines, prev_hash = [], bytes(32)
    for seq, draft in enumerate(drafts, _FIRST):
        entry = build_entry(draft, tenant_id=_TENANT, seq=seq, prev_hash=prev_hash, time=_TIME)
        lines.append(entry.body + b"\n")
        prev_hash = entry.hash
    return lines


_LOGS = st.lists(DRAFTS, min_size=1, max_size=5).map(_chain)
_CHANGES = st.tuples(st.integers(0, 5000), st.sampled_from([0, 1]), st.binary(max_size=1))


def _sound(data: bytes) -> bool:
    """Return whether lines are entries, canonical to RFC 8785's reference, and chained."""
    prev_hash = bytes(32).hex()
    for seq, line in enumerate(data.splitlines(keepends=True), _FIRST):
        try:
            fields = json.loads(line)
            if rfc8785.dumps(fields) + b"\n" != line or not is_entry(line[:-1]):
                return False
        except (ValueError, rfc8785.CanonicalizationError):
            return False
        found = fields["seq"], fields["prev_hash"], fields["tenant"]
        if found != (seq, prev_hash, str(_TENANT)):
            return False
        prev_hash = hashlib.sha256(line[:-1]).hexdigest()
    return True


@given(_LOGS, st.integers(1, 5))
def test_entries_are_sound_in_any_blocks(lines: list[bytes], together: int) -> None:
    """Whatever a log's entries say, all are found, in blocks of any number of lines."""
    blocks = (b"".join(lines[i : i + together]) for i in range(0, len(lines), together))
    run = scan(blocks, str(_TENANT), range(_FIRST, _FIRST + len(lines) + 1))
    assert run.sound
    assert (run.first, run.end) == (_FIRST, _FIRST + len(lines))
    hashes = [hashlib.sha256(line[:-1]).digest() for line in lines]
    assert [joint.head for joint in run.joints] == hashes
    assert run.head == hashes[-1]


@given(_LOGS, _CHANGES)
def test_a_byte_more_or_less_is_found(lines: list[bytes], change: tuple[int, int, bytes]) -> None:
    """After one byte comes or goes, the scan agrees with reading line by line."""
    data, (place, removed, byte) = b"".join(lines), change
    place %= len(data)
    changed = data[:place] + byte + data[place + removed :]
    run = scan([changed], str(_TENANT), ())
    assert (join(_FIRST, bytes(32), Forest(), run) is not None) == _sound(changed)


@given(_LOGS, st.randoms())
def test_other_lines_are_not_sound(lines: list[bytes], random: Random) -> None:
    """Lines in another order, left out or repeated are found."""
    for other in (random.sample(lines, len(lines)), lines + lines[-1:], [*lines[:1], *lines[2:]]):
        sound = scan([b"".join(other)], str(_TENANT), ()).sound
        assert sound == (other == lines or lines[:1] == other)
    assert not scan([b"".join(lines)], str(uuid.UUID(int=8)), ()).sound
    assert not scan([b"x" + b"".join(lines)], str(_TENANT), ()).sound
