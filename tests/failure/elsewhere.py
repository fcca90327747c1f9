# SPDX-License-Identifier: Apache-2.0
"""A session with a server that is none of ours, and what such a server may answer."""

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import qpher_core
from qpher_core import RemoteSettings, Session
from tests.http_server import Answer

__all__ = ["JSON", "KEM", "TENANT", "connected", "enveloped", "saying", "telling"]

KEM: Final = "ML-KEM-768"
TENANT: Final = uuid.uuid4()
JSON: Final = {"Content-Type": "application/json"}


def enveloped(data: object, request_id: str) -> bytes:
    """Return a body of the API's form."""
    return json.dumps({"data": data, "request_id": request_id, "timestamp": "now"}).encode()


def telling(
    data: object, status: int = 200, headers: Mapping[str, str] = JSON
) -> Callable[[str, str, Mapping[str, str]], Answer]:
    """Answer with data in a good envelope."""
    return lambda _m, _t, asked: (status, headers, enveloped(data, asked["x-request-id"]))


def saying(
    body: bytes, status: int = 200, headers: Mapping[str, str] = JSON
) -> Callable[[str, str, Mapping[str, str]], Answer]:
    """Answer always the same."""
    return lambda _m, _t, _a: (status, headers, body)


@contextlib.contextmanager
def connected(url: str, api_key: str, **settings: Any) -> Iterator[Session]:
    """Open a session that has sent nothing yet."""
    settings.setdefault("tenant_id", TENANT)
    chosen = RemoteSettings(**{"deadline": 30, **settings})
    with qpher_core.open(url, api_key=api_key, remote=chosen) as service:
        yield service.session()
