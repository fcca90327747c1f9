# SPDX-License-Identifier: Apache-2.0
"""What the node's role reads across tenants: through views that show ids and nothing else."""

import uuid
from collections.abc import Sequence

from qpher_backends.sql import audit, tables

__all__ = ["AnchorTable", "KeyTable"]


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
