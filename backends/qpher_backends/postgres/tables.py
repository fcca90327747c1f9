# SPDX-License-Identifier: Apache-2.0
"""What the node's role reads across tenants: ids through views, an API key by its own id."""

import uuid
from collections.abc import Sequence

from qpher_backends.sql import access, audit, tables

__all__ = ["AnchorTable", "ApiKeyTable", "KeyTable"]


class KeyTable(tables.KeyTable):
    """Implements ``KeyRecords`` and ``KeyRecordsWriter``."""

    def kek_ids(self) -> frozenset[str]:
        """Return the ids of all key encryption keys in use."""
        rows = self._run(None, f"SELECT kek_id FROM {self._table}_keks", ())
        return frozenset(row[0] for row in rows)


class AnchorTable(audit.AnchorTable):
    """Implements ``AnchorRecords`` and ``AnchorRecordsWriter``."""

    def logs(self) -> Sequence[uuid.UUID]:
        """Return the tenants whose log has an entry beyond its last anchor."""
        rows = self._run(None, "SELECT tenant_id FROM logs_to_anchor", ())
        return [uuid.UUID(tenant_id) for (tenant_id,) in rows]


class ApiKeyTable(access.ApiKeyTable):
    """Implements ``ApiKeyRecords`` and ``ApiKeyRecordsWriter``."""

    by_id = "api_key(?)"
