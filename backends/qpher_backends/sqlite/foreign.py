# SPDX-License-Identifier: Apache-2.0
"""Databases that are no store of ours: refused before anything is written to them."""

import sqlite3
from pathlib import Path
from typing import Final

from qpher_core.errors import StoreUnavailable

__all__ = ["check_database"]

#: In every database of ours: the first migrations, which made it, were one transaction.
_OURS: Final = "key_versions"


def check_database(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a database that has somebody else's tables alone.

    Raises:
        StoreUnavailable: the store needs a file of its own.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    if tables and _OURS not in tables:
        raise StoreUnavailable(f"{path} is a database of something else, not a store of qpher-core")
