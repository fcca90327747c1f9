# SPDX-License-Identifier: Apache-2.0
"""``qpher-core tenant``: the tenants of a store."""

from collections.abc import Mapping, Sequence

import click

from qpher_core.cli._service import AS_JSON, PROTECTORS, URL, opened, show
from qpher_core.models import Tenant, rfc3339
from qpher_core.policy.plans import PLANS

__all__ = ["tenant"]

_NAME = click.argument("name")
_PLAN = click.option("--plan", type=click.Choice(list(PLANS)), help="Without one: everything.")


@click.group()
def tenant() -> None:
    """Tenants: create, list, plans, suspend, resume."""


@tenant.command()
@URL
@_NAME
@_PLAN
@PROTECTORS
@AS_JSON
def create(
    url: str, name: str, plan: str | None, protectors: Sequence[str], *, as_json: bool
) -> None:
    """Create the tenant NAME in the store at URL."""
    with opened(url, protectors) as kms:
        show([_row(kms.tenants.create(name, plan=plan))], as_json=as_json)


@tenant.command("list")
@URL
@PROTECTORS
@AS_JSON
def list_tenants(url: str, protectors: Sequence[str], *, as_json: bool) -> None:
    """List the tenants of the store at URL."""
    with opened(url, protectors) as kms:
        show([_row(found) for found in kms.tenants.list()], as_json=as_json)


@tenant.command("set-plan")
@URL
@_NAME
@_PLAN
@PROTECTORS
@AS_JSON
def set_plan(
    url: str, name: str, plan: str | None, protectors: Sequence[str], *, as_json: bool
) -> None:
    """Change the plan of the tenant NAME."""
    with opened(url, protectors) as kms:
        show([_row(kms.tenants.set_plan(name, plan))], as_json=as_json)


@tenant.command()
@URL
@_NAME
@PROTECTORS
@AS_JSON
def suspend(url: str, name: str, protectors: Sequence[str], *, as_json: bool) -> None:
    """Refuse every operation of the tenant NAME from now on."""
    with opened(url, protectors) as kms:
        show([_row(kms.tenants.suspend(name))], as_json=as_json)


@tenant.command()
@URL
@_NAME
@PROTECTORS
@AS_JSON
def resume(url: str, name: str, protectors: Sequence[str], *, as_json: bool) -> None:
    """Undo suspend."""
    with opened(url, protectors) as kms:
        show([_row(kms.tenants.resume(name))], as_json=as_json)


def _row(found: Tenant) -> Mapping[str, object]:
    return {
        "id": str(found.id),
        "name": found.name,
        "plan": found.plan,
        "status": str(found.status),
        "created_at": rfc3339(found.created_at),
    }
