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

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from qpher_core.errors import DecryptionFailed

__all__ = [
    "CHUNK_BYTES",
    "KEY_BYTES",
    "Progress",
    "decrypt_stream",
    "encrypt_stream",
    "encrypted_bytes",
    "read_up_to",
]

KEY_BYTES: Final = 32
CHUNK_BYTES: Final = 16 * 1024
_TAG_BYTES: Final = 16
_SALT_BYTES: Final = 24
_NONCE_BYTES: Final = 12
_COMMITMENT_BYTES: Final = 32
_MOST_CHUNKS: Final = 2**38
_INFO: Final = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"

Progress = Callable[[int], None]


def encrypt_stream(
    key: bytes, source: BinaryIO, target: BinaryIO, *, context: bytes, progress: Progress
) -> int:
    """Encrypt ``source`` to its end and return its length in bytes.

    ``key`` is 32 uniformly random bytes. ``progress`` is called with the bytes of each chunk.
    """
    salt = os.urandom(_SALT_BYTES)
    cipher, nonce, commitment = _derive(key, salt, context)
    target.write(salt + commitment)
    total = 0
    for counter, chunk in enumerate(_chunks(source, CHUNK_BYTES)):
        target.write(cipher.encrypt(_nonce(nonce, counter), chunk, None))
        total += len(chunk)
        progress(len(chunk))
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
    salt = read_up_to(source, _SALT_BYTES)
    cipher, nonce, commitment = _derive(key, salt, context)
    if not hmac.compare_digest(read_up_to(source, _COMMITMENT_BYTES), commitment):
        raise DecryptionFailed
    total = 0
    for counter, chunk in enumerate(_chunks(source, CHUNK_BYTES + _TAG_BYTES)):
        clear = None
        with contextlib.suppress(InvalidTag, ValueError):  # ValueError: shorter than a tag
            clear = cipher.decrypt(_nonce(nonce, counter), chunk, None)
        if clear is None:  # raised outside the handler, so that nothing is chained to it
            raise DecryptionFailed
        target.write(clear)
        total += len(clear)
        progress(len(clear))
    return total


def encrypted_bytes(length: int) -> int:
    """Return how long a plaintext of ``length`` bytes becomes."""
    return _SALT_BYTES + _COMMITMENT_BYTES + length + (length // CHUNK_BYTES + 1) * _TAG_BYTES


def _derive(key: bytes, salt: bytes, context: bytes) -> tuple[AESGCM, bytes, bytes]:
    length = KEY_BYTES + _NONCE_BYTES + _COMMITMENT_BYTES
    material = HKDFExpand(SHA512(), length, _INFO + salt + context).derive(key)
    nonce_end = KEY_BYTES + _NONCE_BYTES
    return AESGCM(material[:KEY_BYTES]), material[KEY_BYTES:nonce_end], material[nonce_end:]


def _nonce(base: bytes, counter: int) -> bytes:
    if counter >= _MOST_CHUNKS:
        raise DecryptionFailed("a stream has at most 4 PiB")
    return (int.from_bytes(base) ^ counter).to_bytes(_NONCE_BYTES)


def _chunks(source: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield chunks of ``size`` bytes; the last one is shorter, possibly empty."""
    while len(chunk := read_up_to(source, size)) == size:
        yield chunk
    yield chunk


def read_up_to(source: BinaryIO, size: int) -> bytes:
    """Read ``size`` bytes, fewer only at the end (a pipe may give them in pieces)."""
    data = source.read(size)
    while len(data) < size and (more := source.read(size - len(data))):
        data += more
    return data
