# SPDX-License-Identifier: Apache-2.0
"""A service with two tenants that have the same keys, and a SQL prompt on its database."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import qpher_core

KEM, SIGNATURE = "ML-KEM-768", "ML-DSA-65"

#: Runs SQL as someone who has the file, with all triggers dropped.
Prompt = Callable[[str, Sequence[Any]], None]


@pytest.fixture
def kms(tmp_path: Path) -> Iterator[qpher_core.Qpher]:
    """Open a service with the tenants acme and rival."""
    with qpher_core.open(f"sqlite:///{tmp_path}/q.db") as opened:
        for name in ("acme", "rival"):
            opened.tenants.create(name)
            session = opened.session(name, actor="test")
            session.keys.generate(KEM)
            session.keys.generate(SIGNATURE)
        yield opened


@pytest.fixture
def acme(kms: qpher_core.Qpher) -> qpher_core.Session:
    """Return the session of the tenant that is attacked."""
    return kms.session("acme", actor="test")


@pytest.fixture
def rival(kms: qpher_core.Qpher) -> qpher_core.Session:
    """Return the session of the tenant that attacks."""
    return kms.session("rival", actor="test")


@pytest.fixture
def prompt(kms: qpher_core.Qpher, tmp_path: Path) -> Prompt:
    """Return a SQL prompt on the open database."""

    def run(sql: str, values: Sequence[Any] = ()) -> None:
        database = sqlite3.connect(tmp_path / "q.db")
        with database:
            triggers = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            for (name,) in triggers.fetchall():
                database.execute(f"DROP TRIGGER {name}")
            database.execute(sql, values)
        database.close()

    return run
