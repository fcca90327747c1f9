# SPDX-License-Identifier: Apache-2.0
"""The chunked stream, read by a decoder that was written from the specification alone."""

import hashlib
import hmac
import io
import os

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qpher_core import chunked
from qpher_core.errors import DecryptionFailed

KEY = bytes(range(32))
SIZES = [0, 1, 16383, 16384, 16385, 32768, 100_000]


def decode(key: bytes, stream: bytes, context: bytes) -> bytes:
    """Decrypt C2SP chunked-encryption with AEAD_AES_256_GCM, from its specification."""
    salt, commitment, body = stream[:24], stream[24:56], stream[56:]
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00" + salt + context
    material, block = b"", b""
    for counter in range(1, 3):  # HKDF-Expand (RFC 5869) to 32 + 12 + 32 bytes
        block = hmac.digest(key, block + info + bytes([counter]), hashlib.sha512)
        material += block
    cipher, nonce = AESGCM(material[:32]), int.from_bytes(material[32:44])
    if material[44:76] != commitment:
        raise InvalidTag
    plaintext = b""
    for counter in range(len(body) // 16400 + 1):
        chunk = body[counter * 16400 : (counter + 1) * 16400]
        plaintext += cipher.decrypt((nonce ^ counter).to_bytes(12), chunk, None)
    return plaintext


def encrypt(plaintext: bytes, context: bytes = b"context") -> bytes:
    """Return the encrypted stream."""
    target = io.BytesIO()
    length = chunked.encrypt_stream(
        KEY, io.BytesIO(plaintext), target, context=context, progress=lambda _: None
    )
    assert length == len(plaintext)
    return target.getvalue()


def decrypt(stream: bytes, key: bytes = KEY, context: bytes = b"context") -> bytes:
    """Return the plaintext of a stream."""
    target = io.BytesIO()
    length = chunked.decrypt_stream(
        key, io.BytesIO(stream), target, context=context, progress=lambda _: None
    )
    assert length == len(target.getvalue())
    return target.getvalue()


@pytest.mark.parametrize("size", SIZES)
def test_streams_open_again(size: int) -> None:
    """A stream of any size decrypts to itself, with us and with the independent decoder."""
    plaintext = os.urandom(size)
    stream = encrypt(plaintext)
    assert len(stream) == chunked.encrypted_bytes(size)
    assert decrypt(stream) == plaintext
    assert decode(KEY, stream, b"context") == plaintext


def test_the_last_chunk_is_always_short() -> None:
    """A plaintext of whole chunks ends in an empty chunk, so that cutting there is noticed."""
    stream = encrypt(bytes(16384))
    assert len(stream) == 56 + 16400 + 16
    with pytest.raises(DecryptionFailed):
        decrypt(stream[:-16])


def test_salts_differ() -> None:
    """Two streams of one key and content share no salt, commitment or chunk."""
    first, second = encrypt(b"x"), encrypt(b"x")
    assert first[:24] != second[:24]
    assert first[24:56] != second[24:56]


def test_streams_are_bound() -> None:
    """Another key or context is noticed at the commitment, before anything is written."""
    stream = encrypt(b"x")
    for key, context in ((bytes(32), b"context"), (KEY, b""), (KEY, b"contexts")):
        target = io.BytesIO()
        with pytest.raises(DecryptionFailed):
            chunked.decrypt_stream(
                key, io.BytesIO(stream), target, context=context, progress=lambda _: None
            )
        assert target.getvalue() == b""


@pytest.mark.parametrize("end", [0, 10, 24, 40, 55, 56, 57, 71, 72, 16455, 16456, 16457, 32854])
def test_cut_streams_are_refused(end: int) -> None:
    """A stream that was cut anywhere is refused."""
    stream = encrypt(bytes(2 * 16384 - 1))
    assert end < len(stream) == 32855
    with pytest.raises(DecryptionFailed):
        decrypt(stream[:end])


def test_only_authentic_chunks_are_written() -> None:
    """When a late chunk was altered, only whole groups of chunks before it were written."""
    stream = bytearray(encrypt(bytes(130 * 16384)))
    stream[56 + 129 * 16400] ^= 1
    target = io.BytesIO()
    with pytest.raises(DecryptionFailed):
        chunked.decrypt_stream(
            KEY, io.BytesIO(stream), target, context=b"context", progress=lambda _: None
        )
    assert target.getvalue() == bytes(128 * 16384)


def test_a_stream_has_a_longest_length() -> None:
    """The counter of chunks cannot run into nonces of its beginning."""
    cipher = chunked.ChunkCipher.derive(KEY, bytes(24), b"")
    with pytest.raises(DecryptionFailed, match="4 PiB"):
        next(cipher.nonces(2**38, 1))
    first, last = next(cipher.nonces(0, 1)), next(cipher.nonces(2**38 - 1, 1))
    assert int.from_bytes(first) ^ int.from_bytes(last) == 2**38 - 1


def test_memory_is_constant() -> None:
    """No more than a megabyte at a time is asked of the source."""
    asked: list[int] = []

    class Source(io.BytesIO):
        """A source that remembers what was asked of it."""

        def read(self, size: int | None = -1) -> bytes:
            """Read."""
            asked.append(size if size is not None else -1)
            return super().read(size)

    target = io.BytesIO()
    chunked.encrypt_stream(
        KEY, Source(bytes(5_000_000)), target, context=b"", progress=lambda _: None
    )
    assert 0 < max(asked) <= 2**20
    assert min(asked) > 0
