# SPDX-License-Identifier: Apache-2.0
"""Key encryption keys in a file: ``file:///path``.

The file holds one line for each KEK, ``qpher-kek-1 <id> <base64 of 32 bytes>``; the last line is
the one that seals a new store. It belongs to its owner alone (mode 0600), which is checked at
every reading. A KEK that is added while a service runs is found when it is first asked for.
"""

import logging
from pathlib import Path
from typing import Final

from qpher_backends.protectors._files import append_line, create_once, read_private
from qpher_backends.protectors._kek import Kek, KekRing, kek_id, kek_line, new_kek, parse_lines
from qpher_core.errors import ValidationError

__all__ = ["FileKeks", "open_protector"]

_SCHEME: Final = "file://"
_log: Final = logging.getLogger("qpher_core.protector")


class FileKeks(KekRing):
    """The KEKs of one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__(_read(path), f"{_SCHEME}{path}", reread=lambda: _read(path))

    def renew(self) -> str:
        """Add a new KEK to the file and return its id; it seals nothing yet."""
        kek = new_kek()
        append_line(self._path, kek_line(kek).encode())
        self._take(_read(self._path))
        _log.warning("added the key encryption key %s; back up %s again", kek_id(kek), self._path)
        return kek_id(kek)


def open_protector(url: str, *, create: bool) -> FileKeks:
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
    if create and not path.exists() and create_once(path, kek_line(new_kek()).encode()):
        _log.warning(
            "created a key encryption key; back up %s: without it no key in the store can be used",
            path,
        )
    return FileKeks(path)


def _read(path: Path) -> list[Kek]:
    return parse_lines(read_private(path).decode("ascii", "replace"), str(path))
