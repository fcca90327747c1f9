# SPDX-License-Identifier: Apache-2.0
"""``qpher-core maintain``: rotating the keys that are due by the rotation rules."""

import sys
from typing import Final

import click

from qpher_core.cli._frame import NO, Command
from qpher_core.cli._output import show_rows
from qpher_core.cli._target import AS_JSON, Target, on_store
from qpher_core.models import optional_rfc3339
from qpher_core.service_maintenance import Due, ScheduledKey, UnreadTenant

__all__ = ["maintain"]

_COLUMNS: Final = (
    "tenant",
    "name",
    "algorithm",
    "version",
    "standing",
    "due_at",
    "uses",
    "max_uses",
    "replaced_by",
    "problem",
)


@click.command(cls=Command, example="qpher-core maintain --dry-run")
@click.option("--tenant", help="Name or id; all tenants if left out.")
@click.option("--dry-run", is_flag=True, help="Only say what is due.")
@AS_JSON
@on_store
def maintain(target: Target, tenant: str | None, *, dry_run: bool, as_json: bool) -> None:
    """Rotate every key that is due by the rotation rules of the policies.

    Exit status: 0, nothing is overdue any more; 1, a key could not be rotated, or is overdue and
    this was a dry run, or the rules, keys or log of a tenant could not be read.
    """
    with target.administration() as kms:
        report = kms.maintain(tenant, dry_run=dry_run)
    rows = [*(_row(key) for key in report.keys), *(_unread(tenant) for tenant in report.unread)]
    show_rows(rows, as_json=as_json, nothing="no rotation rule matches any key")
    sys.exit(0 if report.ok else NO)


def _row(scheduled: ScheduledKey) -> dict[str, object]:
    key = scheduled.key
    values = (
        scheduled.tenant,
        key.name,
        key.algorithm,
        key.version,
        str(scheduled.due),
        optional_rfc3339(scheduled.due_at),
        scheduled.uses,
        scheduled.max_uses,
        scheduled.replaced_by,
        scheduled.problem or None,
    )
    return dict(zip(_COLUMNS, values, strict=True))


def _unread(tenant: UnreadTenant) -> dict[str, object]:
    """Return a row of the same columns, for a tenant of which nothing else is known."""
    known = {"tenant": tenant.tenant, "standing": str(Due.FAILED), "problem": tenant.problem}
    return {column: known.get(column) for column in _COLUMNS}
