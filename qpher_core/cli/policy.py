# SPDX-License-Identifier: Apache-2.0
"""``qpher-core policy``: checking rules before they count, changing them, and asking why."""

import importlib
import ipaddress
import json
import sys
from collections.abc import Sequence
from datetime import datetime
from types import ModuleType
from typing import Final, TextIO

import click

from qpher_core.cli._frame import NO, Group
from qpher_core.cli._output import show_rows
from qpher_core.cli._target import AS_JSON, Target, on_store
from qpher_core.errors import ValidationError
from qpher_core.models import OPERATOR
from qpher_core.policy.vocabulary import check_rules

__all__ = ["policy"]

_TENANT: Final = click.option(
    "--tenant", metavar="NAME", help="Name or id; the rules of the service if left out."
)


@click.group(
    cls=Group, example="qpher-core policy check rules.json && qpher-core policy set rules.json"
)
def policy() -> None:
    """Rules: check, show, set, diff, explain, schema."""


@policy.command(example="qpher-core policy check rules.toml")
@click.argument("file", type=click.File())
@click.option(
    "--cedar", is_flag=True, help="The file has policies of the Cedar engine, not rules of ours."
)
def check(file: TextIO, *, cedar: bool) -> None:
    """Check a document of rules; what is wrong is told with its line. Needs no store."""
    text = file.read()
    if cedar:
        _cedar().check_policies(text)
        click.echo("the policies fit the schema")
        return
    rules = check_rules(text)
    for index, rule in enumerate(rules):
        click.echo(f"{index}  {rule.name}")
    click.echo(f"{len(rules)} rules, all well-formed")


@policy.command(example="qpher-core policy show --tenant acme")
@_TENANT
@click.option("--revision", type=int, help="An earlier one.")
@AS_JSON
@on_store
def show(target: Target, tenant: str | None, revision: int | None, *, as_json: bool) -> None:
    """Print the rules that count."""
    with target.administration() as kms:
        found = (
            kms.policies.get(tenant)
            if revision is None
            else kms.policies.revision(revision, tenant)
        )
    if as_json:
        shown = None if found is None else {"revision": found.revision, "rules": found.rules}
        click.echo(json.dumps(shown))
    elif found is None:
        click.echo("no rules of its own")
    else:
        click.echo(f"# revision {found.revision}\n{found.rules}")


@policy.command("set", example="qpher-core policy set rules.toml --tenant acme")
@click.argument("file", type=click.File())
@_TENANT
@on_store
def set_rules(target: Target, file: TextIO, tenant: str | None) -> None:
    """Replace the rules, from the next operation on. Recorded in the audit log."""
    rules = file.read()
    with target.administration() as kms:
        document = kms.policies.set(rules, tenant=tenant, **_actor(target))
    click.echo(f"revision {document.revision} counts now")


@policy.command(example="qpher-core policy diff 1 2 --tenant acme")
@click.argument("old", type=int)
@click.argument("new", type=int)
@_TENANT
@on_store
def diff(target: Target, old: int, new: int, tenant: str | None) -> None:
    """Show what changed between two revisions, a rule to a line.

    Exit status: 0, nothing; 1, something.
    """
    with target.administration() as kms:
        text = kms.policies.diff(old, new, tenant)
    if text:
        click.echo(text)
    sys.exit(NO if text else 0)


@policy.command(
    example="qpher-core policy explain signatures.sign --tenant acme --algorithm ML-DSA-65"
)
@click.argument("action")
@click.option("--tenant", required=True, metavar="NAME", help="Name or id.")
@click.option("--as", "actor", default=OPERATOR, show_default=True, help="Who would ask.")
@click.option("--algorithm", help="Of the key.")
@click.option("--name", "key_name", help="Of the key.")
@click.option("--key-version", type=int, help="The active one if left out.")
@click.option("--scope", "scopes", multiple=True, help="What an API key may do; all if left out.")
@click.option("--payload-bytes", type=int, default=0, help="How much would be passed in.")
@click.option("--source", metavar="ADDRESS", help="Where the caller would be.")
@click.option("--at", metavar="TIME", help="When, in RFC 3339; now if left out.")
@click.option(
    "--policy", "policies", multiple=True, metavar="URL", help="Policy engines; rules: if none."
)
@AS_JSON
@on_store
def explain(
    target: Target,
    action: str,
    tenant: str,
    *,
    policies: Sequence[str],
    scopes: Sequence[str],
    as_json: bool,
    **request: object,
) -> None:
    """Say what policy would decide on a request, and which rule why. Nothing is done.

    Exit status: 0, it would be allowed; 1, it would be denied.
    """
    at, source = request.pop("at"), request["source"]
    request["time"] = None if at is None else _moment(str(at))
    request["scopes"] = frozenset(scopes) or None
    if source is not None:
        _check_address(str(source))
    with target.service(policies=policies) if policies else target.administration() as kms:
        found = kms.policies.explain(tenant, action, **request)  # type: ignore[arg-type]
    decision = found.decision
    rows = [
        {
            "document": verdict.document,
            "index": verdict.index,
            "rule": verdict.rule,
            "says": verdict.reason or "passes",
        }
        for verdict in found.verdicts
    ]
    if as_json:
        said = {"allow": decision.allow, "rule": decision.rule, "reason": decision.reason}
        click.echo(json.dumps({**said, "verdicts": rows}))
    else:
        click.echo(f"{'allowed' if decision.allow else 'denied'}: {decision.reason}")
        show_rows(rows, as_json=False, nothing="the engine does not say which rule")
    sys.exit(0 if decision.allow else NO)


@policy.command(example="qpher-core policy schema > qpher.cedarschema")
def schema() -> None:
    """Print the schema that Cedar policies are checked against."""
    click.echo(_cedar().SCHEMA, nl=False)


def _actor(target: Target) -> dict[str, str]:
    """Return who changes rules, for a local store; a service knows the API key."""
    return {} if target.is_remote else {"actor": target.who}


def _cedar() -> ModuleType:
    try:
        return importlib.import_module("qpher_backends.policies.cedar")
    except ImportError:
        raise ValidationError("this needs pip install 'qpher-core[cedar]'") from None


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValidationError(
            "--at must be RFC 3339 with a time zone, such as 2026-01-31T12:00:00Z", parameter="at"
        )
    return moment


def _check_address(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise ValidationError("--source must be an IP address", parameter="source") from None
