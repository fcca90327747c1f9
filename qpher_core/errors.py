# SPDX-License-Identifier: Apache-2.0
"""The exceptions that callers see, as one tree.

    QpherError
    ├── ValidationError        a parameter has the wrong type, length or value
    ├── AuthenticationError    unknown, suspended or expired caller
    ├── PermissionDenied       policy said no
    ├── NotFound               no such tenant or key (also: another tenant's)
    ├── StateConflict          the key's state does not allow the operation
    ├── DecryptionFailed       one message for every cause
    ├── RateLimited
    ├── IntegrityError         a stored record or the audit chain was altered
    └── Unavailable            something needed cannot answer; nothing was released
        ├── AlgorithmUnavailable
        ├── AuditUnavailable
        ├── PolicyUnavailable
        ├── ProtectorUnavailable
        └── StoreUnavailable
            └── OutcomeUnknown

Each carries a stable ``code``, which the HTTP layer uses too, and a message that names the
parameter and what was expected, never a secret value.
"""

from typing import ClassVar

__all__ = [
    "AlgorithmUnavailable",
    "AuditUnavailable",
    "AuthenticationError",
    "DecryptionFailed",
    "IntegrityError",
    "NotFound",
    "OutcomeUnknown",
    "PermissionDenied",
    "PolicyUnavailable",
    "ProtectorUnavailable",
    "QpherError",
    "RateLimited",
    "StateConflict",
    "StoreUnavailable",
    "Unavailable",
    "ValidationError",
]


class QpherError(Exception):
    """Base of every error that qpher-core raises on purpose.

    Attributes:
        code: stable machine-readable code, ``ERR_<CATEGORY>_<nnn>``.
        parameter: the parameter at fault, where there is one.
    """

    default_code: ClassVar[str] = "ERR_INTERNAL_001"

    def __init__(
        self, message: str, *, parameter: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.parameter = parameter
        self.code = code or self.default_code


class ValidationError(QpherError):
    """A parameter has the wrong type, length or value. Nothing was changed."""

    default_code = "ERR_INVALID_003"


class AuthenticationError(QpherError):
    """The caller is unknown, suspended, revoked or expired; all look alike."""

    default_code = "ERR_AUTH_001"


class PermissionDenied(QpherError):  # noqa: N818 - names fixed by the public API
    """Policy denied the operation.

    Attributes:
        rule: the rule that decided.
    """

    default_code = "ERR_POLICY_001"

    def __init__(
        self,
        message: str,
        *,
        rule: str = "",
        parameter: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message, parameter=parameter, code=code)
        self.rule = rule


class NotFound(QpherError):  # noqa: N818
    """No such thing, or it is another tenant's."""

    default_code = "ERR_NOT_FOUND_001"


class StateConflict(QpherError):  # noqa: N818
    """The state of the key (or tenant) does not allow the operation."""

    default_code = "ERR_KMS_003"


class DecryptionFailed(QpherError):  # noqa: N818
    """The input cannot be decrypted. Every cause gives this same error and message."""

    default_code = "ERR_KEM_005"

    def __init__(self, message: str = "the input cannot be decrypted") -> None:
        super().__init__(message)


class RateLimited(QpherError):  # noqa: N818
    """Too many requests, or a quota is used up (``ERR_QUOTA_001``)."""

    default_code = "ERR_RATE_001"


class IntegrityError(QpherError):
    """A stored record does not authenticate, or the audit chain is broken."""

    default_code = "ERR_INTEGRITY_001"


class Unavailable(QpherError):  # noqa: N818
    """Something that the operation needs cannot answer. Nothing was released."""

    default_code = "ERR_SERVICE_001"


class AlgorithmUnavailable(Unavailable):
    """The algorithm is known, but the chosen primitives provider lacks it."""

    default_code = "ERR_SIG_022"


class AuditUnavailable(Unavailable):
    """The audit log cannot record. The result is withheld, a change is rolled back."""


class PolicyUnavailable(Unavailable):
    """The policy engine failed, timed out or answered nonsense."""


class ProtectorUnavailable(Unavailable):
    """The key protector cannot give the key encryption key that a record needs."""


class StoreUnavailable(Unavailable):
    """The store cannot be read or written."""


class OutcomeUnknown(StoreUnavailable):
    """The store, or a service elsewhere, was lost during a change.

    Nobody here knows whether it counts; the audit log does.
    """
