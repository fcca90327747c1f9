# SPDX-License-Identifier: Apache-2.0
"""Encryption of streams of any size: C2SP chunked-encryption v1 with SHA-512 and AES-256-GCM.

    salt (24) ‖ commitment (32) ‖ chunks of 16 KiB, each with a 16-byte tag; the last one shorter

The last chunk is always shorter than 16 KiB, possibly empty, so that a cut stream is noticed.
Memory is constant. https://c2sp.org/chunked-encryption
"""

import contextlib
import hmac
import os
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

from attrs import field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from qpher_core.errors import DecryptionFailed
from qpher_core.file_io import read_into, read_up_to, write_all

__all__ = [
    "CHUNK_BYTES",
    "KEY_BYTES",
    "SEALED_CHUNK_BYTES",
    "ChunkCipher",
    "Progress",
    "decrypt_stream",
    "encrypt_stream",
    "encrypted_bytes",
    "plain_bytes",
    "read_prefix",
]

KEY_BYTES: Final = 32
CHUNK_BYTES: Final = 16 * 1024
_TAG_BYTES: Final = 16
SEALED_CHUNK_BYTES: Final = CHUNK_BYTES + _TAG_BYTES
_SALT_BYTES: Final = 24
_NONCE_BYTES: Final = 12
_COMMITMENT_BYTES: Final = 32
_PREFIX_BYTES: Final = _SALT_BYTES + _COMMITMENT_BYTES
_MOST_CHUNKS: Final = 2**38
_INFO: Final = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"

#: Chunks that are read, sealed and written at once: a megabyte keeps the cost of calls low.
_GROUP: Final = 64

Progress = Callable[[int], None]


@frozen
class ChunkCipher:
    """The keys of one stream; seals and opens its chunks."""

    salt: bytes
    commitment: bytes
    _cipher: AESGCM = field(repr=False)
    _nonce: int = field(repr=False)

    @classmethod
    def derive(cls, key: bytes, salt: bytes, context: bytes) -> "ChunkCipher":
        """Derive them from a uniformly random key of 32 bytes."""
        length = KEY_BYTES + _NONCE_BYTES + _COMMITMENT_BYTES
        material = HKDFExpand(SHA512(), length, _INFO + salt + context).derive(key)
        nonce_end = KEY_BYTES + _NONCE_BYTES
        nonce = int.from_bytes(material[KEY_BYTES:nonce_end])
        return cls(salt, material[nonce_end:], AESGCM(material[:KEY_BYTES]), nonce)

    def nonces(self, first: int, count: int) -> Iterator[bytes]:
        """Yield the nonces of chunks, 12 bytes each."""
        if first + count > _MOST_CHUNKS:
            raise DecryptionFailed("a stream has at most 4 PiB")
        for counter in range(first, first + count):
            yield (self._nonce ^ counter).to_bytes(_NONCE_BYTES)

    def seal(self, first: int, plain: memoryview, sealed: memoryview, *, last: bool) -> int:
        """Seal chunks from number ``first`` on; if ``last``, the rest is the short last one.

        Returns:
            How many bytes of ``sealed`` that gave.
        """
        encrypt = self._cipher.encrypt_into
        start = written = 0
        for nonce in self.nonces(first, len(plain) // CHUNK_BYTES + last):
            piece = plain[start : start + CHUNK_BYTES]
            written += encrypt(
                nonce, piece, None, sealed[written : written + len(piece) + _TAG_BYTES]
            )
            start += CHUNK_BYTES
        return written

    def open(self, first: int, sealed: memoryview, plain: memoryview, *, last: bool) -> int:
        """Open what :meth:`seal` gave.

        Raises:
            DecryptionFailed: a chunk is not authentic, or the last one is missing.
        """
        # Raised outside the handler, so that nothing is chained to it.
        with contextlib.suppress(InvalidTag, ValueError):  # ValueError: shorter than a tag
            return self._open(first, sealed, plain, last=last)
        raise DecryptionFailed

    def _open(self, first: int, sealed: memoryview, plain: memoryview, *, last: bool) -> int:
        decrypt = self._cipher.decrypt_into
        start = written = 0
        for nonce in self.nonces(first, len(sealed) // SEALED_CHUNK_BYTES + last):
            piece = sealed[start : start + SEALED_CHUNK_BYTES]
            room = plain[written : written + max(0, len(piece) - _TAG_BYTES)]
            written += decrypt(nonce, piece, None, room)
            start += SEALED_CHUNK_BYTES
        return written


def encrypt_stream(
    key: bytes, source: BinaryIO, target: BinaryIO, *, context: bytes, progress: Progress
) -> int:
    """Encrypt ``source`` to its end and return its length in bytes.

    ``key`` is 32 uniformly random bytes. ``progress`` is called with the bytes of each piece.
    """
    stream = ChunkCipher.derive(key, os.urandom(_SALT_BYTES), context)
    write_all(target, stream.salt + stream.commitment)
    plain, sealed = _buffers(_GROUP)
    total = 0
    last = False
    while not last:
        count = read_into(source, plain)
        last = count < len(plain)
        size = stream.seal(total // CHUNK_BYTES, plain[:count], sealed, last=last)
        write_all(target, sealed[:size])
        total += count
        progress(count)
    return total


def decrypt_stream(
    key: bytes, source: BinaryIO, target: BinaryIO, *, context: bytes, progress: Progress
) -> int:
    """Decrypt to the end and return the length of the plaintext in bytes.

    Only authenticated chunks are written, but a stream may prove to be cut only at its end:
    the caller must not use ``target`` before this returns.

    Raises:
        DecryptionFailed: the stream was made under another key or context, cut or altered.
    """
    stream = read_prefix(key, source, context)
    plain, sealed = _buffers(_GROUP)
    total = 0
    last = False
    while not last:
        count = read_into(source, sealed)
        last = count < len(sealed)
        size = stream.open(total // CHUNK_BYTES, sealed[:count], plain, last=last)
        write_all(target, plain[:size])
        total += size
        progress(size)
    return total


def read_prefix(key: bytes, source: BinaryIO, context: bytes) -> ChunkCipher:
    """Read the start of a stream and return its cipher.

    Raises:
        DecryptionFailed: the stream was made under another key or context.
    """
    prefix = read_up_to(source, _PREFIX_BYTES)
    stream = ChunkCipher.derive(key, prefix[:_SALT_BYTES], context)
    if not hmac.compare_digest(prefix[_SALT_BYTES:], stream.commitment):
        raise DecryptionFailed
    return stream


def encrypted_bytes(length: int) -> int:
    """Return how long a plaintext of ``length`` bytes becomes."""
    return _PREFIX_BYTES + length + (length // CHUNK_BYTES + 1) * _TAG_BYTES


def plain_bytes(chunks: int) -> int:
    """Return how much plaintext chunks of so many bytes hold, the last one included.

    Raises:
        DecryptionFailed: no stream has that length.
    """
    full, rest = divmod(chunks, SEALED_CHUNK_BYTES)
    if rest < _TAG_BYTES:
        raise DecryptionFailed
    return full * CHUNK_BYTES + rest - _TAG_BYTES


def _buffers(chunks: int) -> tuple[memoryview, memoryview]:
    """Return room for the plaintext of chunks, and for the chunks sealed."""
    plain = memoryview(bytearray(chunks * CHUNK_BYTES))
    return plain, memoryview(bytearray(chunks * SEALED_CHUNK_BYTES))
