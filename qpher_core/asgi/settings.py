# SPDX-License-Identifier: Apache-2.0
"""What an operator may set about the HTTP API."""

from typing import Final

from attrs import Attribute, field, frozen
from attrs.validators import optional

from qpher_core.errors import ValidationError
from qpher_core.validation import DAY, integer_from, seconds_to

__all__ = ["Settings"]

_MIB: Final = 1 << 20


def _text(_: object, attribute: "Attribute[str]", value: object) -> None:
    if not isinstance(value, str):
        raise ValidationError(f"{attribute.name} must be text", parameter=attribute.name)


def _texts(_: object, attribute: "Attribute[tuple[str, ...]]", value: object) -> None:
    if not isinstance(value, tuple | list) or not all(isinstance(one, str) for one in value):
        raise ValidationError(f"{attribute.name} must be texts", parameter=attribute.name)


@frozen(kw_only=True)
class Settings:
    """Settings of the application. The defaults are strict; sizes are in bytes.

    Attributes:
        largest_payload: of a plaintext or message, decoded.
        largest_body: of a request that carries one item; a batch may have eight times as much.
        deadline: seconds from which on a request is answered with 504; what it did is in the
            audit log.
        body_deadline: seconds within which a body must have arrived.
        threads: that do the work; the event loop does none of it.
        waiting: requests that may wait for a thread before further ones are refused.
        tenant_rate, key_rate: requests of one tenant and of one API key, as ``limits`` writes
            them (``100/second``); a tenant's plan may set its own. None is without limit.
        rate_storage: where ``limits`` counts: ``memory://``, or ``redis://…`` for several
            processes or nodes (extra ``redis``).
        trusted_proxies: networks of proxies whose ``X-Forwarded-For`` is believed.
        cors_origins: origins that browsers may call from; none by default.
        docs: whether ``/docs`` and ``/openapi.json`` are served.

    Raises:
        ValidationError: a value is of another type or out of range.
    """

    largest_payload: int = field(default=_MIB, validator=integer_from(1))
    largest_body: int = field(default=3 * _MIB, validator=integer_from(1024))
    deadline: float = field(default=30.0, validator=seconds_to(DAY))
    body_deadline: float = field(default=15.0, validator=seconds_to(DAY))
    threads: int = field(default=32, validator=integer_from(1))
    waiting: int = field(default=512, validator=integer_from(1))
    tenant_rate: str | None = field(default=None, validator=optional(_text))
    key_rate: str | None = field(default=None, validator=optional(_text))
    rate_storage: str = field(default="memory://", validator=_text)
    trusted_proxies: tuple[str, ...] = field(default=(), validator=_texts)
    cors_origins: tuple[str, ...] = field(default=(), validator=_texts)
    docs: bool = True
