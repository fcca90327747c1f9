# SPDX-License-Identifier: Apache-2.0
"""Key encryption keys, held in memory or used through a MAC that is computed elsewhere."""

import base64
import binascii
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qpher_core.errors import ProtectorUnavailable

__all__ = [
    "KEK_BYTES",
    "Kek",
    "KekRing",
    "kek_id",
    "kek_line",
    "new_kek",
    "parse_kek",
    "parse_lines",
]

KEK_BYTES: Final = 32
_ID_BYTES: Final = 8
_ID_INFO: Final = b"qpher-core kek id 1"
_DERIVE_INFO: Final = b"qpher-core derive 1\x00"
_TAG: Final = "qpher-kek-1"


def new_kek() -> bytes:
    """Return a fresh key encryption key."""
    return secrets.token_bytes(KEK_BYTES)


def _derive(kek: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, None, info).derive(kek)


def kek_id(kek: bytes) -> str:
    """Return the id of a KEK. It follows from the KEK, so a wrong one never passes as right."""
    return _derive(kek, _ID_INFO, _ID_BYTES).hex()


def kek_line(kek: bytes) -> str:
    """Return a KEK as a line of text: ``qpher-kek-1 <id> <base64 of 32 bytes>``."""
    return f"{_TAG} {kek_id(kek)} {base64.b64encode(kek).decode()}\n"


class _Private:
    """Mix-in: this cannot leave the process."""

    def __reduce_ex__(self, _protocol: Any) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be pickled or copied")


class Kek(_Private):
    """One KEK: its id, and how keys are derived from it.

    Attributes:
        id: text that follows from the KEK.
        derive: returns the 32-byte key for some info.
    """

    def __init__(self, identifier: str, derive: Callable[[bytes], bytes]) -> None:
        self.id = identifier
        self.derive = derive

    def __repr__(self) -> str:
        return f"<Kek {self.id}>"

    @classmethod
    def held(cls, kek: bytes) -> "Kek":
        """Return a KEK that is held in memory; keys are derived with HKDF."""
        return cls(kek_id(kek), lambda info: _derive(kek, _DERIVE_INFO + info, KEK_BYTES))

    @classmethod
    def elsewhere(cls, mac: Callable[[bytes], bytes]) -> "Kek":
        """Return a KEK that is used where it is kept; keys are its MACs.

        Args:
            mac: returns the 32-byte HMAC-SHA256 of a message under the KEK.
        """
        identifier = mac(_ID_INFO)[:_ID_BYTES].hex()
        return cls(identifier, lambda info: mac(_DERIVE_INFO + info))


class KekRing(_Private):
    """Implements ``KeyProtector`` over several KEKs; the last one seals a new store.

    Args:
        keks: at least one.
        where: the URL, for messages; it begins with the scheme.
        reread: finds the KEKs anew; called when one is asked for that is not known yet, so that
            a KEK that was added while the service runs is found.
        release: called by ``close``.
        may_block: whether deriving leaves this process.
    """

    def __init__(
        self,
        keks: Sequence[Kek],
        where: str,
        *,
        reread: Callable[[], Sequence[Kek]] | None = None,
        release: Callable[[], None] = lambda: None,
        may_block: bool = False,
    ) -> None:
        self._where = where
        self._reread = reread
        self._release = release
        self.may_block = may_block or reread is not None
        self._take(keks)

    def __repr__(self) -> str:
        return f"<KekRing of {self._where}>"

    def _take(self, keks: Sequence[Kek]) -> None:
        self._keks: Mapping[str, Kek] = {kek.id: kek for kek in keks}
        self.kek_id = keks[-1].id

    def derive(self, kek_id: str, info: bytes) -> bytes:
        """Return the 32-byte key derived from a KEK for ``info``."""
        if kek_id not in self._keks and self._reread is not None:
            self._take(self._reread())
        kek = self._keks.get(kek_id)
        if kek is None:
            raise ProtectorUnavailable(f"{self._where} does not hold the KEK {kek_id}")
        return kek.derive(info)

    def close(self) -> None:
        """Forget the KEKs."""
        self._keks = {}
        self._reread = None
        release, self._release = self._release, lambda: None
        release()


def parse_kek(text: str, where: str) -> Kek:
    """Return the KEK that a base64 text holds."""
    try:
        kek = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        kek = b""
    if len(kek) != KEK_BYTES:
        raise ProtectorUnavailable(f"{where} is not the base64 text of 32 bytes")
    return Kek.held(kek)


def parse_lines(text: str, where: str) -> list[Kek]:
    """Return the KEKs that lines hold, of which there is at least one.

    Raises:
        ProtectorUnavailable: a line is no KEK; the message gives its number and not the line.
    """
    keks = [_parse_line(line, f"{where} line {n}") for n, line in enumerate(text.splitlines(), 1)]
    if not keks:
        raise ProtectorUnavailable(f"{where} holds no KEK")
    return keks


def _parse_line(line: str, where: str) -> Kek:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != _TAG:
        raise ProtectorUnavailable(f"{where} is not a KEK: '{_TAG} <id> <base64>'")
    kek = parse_kek(parts[2], where)
    if kek.id != parts[1]:
        raise ProtectorUnavailable(f"{where} is damaged: the id does not belong to the KEK")
    return kek
