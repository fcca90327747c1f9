# SPDX-License-Identifier: Apache-2.0
"""Who can open an encrypted file: key versions of a tenant, and public keys of anyone."""

from collections.abc import Sequence
from typing import Final, Self, TypeAlias, TypeVar

from attrs import field, frozen

from qpher_core.algorithms import DEFAULT_KEM, Kind, find
from qpher_core.errors import ValidationError
from qpher_core.public_keys import parse_pem
from qpher_core.validation import check_bytes, check_name, check_version

__all__ = ["MOST_RECIPIENTS", "KeyRecipient", "PublicKeyRecipient", "Recipient", "check_recipients"]

#: Of one file; their number is one byte of its header.
MOST_RECIPIENTS: Final = 255


@frozen
class KeyRecipient:
    """A key version of the tenant itself.

    Attributes:
        algorithm: a KEM.
        key_version: from 1; the active one where none is given.
        name: key name.
    """

    algorithm: str = DEFAULT_KEM
    key_version: int | None = None
    name: str = "default"

    def checked(self) -> Self:
        """Return it with the canonical name of its algorithm.

        Raises:
            ValidationError: a member is not what it must be.
        """
        version = None if self.key_version is None else check_version(self.key_version)
        row = find(self.algorithm, kind=Kind.KEM)
        return type(self)(row.name, version, check_name(self.name, "name"))


@frozen
class PublicKeyRecipient:
    """A public key, whoever holds its private key: no account anywhere is needed.

    Attributes:
        algorithm: a KEM.
        public_key: the raw encapsulation key.
    """

    algorithm: str
    public_key: bytes = field(repr=lambda b: f"<{len(b)} bytes>")

    @classmethod
    def from_pem(cls, text: str) -> Self:
        """Return the recipient of a PEM text (``PUBLIC KEY``).

        Raises:
            ValidationError: it holds something else, or a key of another kind of algorithm.
        """
        return cls(*parse_pem(text)).checked()

    def checked(self) -> Self:
        """Return it with the canonical name of its algorithm.

        Raises:
            ValidationError: the algorithm is no KEM, or the key has not its length.
        """
        row = find(self.algorithm, kind=Kind.KEM)
        key = check_bytes(self.public_key, "public_key", sizes=(row.public_key_bytes,))
        return type(self)(row.name, key)


#: Who can open a file.
Recipient: TypeAlias = KeyRecipient | PublicKeyRecipient

R = TypeVar("R", KeyRecipient, PublicKeyRecipient, Recipient)


def check_recipients(
    recipients: Sequence[R],
    *,
    kinds: tuple[type[Recipient], ...] = (KeyRecipient, PublicKeyRecipient),
    least: int = 0,
    most: int = MOST_RECIPIENTS,
) -> list[R]:
    """Return recipients as a list, their algorithms and lengths checked.

    Raises:
        ValidationError: they are something else, too few or too many.
    """
    if not isinstance(recipients, Sequence) or not all(isinstance(r, kinds) for r in recipients):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise ValidationError(f"recipients must be a list of {names}", parameter="recipients")
    if not least <= len(recipients) <= most:
        raise ValidationError(
            f"recipients must be from {least} to {most}, not {len(recipients)}",
            parameter="recipients",
        )
    return [recipient.checked() for recipient in recipients]
