# SPDX-License-Identifier: Apache-2.0
"""Fixtures that several suites use."""

from collections.abc import Iterator

import pytest

import qpher_core
from qpher_core.service import Qpher
from qpher_core.session import Session
from tests import postgres


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a server that is not installed, saying so."""
    if postgres.MISSING is None:
        return
    for item in items:
        if "postgres" in item.nodeid:
            item.add_marker(pytest.mark.skip(reason=postgres.MISSING))


@pytest.fixture
def kms() -> Iterator[Qpher]:
    """Open a service in memory."""
    with qpher_core.open("memory:") as opened:
        yield opened


@pytest.fixture
def acme(kms: Qpher) -> Session:
    """Return a session of a tenant that may do everything."""
    kms.tenants.create("acme")
    return kms.session("acme", actor="tester")
