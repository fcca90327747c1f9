# SPDX-License-Identifier: Apache-2.0
"""Whether a database has the schema of this version, told without what would change it.

The migrations and their library are loaded for a database that is new or older: they would cost
every start 80 ms and several megabytes.
"""

import sqlite3
from typing import Final

__all__ = ["VERSION", "is_current", "record"]

#: "QP", so that no number of somebody else's is taken for ours, and how many migrations there are.
VERSION: Final = 0x5150_0000 | 10


def is_current(connection: sqlite3.Connection) -> bool:
    """Return whether all migrations of this version were applied, and no later one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return bool(version == VERSION)


def record(connection: sqlite3.Connection) -> None:
    """Record, in the migration's transaction, that all migrations were applied."""
    connection.execute(f"PRAGMA user_version = {VERSION}")
