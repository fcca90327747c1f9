# SPDX-License-Identifier: Apache-2.0
"""``session.kem``, the part about the keys of files, which are in their headers."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from qpher_core import messages
from qpher_core.algorithms import DEFAULT_KEM
from qpher_core.calls import Effect, KeyCall, KeySelector, Result
from qpher_core.chunked import KEY_BYTES
from qpher_core.errors import DecryptionFailed, StateConflict
from qpher_core.file_header import FileHeader, replace_header
from qpher_core.models import KeyRef, KeyVersion
from qpher_core.operations import OPERATIONS
from qpher_core.public_files import seal_to_public_key
from qpher_core.recipients import MOST_RECIPIENTS, KeyRecipient, Recipient, check_recipients
from qpher_core.results import FileRewrapResult, KeyUnwrapResult, KeyWrapResult
from qpher_core.session_kem import WRAPPING_METHOD, Context, Kem, kem_selector
from qpher_core.validation import check_bytes, check_context, check_version

__all__ = ["FileKeyKem"]


class FileKeyKem(Kem):
    """KEM operations of one tenant, with those on the keys of files.

    Only the key of a file, 32 bytes, goes through the pipeline, or to a service elsewhere.
    """

    def rewrap_file(
        self,
        path: str | os.PathLike[str],
        key_version: int,
        algorithm: str = DEFAULT_KEM,
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
        algorithm: str = DEFAULT_KEM,
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
        algorithm: str = DEFAULT_KEM,
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
