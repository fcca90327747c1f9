# SPDX-License-Identifier: Apache-2.0
"""Hashes of large subtrees that proofs used before, so that a long log costs no more reads.

A complete subtree never changes, and large ones are part of many paths. Their hashes are kept once
a path over them has led to the root of an anchor: nothing is kept that was not committed and
anchored. A path over kept hashes is released only if it leads there too. One that does not (a
backup was restored under a running service, and its log grew another way) is forgotten and read
anew.

Verification does not come here: it compares what is stored.
"""

import uuid
from collections.abc import Callable, Sequence
from typing import Final

from qpher_core._cache import BoundedCache
from qpher_core.audit.tree import HASH_BYTES, Fetch, Subtree

__all__ = ["KnownSubtrees"]

#: Smaller subtrees are read each time: they are many, each is part of few paths, and what completes
#: them is stored near the entry.
_LOWEST: Final = 8

#: Levels of one tile, which holds all that hangs below one subtree, and is dropped whole. Two reach
#: up to four billion entries.
_HEIGHT: Final = 8
_PLACES: Final = (2 << _HEIGHT) - 2

#: Tiles of 16 KiB: 4 MiB, which is all of the logs of 16 million entries.
_TILES: Final = 256

_UNKNOWN: Final = bytes(HASH_BYTES)

_Address = tuple[int, int, int]  # tenant, which eight levels, number from the left


class KnownSubtrees:
    """The kept hashes of all logs of a store. Thread-safe.

    Args:
        tiles: how many are kept at most, of 510 hashes each; those used longest ago go first.
    """

    def __init__(self, tiles: int = _TILES) -> None:
        self._tiles: BoundedCache[_Address, bytearray] = BoundedCache(tiles)

    def hashes(
        self,
        tenant_id: uuid.UUID,
        wanted: Sequence[Subtree],
        read: Fetch,
        right: Callable[[Sequence[bytes]], bool],
    ) -> Sequence[bytes] | None:
        """Return hashes of subtrees that are right together, or None if the stored ones are not.

        Args:
            tenant_id: whose log.
            wanted: the subtrees.
            read: gives the stored hashes.
            right: whether the hashes lead to what is anchored.
        """
        kept = _Kept(self._tiles, tenant_id)
        found: Sequence[bytes] = kept.fetch(wanted, read)
        if right(found):
            kept.add()
            return found
        kept.forget()
        found = read(wanted)
        return found if right(found) else None


class _Kept:
    """What is kept of some subtrees, and where the others belong."""

    def __init__(self, cache: BoundedCache[_Address, bytearray], tenant_id: uuid.UUID) -> None:
        self._cache = cache
        self._tenant = tenant_id.int  # hashing an UUID takes longer
        self._tiles: dict[_Address, bytearray] = {}
        self._gaps: list[tuple[bytearray, int]] = []
        self._new: list[bytes] = []

    def fetch(self, wanted: Sequence[Subtree], read: Fetch) -> list[bytes]:
        """Return the hashes of subtrees; one read for all that are not kept."""
        kept: list[bytes | None] = [self._find(*s) if s[0] >= _LOWEST else None for s in wanted]
        missing = [s for s, digest in zip(wanted, kept, strict=True) if digest is None]
        found = read(missing) if missing else []
        pairs = zip(missing, found, strict=True)
        self._new = [digest for (level, _), digest in pairs if level >= _LOWEST]
        rest = iter(found)
        return [next(rest) if digest is None else digest for digest in kept]

    def add(self) -> None:
        """Keep what was read: it is right."""
        for (tile, offset), digest in zip(self._gaps, self._new, strict=True):
            tile[offset : offset + HASH_BYTES] = digest

    def forget(self) -> None:
        """Forget the tiles that were asked, as something in them is wrong."""
        for address in self._tiles:
            self._cache.discard(address)

    def _find(self, level: int, index: int) -> bytes | None:
        """Return the hash of a subtree, or None and remember the gap."""
        below = _HEIGHT - level % _HEIGHT  # levels under the subtree that the tile hangs below
        number = index >> below
        address = self._tenant, level // _HEIGHT, number
        tile = self._tiles.get(address)
        if tile is None:
            tile = self._tiles[address] = self._cache.get(address, _empty)
        offset = ((1 << below) - 2 + index - (number << below)) * HASH_BYTES
        # Another thread may write just now: a torn hash is as any that is wrong.
        digest = bytes(tile[offset : offset + HASH_BYTES])
        if digest != _UNKNOWN:
            return digest
        self._gaps.append((tile, offset))
        return None


def _empty(_: _Address) -> bytearray:
    """Return a tile of which nothing is known."""
    return bytearray(_PLACES * HASH_BYTES)
