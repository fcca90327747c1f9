# SPDX-License-Identifier: Apache-2.0
"""Who may write, and whether what was just read belongs together.

The file ``lock`` does both, for any number of processes. Writers hold ``flock`` on it, which the
kernel takes back when its holder dies. Readers hold nothing: they look at its counters before and
after reading, and read again if a writer published changes meanwhile.
"""

import contextlib
import fcntl
import os
import random
import struct
import threading
import time
from collections.abc import Iterator
from typing import Final

from attrs import frozen

from qpher_core.errors import StoreUnavailable

__all__ = ["Counters", "Gate"]

_BUSY_SECONDS: Final = 10.0
_LAYOUT: Final = struct.Struct("<4Q")
_MASK: Final = 0x71706865722D6C6B  # zeros, or half of a write, are no counters


@frozen
class Counters:
    """The content of the lock file. It only matters while processes live: it is never synced.

    Attributes:
        sequence: odd while changes are being made in the files; raised by two for each commit.
        documents: raised by each commit that replaces a whole file.
        journal: bytes of the journal whose changes are made.
    """

    sequence: int
    documents: int
    journal: int

    @property
    def settled(self) -> bool:
        """Whether the files are whole, as far as the last writer knew."""
        return self.sequence & 1 == 0


class Gate:
    """The lock file, opened. Thread-safe."""

    def __init__(self, path: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._path = path
        self._handle = os.open(path, flags, 0o600)
        self._file = os.fstat(self._handle)
        # flock does not keep threads of one process apart. This lock knows its thread, so that
        # one who was interrupted (Ctrl-C) while taking it can still give it back.
        self._mutex = _Mutex()

    def check_place(self) -> None:
        """Refuse if the directory, or this file in it, was replaced or unlinked meanwhile."""
        try:
            now = os.stat(self._path)  # noqa: PTH116 - on the way of every operation
        except OSError as error:
            raise StoreUnavailable(f"{self._path} is gone: {error.strerror}") from error
        if (now.st_ino, now.st_dev) != (self._file.st_ino, self._file.st_dev):
            raise StoreUnavailable(f"{self._path} was replaced while it was open")

    def counters(self) -> Counters | None:
        """Return the counters, or None if they are not what a writer left."""
        data = os.pread(self._handle, _LAYOUT.size, 0)
        if len(data) < _LAYOUT.size:
            return None
        sequence, documents, journal, check = _LAYOUT.unpack(data)
        if sequence ^ documents ^ journal ^ _MASK != check:
            return None
        return Counters(sequence, documents, journal)

    def set_counters(self, counters: Counters) -> None:
        """Replace the counters; only the holder of the lock does."""
        sequence, documents, journal = counters.sequence, counters.documents, counters.journal
        check = sequence ^ documents ^ journal ^ _MASK
        data = _LAYOUT.pack(sequence, documents, journal, check)
        if os.pwrite(self._handle, data, 0) != len(data):
            raise OSError(f"{self._path} could not be written")

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock. Raises ``StoreUnavailable`` if others hold it for too long."""
        try:
            self.acquire()
            yield
        finally:
            self.release()

    def acquire(self) -> None:
        """Take the lock; :meth:`release` must follow, whatever comes out of this."""
        deadline = time.monotonic() + _BUSY_SECONDS
        if not self._mutex.take(_BUSY_SECONDS):
            raise StoreUnavailable(f"{self._path} is held by another thread")
        pause = 0.0002
        while not self._try_lock():
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"{self._path} is locked by another process")
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
            pause = min(pause * 1.5, 0.004)

    def release(self) -> None:
        """Give back what this thread holds of the lock, if anything."""
        if self._mutex.mine:
            fcntl.flock(self._handle, fcntl.LOCK_UN)
            self._mutex.give()

    def close(self) -> None:
        """Close the file. In a forked child the parent's lock stays the parent's."""
        os.close(self._handle)

    def _try_lock(self) -> bool:
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class _Mutex:
    """A lock that knows which thread holds it, from the very instruction that takes it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    @property
    def mine(self) -> bool:
        """Whether this thread holds it."""
        owned: bool = self._lock._is_owned()  # type: ignore[attr-defined]  # noqa: SLF001
        return owned

    def take(self, seconds: float) -> bool:
        """Take it within some seconds, once."""
        if self.mine:
            raise RuntimeError("the lock is held already")
        return self._lock.acquire(timeout=seconds)

    def give(self) -> None:
        """Give it back."""
        self._lock.release()
