# SPDX-License-Identifier: Apache-2.0
"""``qpher-core init``: a new store, with an administrator who can do the rest over HTTP."""

import click

from qpher_core.api_keys import SCOPES
from qpher_core.cli._frame import Command
from qpher_core.cli._output import show
from qpher_core.cli._target import AS_JSON, Target, on_store
from qpher_core.errors import StateConflict

__all__ = ["init"]


@click.command(cls=Command, example="qpher-core init --store sqlite:///qpher.db")
@click.option("--tenant", default="operators", show_default=True, help="Whose the API key is.")
@AS_JSON
@on_store
def init(target: Target, tenant: str, *, as_json: bool) -> None:
    """Make a store and print an administrator's API key, this once.

    A store that has tenants already is left as it is.
    """
    with target.service(create=True) as kms:
        if kms.tenants.list():
            raise StateConflict("the store has tenants already", code="ERR_CONFLICT_001")
        made = kms.tenants.create(tenant)
        key, secret = kms.api_keys.create(made.id, name="admin", scopes=SCOPES)
        kek = kms.protector.status().kek_id
    row = {"tenant": made.name, "tenant_id": str(made.id), "kek": kek}
    show({**row, "api_key_id": key.id, "api_key": secret}, as_json=as_json)
