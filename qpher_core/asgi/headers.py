# SPDX-License-Identifier: Apache-2.0
"""What the gateway takes from a request's head, and the headers that every answer has."""

import ipaddress
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import field, frozen

from qpher_core.errors import ValidationError
from qpher_core.request_ids import new_request_id

__all__ = ["Head", "Proxies", "read_head", "secured"]

Headers = Iterable[tuple[bytes, bytes]]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HARDENED: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
_HTTPS_ONLY: Final = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")

#: White space that may stand around a value (RFC 9110, 5.5); not every server takes it away.
_OUTER: Final = b" \t"

#: Headers that mean something only once; a request that repeats one is refused.
_SINGLE: Final = frozenset(
    {
        b"x-api-key",
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"transfer-encoding",
        b"idempotency-key",
        b"host",
    }
)


@frozen
class Head:
    """The part of a request's head that matters.

    Attributes:
        length: of the body in bytes; None where it is not announced.
        problem: why the head itself is refused, or None.
    """

    api_key: str | None = field(repr=False)
    request_id: uuid.UUID
    length: int | None
    content_type: bytes
    encoded: bool
    idempotency_key: str | None
    forwarded: str
    problem: str | None = None


def read_head(scope: Any) -> Head:
    """Read a request's head. It never fails: what is wrong is told by :attr:`Head.problem`."""
    headers = scope["headers"]
    found: dict[bytes, bytes] = dict(headers)
    problem = None
    if len(found) < len(headers):
        problem = _repeated(headers)
        # Each proxy may add a line of its own, which is the same as one list (RFC 9110, 5.3).
        if forwarded := [value for name, value in headers if name == b"x-forwarded-for"]:
            found[b"x-forwarded-for"] = b",".join(forwarded)
    length, chunked = found.get(b"content-length"), b"transfer-encoding" in found
    length = None if length is None else length.strip(_OUTER)
    if length is not None and not (length.isdigit() and len(length) < 19):
        problem = "content-length is not a number"
    return Head(
        _text(found.get(b"x-api-key")),
        _uuid(found.get(b"x-request-id")),
        None if chunked or problem is not None else _length(length, scope),
        found.get(b"content-type", b""),
        _encoded(found),
        _text(found.get(b"idempotency-key")),
        found.get(b"x-forwarded-for", b"").decode("latin-1"),
        problem,
    )


def _encoded(found: Mapping[bytes, bytes]) -> bool:
    """Return whether a body is something else than its bytes."""
    content = found.get(b"content-encoding", b"identity").lower()
    transfer = found.get(b"transfer-encoding", b"chunked").lower()
    return content != b"identity" or transfer != b"chunked"


def _repeated(headers: Headers) -> str | None:
    """Return what is wrong with headers that come several times, if anything is."""
    names = Counter(name for name, _ in headers)
    for name in _SINGLE:
        if names[name] > 1:
            return f"{name.decode()} is given more than once"
    return None


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.strip(_OUTER).decode("latin-1")


def _length(value: bytes | None, scope: Any) -> int | None:
    """Return the length of a body: without one there is none in HTTP/1, and maybe in later ones."""
    if value is None:
        return 0 if scope.get("http_version", "1.1").startswith("1") else None
    return int(value)


def _uuid(value: bytes | None) -> uuid.UUID:
    """Return the request's id: the caller's, if it is a UUID in its usual form."""
    if value is not None and len(value) == 36:
        try:
            return uuid.UUID(value.decode("ascii"))
        except ValueError:
            return uuid.UUID(new_request_id())
    return uuid.UUID(new_request_id())


def secured(scheme: str) -> list[tuple[bytes, bytes]]:
    """Return the headers that every answer has."""
    return [*_HARDENED, _HTTPS_ONLY] if scheme == "https" else list(_HARDENED)


class Proxies:
    """The proxies whose word about a request's source is taken."""

    def __init__(self, networks: Sequence[str]) -> None:
        try:
            self._networks: list[Network] = [ipaddress.ip_network(text) for text in networks]
        except ValueError as error:
            raise ValidationError(
                f"trusted_proxies must be networks: {error}", parameter="trusted_proxies"
            ) from None

    def source(self, peer: str | None, forwarded: str) -> str | None:
        """Return where a request comes from: the last address that no trusted proxy has."""
        source = peer
        for claimed in reversed(forwarded.split(",") if forwarded else []):
            if not self._trusts(source):
                break
            source = claimed.strip()
        return source

    def _trusts(self, address: str | None) -> bool:
        if not self._networks or address is None:
            return False
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None)  # of a socket for both versions
        return any(one in net for one in (parsed, mapped or parsed) for net in self._networks)
