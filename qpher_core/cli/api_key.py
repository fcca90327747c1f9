# SPDX-License-Identifier: Apache-2.0
"""``qpher-core api-key``: the credentials of remote callers."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from qpher_core.api_keys import DEFAULT_SCOPES, SCOPES
from qpher_core.cli._frame import Group
from qpher_core.cli._output import show, show_rows
from qpher_core.cli._target import AS_JSON, Target, on_store
from qpher_core.models import ApiKey, optional_rfc3339, rfc3339

__all__ = ["api_key"]

_TENANT: Final = click.argument("tenant")
_KEY_ID: Final = click.argument("key_id")


@click.group(
    "api-key", cls=Group, example="qpher-core api-key create acme --name ci --scope kem --days 90"
)
def api_key() -> None:
    """API keys: create, list, rotate, revoke."""


@api_key.command(example="qpher-core api-key create acme --name ci --scope kem --days 90")
@_TENANT
@click.option("--name", default="default", show_default=True, help="What it is for.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help=f"What it may do; {', '.join(DEFAULT_SCOPES)} if left out.",
)
@click.option("--days", type=click.IntRange(1, 3660), help="How long it is accepted.")
@AS_JSON
@on_store
def create(
    target: Target,
    tenant: str,
    name: str,
    scopes: tuple[str, ...],
    days: int | None,
    *,
    as_json: bool,
) -> None:
    """Create an API key of TENANT and print it, this once."""
    expires = None if days is None else timedelta(days=days)
    with target.administration() as kms:
        key, secret = kms.api_keys.create(
            tenant, name=name, scopes=scopes or DEFAULT_SCOPES, expires_in=expires
        )
    show({**_row(key), "api_key": secret}, as_json=as_json)


@api_key.command("list", example="qpher-core api-key list acme")
@_TENANT
@AS_JSON
@on_store
def list_keys(target: Target, tenant: str, *, as_json: bool) -> None:
    """List the API keys of TENANT, without secrets."""
    with target.administration() as kms:
        rows = [_row(key) for key in kms.api_keys.list(tenant)]
    show_rows(rows, as_json=as_json, nothing="no API keys")


@api_key.command(example="qpher-core api-key rotate acme 3kT9xQ2mB7Lw --overlap 3600")
@_TENANT
@_KEY_ID
@click.option("--overlap", type=click.IntRange(0), default=0, help="Seconds, for the old one.")
@AS_JSON
@on_store
def rotate(target: Target, tenant: str, key_id: str, overlap: int, *, as_json: bool) -> None:
    """Replace the API key KEY_ID of TENANT and print the new one, this once."""
    with target.administration() as kms:
        key, secret = kms.api_keys.rotate(tenant, key_id, overlap=timedelta(seconds=overlap))
    show({**_row(key), "api_key": secret}, as_json=as_json)


@api_key.command(example="qpher-core api-key revoke acme 3kT9xQ2mB7Lw")
@_TENANT
@_KEY_ID
@AS_JSON
@on_store
def revoke(target: Target, tenant: str, key_id: str, *, as_json: bool) -> None:
    """Refuse the API key KEY_ID of TENANT from the next request on."""
    with target.administration() as kms:
        show(_row(kms.api_keys.revoke(tenant, key_id)), as_json=as_json)


def _row(key: ApiKey) -> Mapping[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "version": key.version,
        "scopes": ",".join(sorted(key.scopes)),
        "valid": key.valid(datetime.now(UTC)),
        "created_at": rfc3339(key.created_at),
        "expires_at": optional_rfc3339(key.expires_at),
        "last_used_at": optional_rfc3339(key.last_used_at),
    }
