# SPDX-License-Identifier: Apache-2.0
"""A service behind a real server, whose sessions are those of remote clients."""

import contextlib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import qpher_core
from qpher_core import RemoteSettings
from qpher_core.api_key_format import make_secret, parse_secret
from qpher_core.api_keys import DEFAULT_SCOPES
from qpher_core.asgi import create_app
from qpher_core.models import ApiKey, ApiKeyRecord
from qpher_core.service import Qpher
from qpher_core.session import Session
from tests.http.server import serving

__all__ = ["Served", "quiet_key", "served"]


def quiet_key(kms: Qpher, tenant: str | uuid.UUID, name: str) -> str:
    """Return a new API key that left no entry, so that logs are as those of a local session."""
    key_id, secret = make_secret()
    parts = parse_secret(secret)
    assert parts is not None
    owner, now = kms.tenants.get(tenant).id, datetime.now(UTC)
    key = ApiKey(key_id, owner, f"{name} {key_id}", frozenset(DEFAULT_SCOPES), 1, now)
    record = ApiKeyRecord(key, parts.secret_hash)
    kms._store.commit(lambda writer: writer.api_keys.insert(record))
    return secret


class Served:
    """Gives remote sessions; everything else is the service's own."""

    def __init__(self, kms: Qpher, url: str, stack: contextlib.ExitStack) -> None:
        self._kms = kms
        self._url = url
        self._stack = stack

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kms, name)

    def session(self, tenant: str | uuid.UUID, *, actor: str) -> Session:
        """Return a session over the network; its actor is an API key."""
        key = quiet_key(self._kms, tenant, actor)
        settings = RemoteSettings(deadline=120)
        remote = qpher_core.open(self._url, api_key=key, remote=settings)
        self._stack.callback(remote.close)
        return remote.session()


@contextlib.contextmanager
def served(kms: Qpher) -> Iterator[Served]:
    """Serve a service on loopback."""
    with serving(create_app(kms)) as url, contextlib.ExitStack() as stack:
        yield Served(kms, url, stack)
