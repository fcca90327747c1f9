# SPDX-License-Identifier: Apache-2.0
"""Key encryption keys in a file: ``file:///path``.

The file holds one line for each KEK, ``qpher-kek-1 <id> <base64 of 32 bytes>``; the last line is
the one in use. It belongs to its owner alone (mode 0600), which is checked at every opening.
"""

import base64
import binascii
import logging
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from qpher_backends.protectors._kek import KEK_BYTES, KekRing, kek_id, new_kek
from qpher_core.errors import ProtectorUnavailable, ValidationError

__all__ = ["open_protector"]

_SCHEME: Final = "file://"
_TAG: Final = "qpher-kek-1"
_log: Final = logging.getLogger("qpher_core.protector")


def open_protector(url: str, *, create: bool) -> KekRing:
    """Open ``file:///absolute/path``; the entry point.

    Args:
        url: where the file is.
        create: whether to make the file, with a new KEK, if there is none.

    Raises:
        ProtectorUnavailable: the file is missing, malformed, or readable by others.
    """
    path = Path(url.removeprefix(_SCHEME))
    if not url.startswith(_SCHEME) or not path.is_absolute():
        raise ValidationError("protector must be file:///absolute/path", parameter="protector")
    if create and not path.exists():
        _create(path)
    return KekRing(_read(path), str(path))


def _create(path: Path) -> None:
    """Make the file with a new KEK, complete and durable, unless another process was faster."""
    kek = new_kek()
    line = f"{_TAG} {kek_id(kek)} {base64.b64encode(kek).decode()}\n".encode()
    try:
        handle, partial = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".new", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:  # mkstemp gave it mode 0600
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            # A link, unlike a rename, never replaces the KEK that another process made.
            os.link(partial, path)
        finally:
            Path(partial).unlink()
        _sync_directory(path.parent)
    except FileExistsError:
        return  # another process was faster; its KEK is the one
    except OSError as error:
        raise ProtectorUnavailable(f"cannot create {path}: {error.strerror}") from error
    _log.warning(
        "created a key encryption key; back up %s: without it no key in the store can be used",
        path,
    )


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ProtectorUnavailable(
                    f"{path} must have mode 0600, not {mode:04o}: others may read it"
                )
            lines = file.read().decode("ascii", "replace").splitlines()
    except OSError as error:
        raise ProtectorUnavailable(f"cannot read {path}: {error.strerror}") from error
    keks = [_parse(line, f"{path} line {number}") for number, line in enumerate(lines, 1)]
    if not keks:
        raise ProtectorUnavailable(f"{path} holds no KEK")
    return keks


def _parse(line: str, where: str) -> bytes:
    parts = line.split(" ")
    try:
        tag, identifier, encoded = parts
        kek = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        raise ProtectorUnavailable(f"{where} is not '{_TAG} <id> <base64>'") from None
    if tag != _TAG or len(kek) != KEK_BYTES or kek_id(kek) != identifier:
        raise ProtectorUnavailable(f"{where} is damaged: the id does not belong to the KEK")
    return kek
