# SPDX-License-Identifier: Apache-2.0
"""Fixtures: a service over SQLite, served."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import qpher_core
from qpher_core.asgi import Settings, create_app
from qpher_core.service import Qpher
from tests.http.server import client, serving

#: Every scope but that of the administrator.
TENANT_SCOPES = ("kem", "signatures", "keys", "audit", "api_keys")


@pytest.fixture
def kms(tmp_path: Path) -> Iterator[Qpher]:
    """Open a service with a tenant."""
    with qpher_core.open(f"sqlite:///{tmp_path}/q.db") as opened:
        opened.tenants.create("acme")
        yield opened


@pytest.fixture
def api_key(kms: Qpher) -> str:
    """Return an API key of the tenant."""
    return kms.api_keys.create("acme", scopes=TENANT_SCOPES)[1]


@pytest.fixture
def settings() -> Settings:
    """Return the settings of the application; a test module may have its own."""
    return Settings()


@pytest.fixture
def base(kms: Qpher, settings: Settings) -> Iterator[str]:
    """Serve the service and return its base URL."""
    with serving(create_app(kms, settings)) as url:
        yield url


@pytest.fixture
def http(base: str, api_key: str) -> Iterator[httpx.Client]:
    """Return a client with the tenant's API key."""
    with client(base, api_key) as opened:
        yield opened
