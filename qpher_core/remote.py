# SPDX-License-Identifier: Apache-2.0
"""What :func:`qpher_core.open` returns for the URL of a service elsewhere, and its settings."""

import ipaddress
import ssl
import uuid
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from attrs import field, frozen

from qpher_core.administration import Administration
from qpher_core.protocols import AuditLog, KeyStore, Primitives
from qpher_core.session import Session
from qpher_core.validation import DAY, integer_from, seconds_to

if TYPE_CHECKING:
    from qpher_core.aio.service import AsyncRemoteService

__all__ = ["RemoteService", "RemoteSettings", "is_loopback"]


@frozen(kw_only=True)
class RemoteSettings:
    """How a service elsewhere is talked to.

    Attributes:
        deadline: seconds for one call, repeats and the pauses between them included.
        attempts: how often a call is sent at most.
        connections: that are open at once at most; further calls wait for one.
        ca: a file of CA certificates, or an ``ssl.SSLContext`` (for client certificates, too);
            the system's certificates where none is given. Verification cannot be turned off.
        plain_http: whether ``http://`` is taken for hosts other than loopback: whoever sees the
            network then sees the API key and every plaintext.
        tenant_id: the API key's tenant; the service is asked where none is given, which needs
            that policy allows ``usage.read``.

    Raises:
        ValidationError: a value is out of range.
    """

    deadline: float = field(default=30.0, validator=seconds_to(DAY))
    attempts: int = field(default=4, validator=integer_from(1))
    connections: int = field(default=32, validator=integer_from(1))
    ca: str | ssl.SSLContext | None = field(default=None, repr=False)
    plain_http: bool = False
    tenant_id: uuid.UUID | None = None


class RemoteService(Protocol):
    """A connection to a service elsewhere, as the tenant of one API key. Thread-safe."""

    def session(self) -> Session:
        """Return the session of the API key's tenant; the API key is the actor.

        Raises:
            AuthenticationError: the API key is not accepted.
            Unavailable: the service cannot be reached.
        """

    @property
    def aio(self) -> "AsyncRemoteService":
        """The same surface as coroutines (docs/asyncio.md)."""

    def key_store(
        self,
        primitives: str | Primitives | None = None,
        *,
        tenant_id: uuid.UUID | None = None,
    ) -> KeyStore:
        """Return the keys of the API key's tenant alone, for ``Qpher.session(…, keys=…)``.

        It uses keys and makes none: that is for :meth:`session`.

        Args:
            primitives: name of a provider, or a ready-made one, for the public side.
            tenant_id: of the tenant whose keys they are on this side, if its id is another one.
        """

    def audit_log(self) -> AuditLog:
        """Return the log of the API key's tenant alone, for reading."""

    def administration(self) -> Administration:
        """Return tenants, API keys and rules, for an API key with the scope ``admin``.

        ``api_keys`` alone lets the API keys of its own tenant be administered. Who does it is
        always the API key.
        """

    def anchor_keys(self) -> tuple[str, ...]:
        """Return the vkeys of all keys that ever signed anchors, the one in use first.

        For verifying proofs take them from a place that the service cannot change.
        """

    def close(self) -> None:
        """Close the connections. Idempotent."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def is_loopback(host: str) -> bool:
    """Return whether what is sent to a host stays within this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
