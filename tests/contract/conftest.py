# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the contract suites: each store, each service, each algorithm of each provider."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

import qpher_core
from qpher_core.algorithms import Kind
from qpher_core.discovery import open_store
from qpher_core.models import Tenant
from qpher_core.protocols import Store, StoreWriter
from qpher_core.service import Qpher
from qpher_core.session import Session
from tests.contract.crossed import crossed
from tests.contract.served import served
from tests.contract.table import (
    BACKENDS,
    CROSSED,
    PROVIDERS,
    SERVED,
    Provider,
    backends,
    cases,
    services,
)
from tests.records import append, new_tenant

_ALGORITHM_FIXTURES = {"kem": Kind.KEM, "signature": Kind.SIGNATURE, "algorithm": None}
_numbers = itertools.count()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for an algorithm on every service that has it."""
    for fixture, kind in _ALGORITHM_FIXTURES.items():
        if fixture in metafunc.fixturenames:
            rows = cases(kind)
            ids = [f"{'-'.join(service)}-{algorithm}" for service, algorithm in rows]
            metafunc.parametrize(
                ("service", fixture), rows, ids=ids, indirect=["service"], scope="module"
            )
            return
    if "service" in metafunc.fixturenames:
        ids = ["-".join(service) for service in services()]
        metafunc.parametrize("service", services(), ids=ids, indirect=True, scope="module")


@pytest.fixture(scope="module")
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Qpher]:
    """Open a service on one backend with one provider, or connect to one."""
    backend, provider = request.param
    if backend == SERVED:
        with qpher_core.open("memory:", primitives=provider) as kms, served(kms) as remote:
            yield cast("Qpher", remote)
        return
    if backend == CROSSED:
        with qpher_core.open("memory:", primitives=provider) as kms, crossed(kms) as aio:
            yield cast("Qpher", aio)
        return
    url = BACKENDS[backend].url(tmp_path_factory.mktemp("service"))
    with qpher_core.open(url, primitives=provider) as kms:
        yield kms


@pytest.fixture
def provider(request: pytest.FixtureRequest, service: Qpher) -> Provider:
    """Return what the service's provider can do."""
    return PROVIDERS[request.node.callspec.params["service"][1]]


@pytest.fixture
def session(service: Qpher) -> Session:
    """Return a session of a tenant that nothing else uses."""
    name = f"tenant-{next(_numbers)}"
    service.tenants.create(name)
    return service.session(name, actor="tester")


@pytest.fixture(params=backends())
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Open an empty store of every backend."""
    opened = open_store(BACKENDS[request.param].url(tmp_path), parameter="url")
    yield opened
    opened.close()


@pytest.fixture(params=backends(durable=True))
def durable(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Return a function that opens one durable store, again and again."""
    url = BACKENDS[request.param].url(tmp_path)
    return lambda: open_store(url, parameter="url")


@pytest.fixture(params=backends(durable=True, mixes=True))
def participant(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Return a function that opens a durable store that can be one of two."""
    url = BACKENDS[request.param].url(tmp_path)
    return lambda: open_store(url, parameter="url")


@pytest.fixture(params=backends(shared=True))
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a store that several may open at once."""
    return BACKENDS[request.param].url(tmp_path)


@pytest.fixture(scope="module", params=backends())
def long_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Store, Tenant]]:
    """Open a store whose one tenant has 2,500 audit entries."""
    url = BACKENDS[request.param].url(tmp_path_factory.mktemp("long"))
    opened = open_store(url, parameter="url")
    tenant = new_tenant()

    def work(writer: StoreWriter) -> None:
        writer.tenants.insert(tenant)
        for _ in range(2500):
            append(writer, tenant.id)

    opened.commit(work)
    yield opened, tenant
    opened.close()
