# SPDX-License-Identifier: Apache-2.0
"""``qpher-core report``: the compliance report, as a page, as JSON and as a CBOM."""

import json

import click

from qpher_core.cli._files import json_line, write_bytes
from qpher_core.cli._frame import Command
from qpher_core.cli._target import AS_JSON, Target, on_tenant
from qpher_core.discovery import open_primitives
from qpher_core.errors import ValidationError
from qpher_core.report import Facts, as_document, cbom, collect, collect_session, html_page

__all__ = ["report"]


@click.command(
    cls=Command,
    example="qpher-core report --html report.html --cbom cbom.json --json > report.json",
)
@click.option("--html", metavar="FILE", help="Write the page, which needs nothing else.")
@click.option("--cbom", "bom", metavar="FILE", help="Write the CycloneDX 1.7 CBOM.")
@AS_JSON
@on_tenant
def report(target: Target, html: str | None, bom: str | None, *, as_json: bool) -> None:
    """Report on keys, profiles, rotation and audit logs; of all tenants if none is named.

    It verifies the whole audit logs, which takes a while for long ones.
    """
    if not (html or bom or as_json):
        raise ValidationError("--html, --cbom or --json must say what to write")
    facts = _collect(target)
    if html:
        write_bytes(html, html_page(facts).encode())
    if bom:
        write_bytes(bom, json.dumps(cbom(facts), indent=1).encode() + b"\n")
    if as_json:
        write_bytes("-", json_line(as_document(facts)))


def _collect(target: Target) -> Facts:
    if target.is_remote:
        with target.session() as session:
            return collect_session(session, store=target.store)
    with target.service() as kms:
        tenants = [kms.tenants.get(target.tenant)] if target.tenant else kms.tenants.list()
        primitives = open_primitives(None)
        path = getattr(primitives, "cpu_path", None)
        provider = f"{primitives.name} ({path})" if path else primitives.name
        return collect(kms, tenants, store=target.store, provider=provider, actor=target.who)
