# SPDX-License-Identifier: Apache-2.0
"""One row of the table of endpoints, and what its handler gets and gives."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from attrs import field, frozen

from qpher_core.asgi.settings import Settings
from qpher_core.errors import QpherError, ValidationError
from qpher_core.models import ApiKey, RequestContext, Tenant
from qpher_core.service import Qpher
from qpher_core.session import Session

__all__ = ["Ask", "Endpoint", "Handler", "Nothing", "Raw", "limited"]


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """No parameters, or an empty object."""


@frozen(slots=False)
class Ask:
    """A request that has passed the gateway.

    Attributes:
        body: the decoded body; an instance of the endpoint's model.
        params: the decoded path and query parameters.
    """

    kms: Qpher
    settings: Settings
    context: RequestContext
    key: ApiKey
    tenant: Tenant
    body: Any = field(repr=False)
    params: Any = field(repr=False)

    @functools.cached_property
    def session(self) -> Session:
        """The session of the caller's tenant."""
        return self.kms.within(self.context)


@frozen
class Raw:
    """An answer outside of the envelope: pieces of a stream, the first of which may be there."""

    media_type: str
    pieces: Iterator[bytes] = field(repr=False)
    first: bytes = field(default=b"", repr=False)


Handler = Callable[[Ask], object]


@frozen(kw_only=True)
class Endpoint:
    """One endpoint.

    Attributes:
        path: below ``/api/v1``; parameters in braces are members of ``params``.
        handler: does the work, in a thread of its own.
        body: model of the request body; None where there is none.
        params: model of the path and query parameters.
        answer: model of ``data`` in the answer; None for a stream.
        operations: rows of the table of operations that it goes through.
        status: of success.
        sdk: the published SDK calls it.
        changes: it changes state, so that an ``Idempotency-Key`` counts.
        input_code: code of errors in the input that the library, not the model, finds.
        items: how many items it may carry; bodies may be larger where it is more than one.
        accepts_nothing: the body may be left out.
        brief: it uses one key, is soon done and changes no state, so that it may share a thread
            and a commit with others (``qpher_core.asgi.lanes``).
    """

    method: str
    path: str
    handler: Handler = field(repr=False)
    summary: str
    tag: str
    answer: type[msgspec.Struct] | None
    operations: tuple[str, ...]
    body: type[msgspec.Struct] | None = None
    params: type[msgspec.Struct] = Nothing
    status: int = 200
    sdk: bool = False
    changes: bool = False
    input_code: str | None = None
    items: int = 1
    accepts_nothing: bool = False
    brief: bool = False

    @property
    def administrative(self) -> bool:
        """Whether it needs the scope ``admin``, whoever's data it is about."""
        return self.path.startswith("/admin/")

    def translate(self, error: QpherError) -> QpherError:
        """Give an error that the library found in the input the code of this endpoint."""
        if (
            self.input_code is not None
            and isinstance(error, ValidationError)
            and error.code == ValidationError.default_code
        ):
            error.code = self.input_code
        return error


def limited(ask: Ask, data: bytes, parameter: str) -> bytes:
    """Return a payload that is not too large. Raises ``ValidationError``."""
    most = ask.settings.largest_payload
    if len(data) > most:
        raise ValidationError(
            f"{parameter} must have at most {most} bytes, decoded",
            parameter=parameter,
            code="ERR_INVALID_004",
        )
    return data
