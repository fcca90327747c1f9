# SPDX-License-Identifier: Apache-2.0
"""The pytest plug-in: the options that say which store is tested and what it promises."""

import pytest

__all__ = ["pytest_addoption"]

pytest.register_assert_rewrite(
    "qpher_core.testing.test_access",
    "qpher_core.testing.test_entries",
    "qpher_core.testing.test_intents",
    "qpher_core.testing.test_keys",
    "qpher_core.testing.test_openings",
    "qpher_core.testing.test_policies",
    "qpher_core.testing.test_retention",
    "qpher_core.testing.test_service",
    "qpher_core.testing.test_tenants",
    "qpher_core.testing.test_transactions",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("qpher", "contract of qpher-core stores")
    group.addoption(
        "--qpher-store",
        metavar="MODULE:FUNCTION",
        help="what opens the store in a directory that is passed to it",
    )
    group.addoption(
        "--qpher-volatile",
        action="store_true",
        help="the store forgets everything when it is closed",
    )
    group.addoption(
        "--qpher-single",
        action="store_true",
        help="only one opening of a store at a time is promised",
    )
