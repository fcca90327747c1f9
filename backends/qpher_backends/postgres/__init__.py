# SPDX-License-Identifier: Apache-2.0
"""The PostgreSQL backend: any number of nodes on one database (docs/postgres.md)."""

from qpher_backends.postgres.schema import migrate
from qpher_backends.postgres.store import PostgresStore, open_store

__all__ = ["PostgresStore", "migrate", "open_store"]
