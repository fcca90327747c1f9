# SPDX-License-Identifier: Apache-2.0
"""Stores that commands work on: a local one, and a service over HTTP."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import qpher_core
from qpher_core.asgi import create_app
from tests.http.server import serving

SCOPES = ("kem", "signatures", "keys", "audit", "api_keys")


@contextmanager
def service_of(url: str, tenant: str) -> Iterator[dict[str, str]]:
    """Serve a store over HTTP and yield the environment of a tenant's commands."""
    with qpher_core.open(url) as kms:
        _, secret = kms.api_keys.create(tenant, name="cli", scopes=SCOPES)
        with serving(create_app(kms)) as base:
            yield {"QPHER_STORE": base, "QPHER_API_KEY": secret}


@pytest.fixture(autouse=True)
def no_other_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no settings of ours in the environment: commands would heed those of other tests."""
    for name in [name for name in os.environ if name.startswith("QPHER_")]:
        monkeypatch.delenv(name)


@pytest.fixture(params=["local", "service"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Yield the environment in which commands find a store with the tenant acme."""
    url = f"sqlite:///{tmp_path}/qpher.db"
    with qpher_core.open(url) as kms:
        kms.tenants.create("acme")
    if request.param == "local":
        yield {"QPHER_STORE": url, "QPHER_ACTOR": "alice"}
        return
    with service_of(url, "acme") as environment:
        yield environment
