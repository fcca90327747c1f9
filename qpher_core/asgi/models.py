# SPDX-License-Identifier: Apache-2.0
"""What the models of all endpoints share. Models decode requests, and OpenAPI is made of them."""

from typing import Annotated

import msgspec
from msgspec import Meta

from qpher_core.algorithms import ALGORITHMS, DEFAULT_KEM, DEFAULT_SIGNATURE
from qpher_core.asgi.strict_json import Base64

Version = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
AlgorithmName = Annotated[
    str, Meta(description="A canonical name or an alias of the wire, such as Kyber768.")
]
Context = Annotated[dict[str, str], Meta(description="Bound into the result.", max_length=64)]

ContextString = Annotated[
    Base64, Meta(description="FIPS 204's context string itself, instead of context.")
]

#: Algorithms where a request names none, as the wire calls them.
KEM = ALGORITHMS[DEFAULT_KEM].wire_name
SIGNATURE = ALGORITHMS[DEFAULT_SIGNATURE].wire_name


class Model(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A request: unknown members are refused."""


class ReceiptInfo(msgspec.Struct):
    """Where the operation stands in the tenant's audit log; ``hash`` is hexadecimal."""

    seq: int
    hash: str


class Done(msgspec.Struct, kw_only=True):
    """What every answer of an operation on a key has."""

    key_version: int
    algorithm: str
    receipt: ReceiptInfo
