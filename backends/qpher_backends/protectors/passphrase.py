# SPDX-License-Identifier: Apache-2.0
"""A key encryption key that follows from a passphrase: ``passphrase:///path?from=env:VARIABLE``.

The KEK is Argon2id (RFC 9106) of the passphrase. The file at the path holds the salt and the
parameters, and the id of the KEK as a check value: a wrong passphrase is refused at once. It is
not secret, but without it the passphrase is worth nothing, so it belongs into every backup.
"""

import base64
import json
import logging
import os
import secrets
import unicodedata
from pathlib import Path
from typing import Final, Self

from attrs import frozen
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from qpher_backends.protectors._files import create_once, read_private
from qpher_backends.protectors._kek import KEK_BYTES, Kek, KekRing, kek_id
from qpher_backends.protectors._url import absolute, refused, split
from qpher_core.errors import ProtectorUnavailable, ValidationError
from qpher_core.models import canonical_json

__all__ = ["Argon2Parameters", "open_protector", "open_with"]

_FORM: Final = "passphrase:///path?from=env:VARIABLE or ?from=file:/path"
_FORMAT: Final = "qpher-passphrase/1"
_LEAST: Final = 12  # characters of a passphrase for a new KEK
_SALT_BYTES: Final = 16
#: What is accepted from a file: nobody gains by weaker ones, and larger ones would only hang.
_MEMORY: Final = range(19 * 1024, 4 * 1024 * 1024 + 1)
_ITERATIONS: Final = range(1, 65)
_LANES: Final = range(1, 65)
_log: Final = logging.getLogger("qpher_core.protector")


@frozen
class Argon2Parameters:
    """Salt and cost. The defaults are the second recommendation of RFC 9106 section 4.

    Attributes:
        salt: 16 bytes.
        memory: in KiB.
        iterations: passes over the memory.
        lanes: degree of parallelism.
    """

    salt: bytes
    memory: int = 64 * 1024
    iterations: int = 3
    lanes: int = 4

    @classmethod
    def fresh(cls) -> Self:
        """Return the default parameters with a new salt."""
        return cls(secrets.token_bytes(_SALT_BYTES))

    def kek(self, passphrase: str) -> bytes:
        """Return the KEK that follows from a passphrase, in Unicode normal form C."""
        try:
            kdf = Argon2id(
                salt=self.salt,
                length=KEK_BYTES,
                iterations=self.iterations,
                lanes=self.lanes,
                memory_cost=self.memory,
            )
        except UnsupportedAlgorithm:
            raise ProtectorUnavailable("passphrase: this OpenSSL has no Argon2id") from None
        return kdf.derive(unicodedata.normalize("NFC", passphrase).encode())


def open_protector(url: str, *, create: bool) -> KekRing:
    """Open ``passphrase:///path?from=…``; the entry point.

    Args:
        url: where the parameters are, and where the passphrase is: in a variable of the
            environment, or in a file of its owner's alone (a newline at its end is left out).
        create: whether to make the file of the parameters if there is none.

    Raises:
        ProtectorUnavailable: the passphrase is wrong or missing, or the parameters are.
    """
    text, options = split(url, _FORM, "from")
    path = absolute(text, _FORM)
    return open_with(_passphrase(options.get("from", "")), path, create=create)


def open_with(passphrase: str, path: Path, *, create: bool) -> KekRing:
    """Open a protector with a passphrase that the caller asked for. See :func:`open_protector`."""
    where = f"passphrase://{path}"
    if create and not path.exists():
        _create(passphrase, path)
    parameters, expected = _read(path, where)
    kek = Kek.held(parameters.kek(passphrase))
    if kek.id != expected:
        raise ProtectorUnavailable(f"{where}: this is not the passphrase of the KEK {expected}")
    return KekRing([kek], where)


def _passphrase(source: str) -> str:
    kind, _, place = source.partition(":")
    if kind == "env" and place:
        if not (value := os.environ.get(place, "")):
            raise ProtectorUnavailable(f"passphrase: the variable {place} is not set")
        return value
    if kind == "file":
        data = read_private(absolute(place, _FORM))
        try:
            return data.decode().removesuffix("\n")
        except UnicodeDecodeError:
            raise ProtectorUnavailable(f"passphrase: {place} is not UTF-8 text") from None
    raise refused(_FORM)


def _create(passphrase: str, path: Path) -> None:
    if len(passphrase) < _LEAST:
        raise ValidationError(
            f"the passphrase of a new KEK must have at least {_LEAST} characters",
            parameter="protector",
        )
    parameters = Argon2Parameters.fresh()
    document = {
        "format": _FORMAT,
        "kdf": "Argon2id",
        "kek": kek_id(parameters.kek(passphrase)),
        "salt": base64.b64encode(parameters.salt).decode(),
        "memory": parameters.memory,
        "iterations": parameters.iterations,
        "lanes": parameters.lanes,
    }
    if create_once(path, canonical_json(document) + b"\n"):
        _log.warning("created %s; back it up: the passphrase alone does not give the KEK", path)


def _read(path: Path, where: str) -> tuple[Argon2Parameters, str]:
    try:
        document = json.loads(read_private(path))
        expected = {"format": _FORMAT, "kdf": "Argon2id"}
        known = {name: document[name] for name in expected} == expected
        salt = base64.b64decode(document["salt"], validate=True)
        numbers = [document[name] for name in ("memory", "iterations", "lanes")]
        kek = document["kek"]
    except (ValueError, KeyError, TypeError):
        raise ProtectorUnavailable(f"{where} holds no parameters of Argon2id") from None
    ranges = (_MEMORY, _ITERATIONS, _LANES)
    within = all(
        type(number) is int and number in allowed
        for number, allowed in zip(numbers, ranges, strict=True)
    )
    if not known or not within or len(salt) != _SALT_BYTES or not isinstance(kek, str):
        raise ProtectorUnavailable(f"{where} holds parameters that are not accepted")
    return Argon2Parameters(salt, *numbers), kek
