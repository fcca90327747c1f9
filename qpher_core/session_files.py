# SPDX-License-Identifier: Apache-2.0
"""``session.kem``, the part about files: of any size, for several recipients, read anywhere."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from attrs import frozen

from qpher_core import file_body
from qpher_core.algorithms import DEFAULT_KEM
from qpher_core.calls import KeySelector, Result
from qpher_core.chunked import Progress, decrypt_stream, read_prefix
from qpher_core.encrypted_reader import EncryptedFile
from qpher_core.errors import ValidationError
from qpher_core.file_archive import Joined, Separated, listed, new_folder
from qpher_core.file_body import Description
from qpher_core.file_header import FileHeader
from qpher_core.file_io import FileSource, open_source, open_target, write_all
from qpher_core.recipients import MOST_RECIPIENTS, KeyRecipient, Recipient, check_recipients
from qpher_core.results import FileResult
from qpher_core.session_file_keys import FileKeyKem
from qpher_core.session_kem import Context, kem_selector
from qpher_core.validation import check_context, check_version

__all__ = ["FileKem"]


def _silent(_: int) -> None:
    """Tell nobody of progress."""


@frozen
class _Opened:
    """A file whose header is read and whose key is known."""

    reading: BinaryIO
    header: FileHeader
    file_key: bytes
    description: Description
    context: bytes
    done: Result[bytes]

    def result(self, length: int) -> FileResult:
        """Return what the caller gets for content of so many bytes."""
        legacy = self.header.is_legacy
        body = file_body.body_bytes(self.description, length, legacy=legacy)
        return FileResult(
            plaintext_bytes=length,
            ciphertext_bytes=len(self.header.encode()) + body,
            metadata=self.description.metadata,
            **self.done.common,
        )


class FileKem(FileKeyKem):
    """KEM operations of one tenant, with those on files."""

    def encrypt_file(
        self,
        source: FileSource,
        target: FileSource,
        key_version: int | None = None,
        algorithm: str = DEFAULT_KEM,
        *,
        name: str = "default",
        context: Context = None,
        recipients: Sequence[Recipient] = (),
        metadata: Mapping[str, str] | None = None,
        progress: Progress = _silent,
    ) -> FileResult:
        """Encrypt a file of any size in constant memory.

        Args:
            source: path or binary file to read, such as a pipe.
            target: path or binary file to write; a path appears only when it is complete.
            key_version: key version, from 1; the active one where none is given.
            algorithm: a KEM.
            name: key name.
            context: text that must be given again to decrypt; it is not stored.
            recipients: who else can open the file, with the same context. Each own key is asked
                for and recorded like the first one; public keys are nobody's to decide on here.
            metadata: text that is stored with the file, encrypted and authenticated.
            progress: called with the number of plaintext bytes of each piece.
        """
        own = KeyRecipient(algorithm, key_version, name)
        described = Description.of(metadata)
        with open_source(source) as reading, open_target(target) as writing:
            return self._encrypt(
                reading, writing, own, recipients, check_context(context), described, progress
            )

    def encrypt_files(
        self,
        sources: Mapping[str, str | os.PathLike[str]],
        target: FileSource,
        key_version: int | None = None,
        algorithm: str = DEFAULT_KEM,
        *,
        name: str = "default",
        context: Context = None,
        recipients: Sequence[Recipient] = (),
        metadata: Mapping[str, str] | None = None,
        progress: Progress = _silent,
    ) -> FileResult:
        """Encrypt several files into one, under one header.

        Args:
            sources: name in the encrypted file (relative, with ``/``) to path, in their order.
                They must not change meanwhile.
            target: as for :meth:`encrypt_file`, and so are the others.
            key_version: key version, from 1; the active one where none is given.
            algorithm: a KEM.
            name: key name.
            context: text that must be given again to decrypt.
            recipients: who else can open the file.
            metadata: text that is stored with the file.
            progress: called with the number of plaintext bytes of each piece.
        """
        own = KeyRecipient(algorithm, key_version, name)
        paths, described = listed(sources, metadata)
        with Joined(paths, described) as reading, open_target(target) as writing:
            return self._encrypt(
                reading, writing, own, recipients, check_context(context), described, progress
            )

    def decrypt_file(
        self,
        source: FileSource,
        target: FileSource,
        key_version: int,
        algorithm: str = DEFAULT_KEM,
        *,
        name: str = "default",
        context: Context = None,
        accept_compromised: bool = False,
        progress: Progress = _silent,
    ) -> FileResult:
        """Decrypt a file. A path appears under its name only if all of it authenticated.

        A ``target`` that is a file object receives authenticated pieces as they come; discard
        it when this raises ``DecryptionFailed``: the stream was cut or altered further on.

        Raises:
            ValidationError: the file holds several: see :meth:`decrypt_files`.
        """
        selector = kem_selector(name, algorithm, check_version(key_version))
        bound = check_context(context)
        with open_source(source) as reading, open_target(target) as writing:
            opened = self._open(reading, selector, bound, accept_compromised=accept_compromised)
            if opened.description.files is not None:
                raise ValidationError(
                    "source holds several files: decrypt_files writes them", parameter="source"
                )
            return self._decrypt(opened, writing, progress)

    def decrypt_files(
        self,
        source: FileSource,
        folder: str | os.PathLike[str],
        key_version: int,
        algorithm: str = DEFAULT_KEM,
        *,
        name: str = "default",
        context: Context = None,
        accept_compromised: bool = False,
        progress: Progress = _silent,
    ) -> FileResult:
        """Decrypt a file that holds several, into a new folder, which appears complete or not.

        Raises:
            ValidationError: the folder exists, or the file holds a single one.
        """
        selector = kem_selector(name, algorithm, check_version(key_version))
        bound = check_context(context)
        with open_source(source) as reading, new_folder(folder) as place:
            opened = self._open(reading, selector, bound, accept_compromised=accept_compromised)
            if opened.description.files is None:
                raise ValidationError(
                    "source holds a single file: decrypt_file writes it", parameter="source"
                )
            with Separated(place, opened.description.files) as writing:
                return self._decrypt(opened, writing, progress)

    def open_encrypted(
        self,
        source: FileSource,
        key_version: int,
        algorithm: str = DEFAULT_KEM,
        *,
        name: str = "default",
        context: Context = None,
        accept_compromised: bool = False,
    ) -> EncryptedFile:
        """Open an encrypted file for reading at any place, without decrypting the rest.

        Args:
            source: path, or a seekable binary file, which this uses until it is closed.
            key_version: key version, from 1.
            algorithm: a KEM.
            name: key name.
            context: the one that it was encrypted with.
            accept_compromised: whether the key may be one that is marked as compromised.

        Raises:
            ValidationError: the source is not seekable.
        """
        selector = kem_selector(name, algorithm, check_version(key_version))
        bound = check_context(context)
        stack = contextlib.ExitStack()
        try:
            reading = stack.enter_context(open_source(source))
            if not reading.seekable():
                raise ValidationError("source must be seekable", parameter="source")
            opened = self._open(reading, selector, bound, accept_compromised=accept_compromised)
            cipher = read_prefix(opened.file_key, reading, opened.context)
            return EncryptedFile(reading, cipher, opened.description, stack.close)
        except BaseException:
            stack.close()
            raise

    # --- how -----------------------------------------------------------------------------------

    def _encrypt(
        self,
        reading: BinaryIO,
        writing: BinaryIO,
        own: KeyRecipient,
        others: Sequence[Recipient],
        bound: dict[str, str],
        description: Description,
        progress: Progress,
    ) -> FileResult:
        checked = check_recipients(others, most=MOST_RECIPIENTS - 1)
        file_key = file_body.new_file_key()
        done = self._wrap_own(file_key, own, bound)
        header = FileHeader.new(
            [done.value, *(self._seal(file_key, one, bound) for one in checked)]
        )
        write_all(writing, header.encode())
        total = file_body.write_body(file_key, description, reading, writing, progress)
        opened = _Opened(reading, header, file_key, description, b"", done)
        return opened.result(total)

    def _decrypt(self, opened: _Opened, writing: BinaryIO, progress: Progress) -> FileResult:
        total = decrypt_stream(
            opened.file_key, opened.reading, writing, context=opened.context, progress=progress
        )
        return opened.result(total)

    def _open(
        self,
        reading: BinaryIO,
        selector: KeySelector,
        bound: dict[str, str],
        *,
        accept_compromised: bool,
    ) -> _Opened:
        header = FileHeader.read(reading)
        done = self._unwrap_file_key(
            header.recipients, selector, bound, accept_compromised=accept_compromised
        )
        described = file_body.read_description(done.value, reading, legacy=header.is_legacy)
        return _Opened(reading, header, done.value, *described, done)
