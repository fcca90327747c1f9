# SPDX-License-Identifier: Apache-2.0
"""Memory for opened keys: aligned, locked where the limit allows, wiped as soon as it is free.

A pool hands out slots as cffi pointers that own their slot. Ownership is the reference count:
a key drops its pointer when it is closed, a call that is still computing in another thread
holds one of its own, and the slot is wiped and goes back to the pool when the last is gone.
So closing never frees memory under a computation, and neither side needs a lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict

from ._fork import lock_across_fork
from ._native import ffi, lib

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._native import CData

_SLAB_BYTES = 256 * 1024
_gc = ffi.gc
_growing: Final = lock_across_fork()


class KeyMemory(TypedDict):
    """Bytes mapped for opened secret keys, by whether the system let us lock them."""

    locked: int
    unlocked: int


_mapped: KeyMemory = {"locked": 0, "unlocked": 0}


def _releaser(wiped: int, free: list[CData]) -> Callable[[CData], None]:
    """What a slot runs when nothing refers to it: a closure, since every key pays for it."""
    wipe, append = lib.qpher_wipe, free.append

    def release(slot: CData) -> None:
        wipe(slot, wiped)
        append(slot)

    return release if wiped > 0 else append


class Pool:
    """Slots of one size for one type of key object, e.g. ``Pool("qpher_mlkem_dk *", size)``.

    Mapped pages are kept for the next key and never given back. Public keys
    (``secret=False``) do not use up the limit on locked memory. The first ``wiped`` bytes of a
    slot, all by default, are wiped when it is free; what follows is public. Thread-safe: lists
    pop and append in one step, and only the mapping of new pages takes a lock.
    """

    __slots__ = ("_free", "_pointer", "_release", "_size", "secret")

    def __init__(
        self, pointer: str, size: int, *, secret: bool = True, wiped: int | None = None
    ) -> None:
        if size <= 0:
            raise ValueError("size must be positive")
        self.secret = secret
        self._pointer = ffi.typeof(pointer)
        self._size = -(-size // lib.QPHER_ALIGNMENT) * lib.QPHER_ALIGNMENT
        self._free: list[CData] = []
        self._release = _releaser(self._size if wiped is None else wiped, self._free)

    def take(self) -> CData:
        """A slot that wipes itself and comes back when nothing refers to it.

        What is wiped is zero; what is not may be left from another public key.
        """
        while True:
            try:
                return _gc(self._free.pop(), self._release)
            except IndexError:
                self._grow()

    def _grow(self) -> None:
        with _growing:
            if self._free:
                return
            count = max(1, _SLAB_BYTES // self._size)
            locked = ffi.new("int *")
            slab = lib.qpher_map(count * self._size, locked if self.secret else ffi.NULL)
            if not slab:
                raise MemoryError("the operating system gave no memory for keys")
            if self.secret:
                _mapped["locked" if locked[0] else "unlocked"] += count * self._size
            base = int(ffi.cast("uintptr_t", slab))
            # Pushed in reverse, so that the first slots taken lie at the start.
            for i in reversed(range(count)):
                self._free.append(ffi.cast(self._pointer, base + i * self._size))


def key_memory() -> KeyMemory:
    """How much memory for secret keys is mapped, locked and not."""
    return _mapped.copy()
