# SPDX-License-Identifier: Apache-2.0
"""Bodies of encrypted files: a description, then the content (docs/formats.md, File).

    format 2: length of the description (4) ‖ description ‖ content
    format 1: content

Both are streams of chunked encryption under the file key. The content is bound to the
description, so neither belongs to another file. The description is canonical JSON:
``{"files": null or [[name, bytes], …], "metadata": {…}}``.
"""

import contextlib
import hashlib
import io
import itertools
import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Final

from attrs import field, frozen

from qpher_core import chunked
from qpher_core.errors import DecryptionFailed, ValidationError
from qpher_core.file_io import read_up_to, write_all
from qpher_core.models import canonical_json
from qpher_core.validation import check_context, check_count, check_text

__all__ = [
    "Description",
    "body_bytes",
    "new_file_key",
    "read_description",
    "write_body",
]

_LENGTH_BYTES: Final = 4
_LONGEST: Final = 4 << 20
_LONGEST_NAME: Final = 4096
_MOST_FOLDERS: Final = 255  # Python makes and removes nested folders by recursion

_LEGACY_CONTENT: Final = b"qpher-file/1"
_DESCRIPTION: Final = b"qpher-file/2 description"
_CONTENT: Final = b"qpher-file/2 content"


def new_file_key() -> bytes:
    """Return a fresh 32-byte file key."""
    return secrets.token_bytes(chunked.KEY_BYTES)


@frozen
class Description:
    """What is in an encrypted file beside the content.

    Attributes:
        metadata: the caller's own.
        files: where the content is several files one after another, their names and bytes.
    """

    metadata: dict[str, str] = field(factory=dict, repr=False)
    files: tuple[tuple[str, int], ...] | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        metadata: Mapping[str, str] | None,
        files: Sequence[tuple[str, int]] | None = None,
    ) -> "Description":
        """Return one of checked members.

        Raises:
            ValidationError: metadata is no mapping of text, or names are twice there, lead out of
                a folder, go more than 255 folders deep, or name a file as well as its folder.
        """
        checked = check_context(metadata, "metadata")
        if files is None:
            return cls(checked)
        _check_names([name for name, _ in files])
        return cls(checked, tuple((name, check_count(size, "files")) for name, size in files))

    @property
    def files_bytes(self) -> int | None:
        """How long the content must be, where it is several files."""
        return None if self.files is None else sum(size for _, size in self.files)

    def encode(self) -> bytes:
        """Return its bytes.

        Raises:
            ValidationError: it has more than 4 MiB.
        """
        files = None if self.files is None else [[name, size] for name, size in self.files]
        data = canonical_json({"files": files, "metadata": self.metadata})
        if len(data) > _LONGEST:
            raise ValidationError("metadata must have at most 4 MiB", parameter="metadata")
        return data

    @classmethod
    def decode(cls, data: bytes) -> "Description":
        """Return the one of some bytes, or raise :class:`DecryptionFailed`."""
        # Raised outside the handler, so that nothing is chained to it.
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError, ValidationError):
            document: Any = json.loads(data)
            files = document["files"]
            pairs = None if files is None else [(name, size) for name, size in files]
            decoded = cls.of(document["metadata"], pairs)
            if decoded.encode() == data:
                return decoded
        raise DecryptionFailed


def write_body(
    key: bytes,
    description: Description,
    source: BinaryIO,
    target: BinaryIO,
    progress: chunked.Progress,
) -> int:
    """Write a body of format 2 and return the length of its content in bytes."""
    sealed = io.BytesIO()
    plain = io.BytesIO(description.encode())
    chunked.encrypt_stream(key, plain, sealed, context=_DESCRIPTION, progress=lambda _: None)
    data = sealed.getvalue()
    write_all(target, len(data).to_bytes(_LENGTH_BYTES) + data)
    context = _content_context(data)
    return chunked.encrypt_stream(key, source, target, context=context, progress=progress)


def read_description(key: bytes, source: BinaryIO, *, legacy: bool) -> tuple[Description, bytes]:
    """Read up to the content; return the description and the context of the content.

    Raises:
        DecryptionFailed: the description was made under another key, cut or altered.
    """
    if legacy:
        return Description(), _LEGACY_CONTENT
    length = int.from_bytes(read_up_to(source, _LENGTH_BYTES))
    if length > chunked.encrypted_bytes(_LONGEST):
        raise DecryptionFailed
    sealed = read_up_to(source, length)
    plain = io.BytesIO()
    chunked.decrypt_stream(
        key, io.BytesIO(sealed), plain, context=_DESCRIPTION, progress=lambda _: None
    )
    return Description.decode(plain.getvalue()), _content_context(sealed)


def body_bytes(description: Description, length: int, *, legacy: bool) -> int:
    """Return how long the body is that has so many bytes of content."""
    if legacy:
        return chunked.encrypted_bytes(length)
    described = chunked.encrypted_bytes(len(description.encode()))
    return _LENGTH_BYTES + described + chunked.encrypted_bytes(length)


def _content_context(sealed_description: bytes) -> bytes:
    return _CONTENT + hashlib.sha256(sealed_description).digest()


def _check_names(names: Sequence[object]) -> None:
    """Refuse names that would leave the folder or lie too deep, or cannot all be files of it."""
    split = []
    for name in names:
        parts = check_text(name, "files", longest=_LONGEST_NAME).split("/")
        if any(part in {"", ".", ".."} or "\\" in part for part in parts):
            raise ValidationError(
                "files must have relative names, without '..' and backslashes", parameter="files"
            )
        if len(parts) > _MOST_FOLDERS + 1:
            raise ValidationError(
                f"files must be in at most {_MOST_FOLDERS} nested folders", parameter="files"
            )
        split.append(parts)
    # In order, a name is followed at once by itself or by what would be in it as a folder.
    if any(after[: len(name)] == name for name, after in itertools.pairwise(sorted(split))):
        raise ValidationError("files must have different names", parameter="files")
