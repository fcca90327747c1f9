# SPDX-License-Identifier: Apache-2.0
"""Encrypted files as read-only file objects with random access."""

import io
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, BinaryIO, Final

from qpher_core import chunked
from qpher_core.errors import DecryptionFailed, NotFound
from qpher_core.file_body import Description
from qpher_core.file_io import read_into

__all__ = ["EncryptedFile"]

_CHUNKS_AT_ONCE: Final = 4


class EncryptedFile(io.BufferedReader):
    """The content of an encrypted file: reads and seeks as a file opened with ``"rb"``.

    What it gives is authentic, and its length is: both were checked before. Where a part was
    altered, reading it raises ``DecryptionFailed``; other parts can be read. Safe to share between
    threads as any buffered file; it uses the position of the file object that it was made from.

    Attributes:
        metadata: what the file was encrypted with; known before any of the content is read.
        files: where it holds several, their names and bytes in order; else empty.
        size: bytes of the content.
    """

    def __init__(
        self,
        source: BinaryIO,
        cipher: chunked.ChunkCipher,
        description: Description,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        """Read on from the start of the chunks; ``close`` is called when this is closed."""
        chunks = _Chunks(source, cipher, close)
        if description.files_bytes not in {None, chunks.size}:
            raise DecryptionFailed
        super().__init__(chunks, _CHUNKS_AT_ONCE * chunked.CHUNK_BYTES)
        self.size: Final = chunks.size
        self.metadata: Final[Mapping[str, str]] = MappingProxyType(description.metadata)
        self.files: Final[Mapping[str, int]] = MappingProxyType(dict(description.files or ()))

    def read_file(self, name: str) -> bytes:
        """Return one of several files whole.

        Raises:
            NotFound: it holds no file of that name.
        """
        start = 0
        for found, size in self.files.items():
            if found == name:
                self.seek(start)
                return self.read(size)
            start += size
        raise NotFound(f"there is no file {name!r} in it")

    def __repr__(self) -> str:
        return f"<EncryptedFile of {self.size} bytes>"


class _Chunks(io.RawIOBase):
    """The plaintext of a seekable stream."""

    def __init__(
        self, source: BinaryIO, cipher: chunked.ChunkCipher, close: Callable[[], None]
    ) -> None:
        self._source, self._cipher, self._close = source, cipher, close
        self._start = source.tell()
        sealed = source.seek(0, io.SEEK_END) - self._start
        self.size = chunked.plain_bytes(sealed)
        self._chunks = sealed // chunked.SEALED_CHUNK_BYTES + 1
        self._place = 0
        self._open(self._chunks - 1, 1)  # the length is authentic if the last chunk is

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a place, also past the end; there is nothing to read there."""
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.size}
        if whence not in bases:
            raise ValueError(f"whence must be 0, 1 or 2, not {whence}")
        place = bases[whence] + offset
        if place < 0:
            raise ValueError("a place before the start")
        self._place = place
        return place

    def tell(self) -> int:
        """Return the place."""
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer, to the end of a chunk at most, so that none is opened twice in a row."""
        room = memoryview(buffer).cast("B")
        if self._place >= self.size or not len(room):
            return 0
        first, skipped = divmod(self._place, chunked.CHUNK_BYTES)
        wanted = -(-(skipped + len(room)) // chunked.CHUNK_BYTES)
        plain = self._open(first, min(wanted, _CHUNKS_AT_ONCE, self._chunks - first))
        given = plain[skipped : skipped + len(room)]
        room[: len(given)] = given
        self._place += len(given)
        return len(given)

    def close(self) -> None:
        """Close what was opened for this."""
        if not self.closed:
            super().close()
            self._close()

    def _open(self, first: int, count: int) -> memoryview:
        last = first + count == self._chunks
        sealed = memoryview(bytearray(count * chunked.SEALED_CHUNK_BYTES))
        plain = memoryview(bytearray(count * chunked.CHUNK_BYTES))
        self._source.seek(self._start + first * chunked.SEALED_CHUNK_BYTES)
        got = read_into(self._source, sealed)
        if not last and got < len(sealed):
            raise DecryptionFailed
        return plain[: self._cipher.open(first, sealed[:got], plain, last=last)]
