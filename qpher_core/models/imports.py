# SPDX-License-Identifier: Apache-2.0
"""What a caller needs to bring a private key."""

import base64
import json
import uuid
from typing import Final, Self

from attrs import field, frozen

from qpher_core.errors import ValidationError
from qpher_core.models.encoding import canonical_json

__all__ = ["ImportParameters"]

_FORMAT: Final = "qpher-import-parameters/1"


@frozen
class ImportParameters:
    """What a caller needs to wrap a private key for a tenant: ``qpher_core.wrap_private_key``.

    Attributes:
        tenant_id: the tenant that the key is for.
        algorithm: KEM of the import key.
        key_version: its version.
        encapsulation_key: its public part. Check where it comes from: who can exchange it reads
            the private keys that are wrapped to it.
    """

    tenant_id: uuid.UUID
    algorithm: str
    key_version: int
    encapsulation_key: bytes = field(repr=lambda b: f"<{len(b)} bytes>")

    def to_json(self) -> str:
        """Return them as text, for a machine without a connection."""
        return canonical_json(
            {
                "format": _FORMAT,
                "tenant": str(self.tenant_id),
                "algorithm": self.algorithm,
                "key_version": self.key_version,
                "encapsulation_key": base64.b64encode(self.encapsulation_key).decode(),
            }
        ).decode()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the parameters of a text.

        Raises:
            ValidationError: it holds something else.
        """
        try:
            document = json.loads(text)
            parameters = cls(
                uuid.UUID(str(document["tenant"])),
                str(document["algorithm"]),
                int(str(document["key_version"])),
                base64.b64decode(document["encapsulation_key"], validate=True),
            )
            expected = parameters.to_json()
        except (ValueError, KeyError, TypeError, RecursionError):
            expected = None
        if expected is None or json.loads(expected) != document:
            raise ValidationError("text must be import parameters", parameter="text")
        return parameters
