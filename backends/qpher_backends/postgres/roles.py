# SPDX-License-Identifier: Apache-2.0
"""The roles: one that owns the tables, and those of the nodes, which no row-level policy spares."""

from collections.abc import Sequence
from typing import Any, Final

import psycopg
from psycopg import sql

__all__ = ["NODES", "bypass", "role_statements"]

#: The group that all nodes' roles are in; the tables' privileges are granted to it.
NODES: Final = "qpher_node"

_POWERLESS: Final = "NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION"

#: Tables that hold rows of tenants. Each has a row-level policy.
_OF_TENANTS: Final = (
    "tenants",
    "key_versions",
    "service_keys",
    "audit_entries",
    "audit_heads",
    "audit_bases",
    "audit_anchors",
    "policies",
    "api_keys",
    "idempotency",
    "commit_marks",
)

_POWERS: Final = (
    "SELECT bool_or(rolsuper OR rolbypassrls) FROM pg_roles WHERE pg_has_role(oid, 'MEMBER')"
)
_OWNED: Final = (
    "SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE n.nspname = 'qpher' AND c.relkind = 'r' AND pg_has_role(c.relowner, 'MEMBER')"
)
_GUARDED: Final = (
    "SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE n.nspname = 'qpher' AND c.relrowsecurity AND c.relname = ANY(%s)"
)


def role_statements(*, owner: str, node: str) -> Sequence[str]:
    """Return the statements that an operator runs once, as superuser, in any database."""
    names = sql.Identifier(owner), sql.Identifier(node), sql.Identifier(NODES)
    owner_, node_, nodes_ = (name.as_string() for name in names)
    return (
        f"CREATE ROLE {owner_} LOGIN {_POWERLESS}",
        f"CREATE ROLE {nodes_} NOLOGIN {_POWERLESS}",
        f"CREATE ROLE {node_} LOGIN {_POWERLESS} IN ROLE {nodes_}",
    )


def bypass(connection: psycopg.Connection[Any]) -> str:
    """Return why the role of a connection is not held to the row-level policies, or ''."""
    powers = connection.execute(_POWERS).fetchone()
    if powers is None or powers[0]:
        return "it is a superuser or has BYPASSRLS, or may become a role that is or has"
    owned = connection.execute(_OWNED).fetchone()
    if owned is None or owned[0]:
        return "it owns the tables, or may become the role that does"
    guarded = connection.execute(_GUARDED, (list(_OF_TENANTS),)).fetchone()
    if guarded is None or guarded[0] != len(_OF_TENANTS):
        return "row-level security is switched off for a table"
    return ""
