# SPDX-License-Identifier: Apache-2.0
"""The one form of every answer, and the status of every error."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

import msgspec
from attrs import field, frozen

from qpher_core import errors
from qpher_core.errors import (
    AlgorithmUnavailable,
    AuthenticationError,
    DecryptionFailed,
    IntegrityError,
    NotFound,
    PermissionDenied,
    QpherError,
    RateLimited,
    StateConflict,
    Unavailable,
    ValidationError,
)
from qpher_core.models import rfc3339

__all__ = [
    "CODES",
    "ErrorBody",
    "ErrorEnvelope",
    "Rendered",
    "error_answer",
    "error_body",
    "now",
    "success_answer",
]


class ErrorBody(msgspec.Struct, omit_defaults=True):
    """What went wrong.

    ``type`` is the class of the error in ``qpher_core.errors``; ``parameter`` and ``rule`` say
    which were at fault, where there is one.
    """

    error_code: str
    message: str
    type: str = "QpherError"
    parameter: str | None = None
    rule: str | None = None


class ErrorEnvelope(msgspec.Struct):
    """The answer of a request that failed."""

    error: ErrorBody
    request_id: str
    timestamp: str


class _Envelope(msgspec.Struct):
    data: Any
    request_id: str
    timestamp: str


@frozen
class Rendered:
    """An answer as it goes over the wire."""

    status: int
    body: bytes = field(repr=False)
    headers: tuple[tuple[bytes, bytes], ...] = ()


#: Code to status, where the class of the error does not say it.
CODES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "ERR_INVALID_001": 400,
        "ERR_INVALID_004": 413,
        "ERR_INVALID_005": 415,
        "ERR_KMS_001": 400,
        "ERR_KEM_001": 400,
        "ERR_SIG_001": 400,
        "ERR_METHOD_001": 405,
        "ERR_TIMEOUT_001": 504,
    }
)

#: Class of error to status; the first that fits.
_STATUSES: Final = (
    (ValidationError, 422),
    (AuthenticationError, 401),
    (PermissionDenied, 403),
    (NotFound, 404),
    (StateConflict, 409),
    (DecryptionFailed, 400),
    (RateLimited, 429),
    (AlgorithmUnavailable, 503),
    (Unavailable, 503),
    (IntegrityError, 500),
)

_RETRY: Final = (b"retry-after", b"1")
_INTERNAL: Final = QpherError("an unexpected error; nothing more is said here")
_encode: Final = msgspec.json.Encoder().encode


def now() -> str:
    """Return the time as answers state it."""
    return rfc3339(datetime.now(UTC))


def success_answer(data: object, request_id: str, status: int = 200) -> Rendered:
    """Return the answer of a request that succeeded."""
    return Rendered(status, _encode(_Envelope(data, request_id, now())))


def error_answer(
    error: Exception,
    request_id: str,
    *,
    sdk: bool = False,
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> Rendered:
    """Return the answer of a request that failed.

    Args:
        error: why; what is not one of ours is not shown.
        request_id: the request's id.
        sdk: whether the published SDK knows the endpoint: it takes 400 alone for a parameter.
        headers: further headers.
    """
    known = error if isinstance(error, QpherError) else _INTERNAL
    status = _status(known)
    if sdk and status == 422:
        status = 400
    if status == 503 and not isinstance(known, AlgorithmUnavailable):
        headers = (*headers, _RETRY)
    body = ErrorEnvelope(error_body(known), request_id, now())
    return Rendered(status, _encode(body), headers)


def error_body(error: QpherError) -> ErrorBody:
    """Return an error as answers have it."""
    known = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in errors.__all__)
    rule = error.rule if isinstance(error, PermissionDenied) else None
    return ErrorBody(error.code, str(error), known, error.parameter, rule or None)


def _status(error: QpherError) -> int:
    if error.code in CODES:
        return CODES[error.code]
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
