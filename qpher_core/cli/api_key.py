# SPDX-License-Identifier: Apache-2.0
"""``qpher-core api-key``: the credentials of remote callers."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from qpher_core.api_keys import DEFAULT_SCOPES, SCOPES
from qpher_core.cli._service import AS_JSON, PROTECTORS, URL, opened, show
from qpher_core.models import ApiKey, rfc3339

__all__ = ["api_key"]

_TENANT: Final = click.argument("tenant")
_KEY_ID: Final = click.argument("key_id")


@click.group("api-key")
def api_key() -> None:
    """API keys: create, list, rotate, revoke."""


@api_key.command()
@URL
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
@PROTECTORS
@AS_JSON
def create(
    url: str,
    tenant: str,
    name: str,
    scopes: tuple[str, ...],
    days: int | None,
    protectors: Sequence[str],
    *,
    as_json: bool,
) -> None:
    """Create an API key of TENANT in the store at URL and print it, this once."""
    expires = None if days is None else timedelta(days=days)
    with opened(url, protectors) as kms:
        key, secret = kms.api_keys.create(
            tenant, name=name, scopes=scopes or DEFAULT_SCOPES, expires_in=expires
        )
    show([{**_row(key), "api_key": secret}], as_json=as_json)


@api_key.command("list")
@URL
@_TENANT
@PROTECTORS
@AS_JSON
def list_keys(url: str, tenant: str, protectors: Sequence[str], *, as_json: bool) -> None:
    """List the API keys of TENANT, without secrets."""
    with opened(url, protectors) as kms:
        show([_row(key) for key in kms.api_keys.list(tenant)], as_json=as_json)


@api_key.command()
@URL
@_TENANT
@_KEY_ID
@click.option("--overlap", type=click.IntRange(0), default=0, help="Seconds, for the old one.")
@PROTECTORS
@AS_JSON
def rotate(
    url: str, tenant: str, key_id: str, overlap: int, protectors: Sequence[str], *, as_json: bool
) -> None:
    """Replace the API key KEY_ID of TENANT and print the new one, this once."""
    with opened(url, protectors) as kms:
        key, secret = kms.api_keys.rotate(tenant, key_id, overlap=timedelta(seconds=overlap))
    show([{**_row(key), "api_key": secret}], as_json=as_json)


@api_key.command()
@URL
@_TENANT
@_KEY_ID
@PROTECTORS
@AS_JSON
def revoke(url: str, tenant: str, key_id: str, protectors: Sequence[str], *, as_json: bool) -> None:
    """Refuse the API key KEY_ID of TENANT from the next request on."""
    with opened(url, protectors) as kms:
        show([_row(kms.api_keys.revoke(tenant, key_id))], as_json=as_json)


def _row(key: ApiKey) -> Mapping[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "version": key.version,
        "scopes": ",".join(sorted(key.scopes)),
        "valid": key.valid(datetime.now(UTC)),
        "created_at": rfc3339(key.created_at),
        "expires_at": key.expires_at and rfc3339(key.expires_at),
        "last_used_at": key.last_used_at and rfc3339(key.last_used_at),
    }
