# SPDX-License-Identifier: Apache-2.0
"""Encrypted files for public keys: no account, store or service is needed, on either side."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from qpher_core import file_body, messages
from qpher_core.algorithms import Kind, find
from qpher_core.chunked import Progress, decrypt_stream
from qpher_core.discovery import open_primitives
from qpher_core.errors import AlgorithmUnavailable, DecryptionFailed, ValidationError
from qpher_core.file_header import FileHeader
from qpher_core.file_io import FileSource, open_source, open_target, write_all
from qpher_core.protocols import DecapsulationKey, KemScheme
from qpher_core.recipients import PublicKeyRecipient, check_recipients
from qpher_core.validation import check_bytes, check_context

__all__ = ["decrypt_file", "encrypt_file", "seal_to_public_key"]

Context = Mapping[str, str] | None


def encrypt_file(
    source: FileSource,
    target: FileSource,
    recipients: Sequence[PublicKeyRecipient],
    *,
    context: Context = None,
    metadata: Context = None,
    progress: Progress = lambda _: None,
) -> int:
    """Encrypt a file of any size to public keys, in constant memory; return its bytes.

    Nothing says who encrypted it: sign it where that matters.

    Args:
        source: path or binary file to read, such as a pipe.
        target: path or binary file to write; a path appears only when it is complete.
        recipients: from 1 to 255. Where their keys come from decides what it is worth.
        context: text that must be given again to decrypt; it is not stored.
        metadata: text that is stored with the file, encrypted and authenticated.
        progress: called with the number of plaintext bytes of each piece.

    Raises:
        ValidationError: a parameter is not what it must be.
        AlgorithmUnavailable: no installed provider has a recipient's algorithm.
    """
    bound, described = check_context(context), file_body.Description.of(metadata)
    file_key = file_body.new_file_key()
    sealed = [
        seal_to_public_key(file_key, recipient, bound)
        for recipient in check_recipients(recipients, kinds=(PublicKeyRecipient,), least=1)
    ]
    with open_source(source) as reading, open_target(target) as writing:
        write_all(writing, FileHeader.new(sealed).encode())
        return file_body.write_body(file_key, described, reading, writing, progress)


def decrypt_file(
    source: FileSource,
    target: FileSource,
    seed: bytes,
    algorithm: str,
    *,
    context: Context = None,
    progress: Progress = lambda _: None,
) -> dict[str, str]:
    """Decrypt a file that was encrypted to a public key; return its metadata.

    Args:
        source: path or binary file to read.
        target: path or binary file to write; a path appears only if all of it authenticated.
        seed: the private key: of ML-KEM d ‖ z, 64 bytes (FIPS 203); of X-Wing 32 bytes.
        algorithm: of that key.
        context: the one that it was encrypted with.
        progress: called with the number of plaintext bytes of each piece.

    Raises:
        DecryptionFailed: it cannot be decrypted, for whatever cause.
        ValidationError: the file holds several, or a parameter is not what it must be.
    """
    bound = check_context(context)
    key = _private_key(seed, algorithm)
    try:
        with open_source(source) as reading, open_target(target) as writing:
            header = FileHeader.read(reading)
            file_key = _file_key(header.recipients, key, find(algorithm).name, bound)
            described, stream = file_body.read_description(
                file_key, reading, legacy=header.is_legacy
            )
            if described.files is not None:
                raise ValidationError("source holds several files", parameter="source")
            decrypt_stream(file_key, reading, writing, context=stream, progress=progress)
    finally:
        key.close()
    return described.metadata


def seal_to_public_key(
    file_key: bytes, recipient: PublicKeyRecipient, context: dict[str, str]
) -> bytes:
    """Return the key of a file, encrypted to a public key: a message of kind PUBLIC_FILE_KEY."""
    try:
        key = _scheme(recipient.algorithm).open_encapsulation_key(recipient.public_key)
    except ValueError:
        raise ValidationError(
            f"public_key must be a key of {recipient.algorithm}", parameter="public_key"
        ) from None
    binding = messages.PublicBinding(recipient.algorithm, recipient.public_key, context)
    return messages.encrypt(key, binding, file_key)


def _file_key(
    recipients: Sequence[bytes], key: DecapsulationKey, algorithm: str, context: dict[str, str]
) -> bytes:
    binding = messages.PublicBinding(algorithm, key.encapsulation_key, context)
    for wrapped in recipients:
        with contextlib.suppress(DecryptionFailed):
            return messages.decrypt(key, binding, wrapped)
    raise DecryptionFailed


def _private_key(seed: Any, algorithm: str) -> DecapsulationKey:
    try:
        return _scheme(algorithm).open_seed(check_bytes(seed, "seed"))
    except ValueError:
        raise ValidationError(f"seed must be one of {algorithm}", parameter="seed") from None


def _scheme(algorithm: str) -> KemScheme:
    row = find(algorithm, kind=Kind.KEM)
    scheme = open_primitives(None).kems.get(row.name)
    if scheme is None:
        raise AlgorithmUnavailable(f"{row.name}: {row.how_to_get}")
    return scheme
