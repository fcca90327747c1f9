# SPDX-License-Identifier: Apache-2.0
"""The API key of a connection."""

from typing import Any, NoReturn

from qpher_core.api_key_format import parse_secret
from qpher_core.errors import ValidationError

__all__ = ["Credential"]


class Credential:
    """An API key that shows itself to the transport alone."""

    __slots__ = ("_header", "actor")

    def __init__(self, api_key: object) -> None:
        parts = parse_secret(api_key) if isinstance(api_key, str) else None
        if parts is None:
            raise ValidationError(
                "api_key must be an API key: qph_, its id and secret", parameter="api_key"
            )
        self._header = (b"x-api-key", str(api_key).encode())
        self.actor = f"key:{parts.id}"

    def __repr__(self) -> str:
        return f"<API key {self.actor}>"

    def __reduce_ex__(self, _protocol: Any) -> NoReturn:
        raise TypeError("an API key cannot be pickled or copied")

    def header(self) -> tuple[bytes, bytes]:
        """Return the header that carries it."""
        return self._header
