# SPDX-License-Identifier: Apache-2.0
"""Who can open an encrypted file, as options say it and as headers tell it."""

import contextlib
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import click

from qpher_core import messages
from qpher_core.cli._files import read_bytes
from qpher_core.errors import DecryptionFailed, NotFound, ValidationError
from qpher_core.models import KeyVersion
from qpher_core.recipients import KeyRecipient, PublicKeyRecipient, Recipient
from qpher_core.session import Session

__all__ = ["RECIPIENTS", "own_key", "recipients_of"]

_VERSION: Final = re.compile("[0-9]{1,10}")

_KEYS: Final = click.option(
    "--to",
    "keys",
    multiple=True,
    metavar="ALGORITHM[:VERSION[:NAME]]",
    help="One more of your keys that can open it; repeatable.",
)
_PUBLIC_KEYS: Final = click.option(
    "--recipient",
    "public_keys",
    multiple=True,
    metavar="FILE",
    help="PEM of a public key whose owner can open it; repeatable.",
)


def RECIPIENTS(function: Callable[..., Any]) -> Callable[..., Any]:  # noqa: N802 - as options are
    """Give a command the options ``--to`` and ``--recipient``."""
    return _KEYS(_PUBLIC_KEYS(function))


def recipients_of(keys: Sequence[str], public_keys: Sequence[str]) -> list[Recipient]:
    """Return the recipients that the options name."""
    return [*map(_key, keys), *map(_public_key, public_keys)]


def own_key(session: Session, recipients: Sequence[bytes], name: str) -> KeyVersion:
    """Return the key version that can open a file, as far as its header tells.

    What it tells of a public key is its own; algorithm and version may be another tenant's too.

    Raises:
        DecryptionFailed: none of this tenant's can.
    """
    public = [wrapped for wrapped in recipients if messages.read_header(wrapped) is None]
    for key in session.keys.list() if public else ():
        if any(messages.is_for_public_key(wrapped, key) for wrapped in public):
            return key
    for header in filter(None, map(messages.read_header, recipients)):
        with contextlib.suppress(NotFound):
            return session.keys.get(header.algorithm, header.version, name=name)
    raise DecryptionFailed


def _key(text: str) -> KeyRecipient:
    algorithm, _, rest = text.partition(":")
    version, _, name = rest.partition(":")
    if version and not _VERSION.fullmatch(version):  # of thousands of digits Python makes no number
        raise ValidationError("--to must be ALGORITHM[:VERSION[:NAME]]", parameter="recipients")
    return KeyRecipient(algorithm, int(version) if version else None, name or "default").checked()


def _public_key(path: str) -> PublicKeyRecipient:
    try:
        return PublicKeyRecipient.from_pem(read_bytes(path).decode())
    except UnicodeDecodeError:
        raise ValidationError(f"{path} holds no PEM text", parameter="recipients") from None
