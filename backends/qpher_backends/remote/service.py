# SPDX-License-Identifier: Apache-2.0
"""A service elsewhere, as the tenant of one API key (docs/remote.md)."""

import uuid
from typing import Any, Self

from qpher_backends.remote.administration import RemoteAdministration
from qpher_backends.remote.answers import tenant_id_of, usage_report
from qpher_backends.remote.audit import RemoteAuditLog
from qpher_backends.remote.keystore import RemoteKeyStore
from qpher_backends.remote.link import Link, expect
from qpher_backends.remote.runner import RemoteRunner
from qpher_core._threads import Threads
from qpher_core.aio.service import AsyncRemoteService
from qpher_core.models import RequestContext
from qpher_core.protocols import Primitives
from qpher_core.remote import RemoteSettings
from qpher_core.session import Session
from qpher_core.session_usage import UsageReport

__all__ = ["Service", "open_service"]


class Service:
    """Implements ``RemoteService``."""

    def __init__(self, link: Link, settings: RemoteSettings) -> None:
        self._link = link
        self._tenant_id = settings.tenant_id
        self._threads = Threads()

    def __repr__(self) -> str:
        return f"<Service over {self._link!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def aio(self) -> AsyncRemoteService:
        """The same surface as coroutines."""
        return AsyncRemoteService(self, self._threads)

    def session(self) -> Session:
        """Return the session of the API key's tenant."""
        keys, audit = self.key_store(), self.audit_log()
        context = RequestContext(self._tenant(), self._link.actor)
        return Session(RemoteRunner(self._link, keys), keys, audit, audit, self._usage, context)

    def key_store(
        self,
        primitives: str | Primitives | None = None,
        *,
        tenant_id: uuid.UUID | None = None,
    ) -> RemoteKeyStore:
        """Return the keys of the API key's tenant alone.

        Args:
            primitives: open their public side.
            tenant_id: of the tenant whose keys they are on this side, if its id is another one.
        """
        return RemoteKeyStore(self._link, tenant_id or self._tenant(), primitives)

    def audit_log(self) -> RemoteAuditLog:
        """Return the log of the API key's tenant alone."""
        return RemoteAuditLog(self._link, self._tenant())

    def administration(self) -> RemoteAdministration:
        """Return what the API key may administer."""
        return RemoteAdministration(self._link)

    def anchor_keys(self) -> tuple[str, ...]:
        """Return the vkeys of all keys that ever signed anchors, the one in use first."""

        def read(answer: Any, _: uuid.UUID) -> tuple[str, ...]:
            expect(answer.key in answer.keys, "the anchor key in use is not among the keys")
            return (answer.key, *(key for key in answer.keys if key != answer.key))

        return self._link.call("GET", "/anchors/key", read)

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._threads.close()
        self._link.close()

    def _tenant(self) -> uuid.UUID:
        if self._tenant_id is None:
            self._tenant_id = self._link.call(
                "GET", "/tenants/me", lambda answer, _: tenant_id_of(answer)
            )
        return self._tenant_id

    def _usage(self, tenant_id: uuid.UUID) -> UsageReport:
        usage: Any = self._link.call("GET", "/tenants/me", lambda answer, _: answer)
        return self._link.call(
            "GET",
            "/tenants/{tenant_id}",
            lambda answer, _: usage_report(usage, answer),
            values={"tenant_id": tenant_id},
        )


def open_service(url: str, api_key: object, settings: RemoteSettings) -> Service:
    """Connect to a service elsewhere; the entry point. Nothing is sent yet."""
    return Service(Link(url, api_key, settings), settings)
