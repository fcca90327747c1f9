# SPDX-License-Identifier: Apache-2.0
"""Models of encrypted fields: one key and context for all field keys."""

from typing import Annotated

from msgspec import Meta

from qpher_core.asgi.models import AlgorithmName, Context, Done, Model, Name, Version
from qpher_core.asgi.models_batch import Items
from qpher_core.asgi.strict_json import Base64

MOST_VALUES = 10_000


class WrapFieldKeys(Model):
    """Wrap keys of 32 bytes; ``values`` is how many values they are for."""

    field_keys: Items
    key_version: Version | None = None
    algorithm: AlgorithmName | None = None
    context: Context | None = None
    name: Name = "default"
    mode: str = "standard"
    salt: Base64 | None = None
    values: Annotated[int, Meta(ge=1, le=MOST_VALUES)] | None = None


class WrappedFieldKeys(Done, kw_only=True):
    """Wrapped keys, in order."""

    wrapped_keys: list[bytes]


class UnwrapFieldKeys(Model):
    """Return keys from the wrapped keys in the values of a field."""

    wrapped_keys: Items
    key_version: Version
    algorithm: AlgorithmName | None = None
    context: Context | None = None
    name: Name = "default"
    accept_compromised: bool = False


class FieldKeys(Done, kw_only=True):
    """Keys, in order; null in the place of one that cannot be opened."""

    field_keys: list[bytes | None]
