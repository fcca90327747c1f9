# SPDX-License-Identifier: Apache-2.0
"""``session.kem``, the part about files: of any size, for several recipients, read anywhere."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from attrs import frozen

from qpher_core import file_body, messages
from qpher_core.calls import Effect, KeyCall, KeySelector, Result
from qpher_core.chunked import KEY_BYTES, Progress, decrypt_stream, read_prefix
from qpher_core.encrypted_reader import EncryptedFile
from qpher_core.errors import DecryptionFailed, StateConflict, ValidationError
from qpher_core.file_archive import Joined, Separated, listed, new_folder
from qpher_core.file_body import Description
from qpher_core.file_header import FileHeader, replace_header
from qpher_core.file_io import FileSource, open_source, open_target, write_all
from qpher_core.models import (
    FileResult,
    FileRewrapResult,
    KeyRef,
    KeyUnwrapResult,
    KeyVersion,
    KeyWrapResult,
)
from qpher_core.operations import OPERATIONS
from qpher_core.public_files import seal_to_public_key
from qpher_core.recipients import MOST_RECIPIENTS, KeyRecipient, Recipient, check_recipients
from qpher_core.session_kem import WRAPPING_METHOD, Context, Kem, kem_selector
from qpher_core.validation import check_bytes, check_context, check_version

__all__ = ["FileKem"]

_DEFAULT: Final = "ML-KEM-768"


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


class FileKem(Kem):
    """KEM operations of one tenant, with those on files.

    Only the key of a file, 32 bytes, goes through the pipeline, or to a service elsewhere.
    """

    def encrypt_file(
        self,
        source: FileSource,
        target: FileSource,
        key_version: int | None = None,
        algorithm: str = _DEFAULT,
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
        algorithm: str = _DEFAULT,
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
        algorithm: str = _DEFAULT,
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
        algorithm: str = _DEFAULT,
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
        algorithm: str = _DEFAULT,
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

    def rewrap_file(
        self,
        path: str | os.PathLike[str],
        key_version: int,
        algorithm: str = _DEFAULT,
        *,
        to: Sequence[Recipient],
        name: str = "default",
        context: Context = None,
        keep_others: bool = True,
        accept_compromised: bool = False,
    ) -> FileRewrapResult:
        """Give a file other recipients by writing its header anew; its data stays where it is.

        At any moment the file has its old header or its new one, whole. Whoever kept a copy of
        the old header, or of the file's key, can go on reading the file.

        Args:
            path: the file.
            key_version: of the key that opens it now, whose place the new ones take.
            algorithm: of that key.
            to: the new recipients; with the same context.
            name: of the key that opens it now.
            context: the one that it was encrypted with.
            keep_others: whether its other recipients stay.
            accept_compromised: whether the key may be one that is marked as compromised.

        Raises:
            StateConflict: somebody else changed the file meanwhile.
        """
        selector = kem_selector(name, algorithm, check_version(key_version))
        bound = check_context(context)
        place = Path(os.path.realpath(path))
        with place.open("rb") as file:
            old = FileHeader.read(file)
        done, used = self._open_one(old, selector, bound, accept_compromised=accept_compromised)
        kept = [one for one in old.recipients if keep_others and one != used]
        wanted = check_recipients(to, least=1, most=MOST_RECIPIENTS - len(kept))
        sealed = [self._seal(done.value, one, bound) for one in wanted]
        new = old.with_recipients([*sealed, *kept])
        in_place = replace_header(place, old, new)
        if in_place is None:
            raise StateConflict(f"{path} was changed meanwhile")
        return FileRewrapResult(in_place=in_place, recipients=len(new.recipients), **done.common)

    def wrap_file_key(
        self,
        file_key: bytes,
        key_version: int | None = None,
        algorithm: str = _DEFAULT,
        *,
        name: str = "default",
        context: Context = None,
    ) -> KeyWrapResult:
        """Wrap the 32-byte key of a file that someone else encrypts (docs/formats.md, File)."""
        data = check_bytes(file_key, "file_key", sizes=(KEY_BYTES,))
        selector = kem_selector(name, algorithm, key_version)
        done = self._wrap_file_key(data, selector, check_context(context))
        return KeyWrapResult(wrapped_key=done.value, wrapping_method=WRAPPING_METHOD, **done.common)

    def unwrap_file_key(
        self,
        recipients: Sequence[bytes],
        key_version: int,
        algorithm: str = _DEFAULT,
        *,
        name: str = "default",
        context: Context = None,
        accept_compromised: bool = False,
    ) -> KeyUnwrapResult:
        """Return the 32-byte key of a file from the recipients in its header."""
        selector = kem_selector(name, algorithm, check_version(key_version))
        data = [check_bytes(recipient, "recipients") for recipient in recipients]
        done = self._unwrap_file_key(
            data, selector, check_context(context), accept_compromised=accept_compromised
        )
        return KeyUnwrapResult(symmetric_key=done.value, **done.common)

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

    def _seal(self, file_key: bytes, recipient: Recipient, bound: dict[str, str]) -> bytes:
        """Return the key of a file, encrypted to a recipient."""
        if isinstance(recipient, KeyRecipient):
            return self._wrap_own(file_key, recipient, bound).value
        return seal_to_public_key(file_key, recipient, bound)

    def _wrap_own(self, file_key: bytes, own: KeyRecipient, bound: dict[str, str]) -> Result[bytes]:
        selector = kem_selector(own.name, own.algorithm, own.key_version)
        return self._wrap_file_key(file_key, selector, bound)

    def _wrap_file_key(
        self, file_key: bytes, selector: KeySelector, bound: dict[str, str]
    ) -> Result[bytes]:
        kind = messages.Kind.FILE_KEY
        call = self._wrapping("kem.encrypt_file", kind, file_key, selector, bound)
        return self._pipeline.run(self._context, call)

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

    def _open_one(
        self,
        header: FileHeader,
        selector: KeySelector,
        bound: dict[str, str],
        *,
        accept_compromised: bool,
    ) -> tuple[Result[bytes], bytes]:
        """Return the file key, and which recipient gave it: tries those that may be this key."""
        ref = KeyRef(
            self._context.tenant_id, selector.name, selector.algorithm.name, selector.version or 0
        )
        key = self._keys.get(ref)
        fitting = [
            wrapped
            for wrapped in header.recipients
            if key is not None and messages.file_binding(wrapped, key, bound) is not None
        ]
        *first, last = fitting or [b""]  # with none that fits, the refusal is recorded too
        for wrapped in first:
            with contextlib.suppress(DecryptionFailed):
                return self._unwrap_file_key(
                    [wrapped], selector, bound, accept_compromised=accept_compromised
                ), wrapped
        return self._unwrap_file_key(
            [last], selector, bound, accept_compromised=accept_compromised
        ), last

    def _unwrap_file_key(
        self,
        recipients: Sequence[bytes],
        selector: KeySelector,
        bound: dict[str, str],
        *,
        accept_compromised: bool,
    ) -> Result[bytes]:
        """Open whichever recipient is the key that was asked for."""

        def execute(key: KeyVersion) -> Effect[bytes]:
            opened = self._keys.open_decapsulation(key)
            for wrapped in recipients:
                binding = messages.file_binding(wrapped, key, bound)
                if binding is not None:
                    # Of another tenant or name, as their header does not tell: try the next.
                    with contextlib.suppress(DecryptionFailed):
                        return Effect(messages.decrypt(opened, binding, wrapped), wrapped)
            raise DecryptionFailed

        call = KeyCall(
            operation=OPERATIONS["kem.decrypt_file"],
            selector=selector,
            context=bound,
            payload_bytes=sum(map(len, recipients)),
            accept_compromised=accept_compromised,
            inputs={"recipients": list(recipients), "context": bound},
            execute=execute,
        )
        return self._pipeline.run(self._context, call)
