# SPDX-License-Identifier: Apache-2.0
"""``qpher-core init``: a new store, with an administrator who can do the rest over HTTP."""

from collections.abc import Sequence

import click

from qpher_core.api_keys import SCOPES
from qpher_core.cli._service import AS_JSON, PROTECTORS, URL, opened, show
from qpher_core.errors import StateConflict

__all__ = ["init"]


@click.command()
@URL
@click.option("--tenant", default="operators", show_default=True, help="Whose the API key is.")
@PROTECTORS
@AS_JSON
def init(url: str, tenant: str, protectors: Sequence[str], *, as_json: bool) -> None:
    """Make the store at URL and print an administrator's API key, this once.

    A store that has tenants already is left as it is.
    """
    with opened(url, protectors) as kms:
        if kms.tenants.list():
            raise StateConflict("the store has tenants already", code="ERR_CONFLICT_001")
        made = kms.tenants.create(tenant)
        key, secret = kms.api_keys.create(made.id, name="admin", scopes=SCOPES)
        kek = kms.protector.status().kek_id
    row = {"tenant": made.name, "tenant_id": str(made.id), "kek": kek}
    show([{**row, "api_key_id": key.id, "api_key": secret}], as_json=as_json)
