# SPDX-License-Identifier: Apache-2.0
"""``qpher-core tenant``: the tenants of a store."""

from collections.abc import Mapping

import click

from qpher_core.cli._frame import Group
from qpher_core.cli._output import show, show_rows
from qpher_core.cli._target import AS_JSON, Target, on_store
from qpher_core.models import Tenant, rfc3339
from qpher_core.policy.plans import PLANS

__all__ = ["tenant"]

_NAME = click.argument("name")
_PLAN = click.option("--plan", type=click.Choice(list(PLANS)), help="Without one: everything.")


@click.group(cls=Group, example="qpher-core tenant create acme --plan pro")
def tenant() -> None:
    """Tenants: create, list, plans, suspend, resume."""


@tenant.command(example="qpher-core tenant create acme")
@_NAME
@_PLAN
@AS_JSON
@on_store
def create(target: Target, name: str, plan: str | None, *, as_json: bool) -> None:
    """Create the tenant NAME."""
    with target.administration(create=True) as kms:
        show(_row(kms.tenants.create(name, plan=plan)), as_json=as_json)


@tenant.command("list", example="qpher-core tenant list")
@AS_JSON
@on_store
def list_tenants(target: Target, *, as_json: bool) -> None:
    """List the tenants."""
    with target.administration() as kms:
        rows = [_row(found) for found in kms.tenants.list()]
    show_rows(rows, as_json=as_json, nothing="no tenants")


@tenant.command("set-plan", example="qpher-core tenant set-plan acme --plan pro")
@_NAME
@_PLAN
@AS_JSON
@on_store
def set_plan(target: Target, name: str, plan: str | None, *, as_json: bool) -> None:
    """Change the plan of the tenant NAME."""
    with target.administration() as kms:
        show(_row(kms.tenants.set_plan(name, plan)), as_json=as_json)


@tenant.command(example="qpher-core tenant suspend acme")
@_NAME
@AS_JSON
@on_store
def suspend(target: Target, name: str, *, as_json: bool) -> None:
    """Refuse every operation of the tenant NAME from now on."""
    with target.administration() as kms:
        show(_row(kms.tenants.suspend(name)), as_json=as_json)


@tenant.command(example="qpher-core tenant resume acme")
@_NAME
@AS_JSON
@on_store
def resume(target: Target, name: str, *, as_json: bool) -> None:
    """Undo suspend."""
    with target.administration() as kms:
        show(_row(kms.tenants.resume(name)), as_json=as_json)


def _row(found: Tenant) -> Mapping[str, object]:
    return {
        "id": str(found.id),
        "name": found.name,
        "plan": found.plan,
        "status": str(found.status),
        "created_at": rfc3339(found.created_at),
    }
