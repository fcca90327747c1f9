# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the contract suite for the one store that ``--qpher-store`` names."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qpher_core.models import Tenant
from qpher_core.protocols import Store, StoreWriter
from qpher_core.testing import open_target
from qpher_core.testing.records import append, new_tenant


def _target(config: pytest.Config, folder: Path) -> str:
    function = config.getoption("--qpher-store")
    if not function:
        raise pytest.UsageError("name the store: --qpher-store package.module:function")
    return f"{function} {folder}"


@pytest.fixture
def store(pytestconfig: pytest.Config, tmp_path: Path) -> Iterator[Store]:
    """Open an empty store."""
    opened = open_target(_target(pytestconfig, tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def durable(pytestconfig: pytest.Config, tmp_path: Path) -> Callable[[], Store]:
    """Return a function that opens one store, again and again."""
    if pytestconfig.getoption("--qpher-volatile"):
        pytest.skip("the store does not promise to be durable")
    target = _target(pytestconfig, tmp_path)
    return lambda: open_target(target)


@pytest.fixture
def participant(durable: Callable[[], Store]) -> Callable[[], Store]:
    """Return the same for a store that can be one of the two of a mixed set-up."""
    probe = durable()
    mixes = hasattr(probe, "intents")
    probe.close()
    if not mixes:
        pytest.skip("the store keeps no intents, so it cannot be mixed with another")
    return durable


@pytest.fixture
def shared_url(pytestconfig: pytest.Config, tmp_path: Path) -> str:
    """Return the target of a store that several may open at once."""
    if pytestconfig.getoption("--qpher-single") or pytestconfig.getoption("--qpher-volatile"):
        pytest.skip("the store does not promise to be shared")
    return _target(pytestconfig, tmp_path)


@pytest.fixture(scope="module")
def long_store(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Store, Tenant]]:
    """Open a store whose one tenant has 2,500 audit entries."""
    opened = open_target(_target(pytestconfig, tmp_path_factory.mktemp("long")))
    tenant = new_tenant()

    def work(writer: StoreWriter) -> None:
        writer.tenants.insert(tenant)
        for _ in range(2500):
            append(writer, tenant.id)

    opened.commit(work)
    yield opened, tenant
    opened.close()
