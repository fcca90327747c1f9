# SPDX-License-Identifier: Apache-2.0
"""The SQLite backend: keys, audit log, tenants and policies in one database file."""

from qpher_backends.sqlite.store import SQLiteStore, open_store

__all__ = ["SQLiteStore", "open_store"]
