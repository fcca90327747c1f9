# SPDX-License-Identifier: Apache-2.0
"""A key encryption key in the keyring of the desktop or the system: ``keyring://service/name``.

Which keyring that is, the package ``keyring`` decides: Secret Service, macOS Keychain, Windows
Credential Locker, or what its configuration names. The entry holds the line of a KEK file.
"""

import fcntl
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import keyring as library
from keyring.errors import KeyringError

from qpher_backends.protectors._kek import Kek, KekRing, kek_line, new_kek, parse_lines
from qpher_backends.protectors._url import refused, split
from qpher_core.errors import ProtectorUnavailable

__all__ = ["open_protector"]

_FORM: Final = "keyring://service/name"
_log: Final = logging.getLogger("qpher_core.protector")


def open_protector(url: str, *, create: bool) -> KekRing:
    """Open ``keyring://service/name``; the entry point.

    Raises:
        ProtectorUnavailable: there is no keyring, it is locked, or it lacks the entry.
    """
    service, _, name = split(url, _FORM)[0].partition("/")
    if not service or not name:
        raise refused(_FORM)
    where = f"keyring://{service}/{name}"

    def read() -> list[Kek]:
        text = _get(service, name, where)
        if text is None:
            raise ProtectorUnavailable(f"{where} is not in the keyring")
        return parse_lines(text, where)

    if create and _get(service, name, where) is None:
        with _alone(where):  # a keyring cannot tell whether an entry was there before
            if _get(service, name, where) is None:
                _set(service, name, kek_line(new_kek()), where)
                _log.warning("created a key encryption key in the keyring; back up %s", where)
    return KekRing(read(), where, reread=read)


def _get(service: str, name: str, where: str) -> str | None:
    try:
        return library.get_password(service, name)
    except KeyringError as error:
        raise ProtectorUnavailable(f"{where}: {type(error).__name__}") from None


def _set(service: str, name: str, text: str, where: str) -> None:
    try:
        library.set_password(service, name, text)
    except KeyringError as error:
        raise ProtectorUnavailable(f"{where}: {type(error).__name__}") from None


@contextmanager
def _alone(where: str) -> Iterator[None]:
    """Keep other processes of this user from making an entry at the same time."""
    path = Path(tempfile.gettempdir()) / f"qpher-keyring-{os.getuid()}.lock"
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        handle = os.open(path, flags, 0o600)
    except OSError as error:
        raise ProtectorUnavailable(f"{where}: cannot lock {path}: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
