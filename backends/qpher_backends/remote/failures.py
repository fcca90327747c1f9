# SPDX-License-Identifier: Apache-2.0
"""From an error in an answer to the exception that the service raised."""

from collections.abc import Mapping
from typing import Final

from qpher_core import errors
from qpher_core.asgi.envelope import ErrorBody
from qpher_core.errors import (
    AlgorithmUnavailable,
    AuthenticationError,
    DecryptionFailed,
    NotFound,
    PermissionDenied,
    QpherError,
    RateLimited,
    StateConflict,
    Unavailable,
    ValidationError,
)

__all__ = ["TOO_LARGE", "error_of"]

#: Code of a refusal for the size of an item, which it names, or of the whole request.
TOO_LARGE: Final = "ERR_INVALID_004"

_KINDS: Final[Mapping[str, type[QpherError]]] = {
    name: getattr(errors, name) for name in errors.__all__
}

#: For services that do not name the class: code to class, where it is not the status' class.
_OF_CODE: Final[Mapping[str, type[QpherError]]] = {
    "ERR_KEM_005": DecryptionFailed,
    "ERR_SIG_022": AlgorithmUnavailable,
}

_OF_STATUS: Final[Mapping[int, type[QpherError]]] = {
    400: ValidationError,
    401: AuthenticationError,
    403: PermissionDenied,
    404: NotFound,
    409: StateConflict,
    413: ValidationError,
    415: ValidationError,
    422: ValidationError,
    429: RateLimited,
}


def error_of(body: ErrorBody, status: int = 0) -> QpherError:
    """Return the exception that an error in an answer stands for.

    What the service does not explain itself (``ERR_INTERNAL_001``, ``ERR_TIMEOUT_001``) is
    ``Unavailable``.
    """
    kind = _KINDS.get(body.type, QpherError)
    if kind is QpherError:
        kind = _OF_CODE.get(body.error_code) or _OF_STATUS.get(status, Unavailable)
    if issubclass(kind, DecryptionFailed):
        return kind()
    if issubclass(kind, PermissionDenied):
        return kind(
            body.message, rule=body.rule or "", parameter=body.parameter, code=body.error_code
        )
    return kind(body.message, parameter=body.parameter, code=body.error_code)
