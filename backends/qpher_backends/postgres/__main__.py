# SPDX-License-Identifier: Apache-2.0
"""``python -m qpher_backends.postgres``: what an operator does to a database (docs/postgres.md)."""

import argparse
import sys

from qpher_backends.postgres.roles import role_statements
from qpher_backends.postgres.schema import migrate
from qpher_core.errors import QpherError


def main() -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m qpher_backends.postgres")
    commands = parser.add_subparsers(dest="command", required=True)
    roles = commands.add_parser("roles", help="print what a superuser runs once, for psql")
    roles.add_argument("--owner", default="qpher_owner", help="role that owns the tables")
    roles.add_argument("--node", default="qpher_node_1", help="role of the nodes")
    migrating = commands.add_parser("migrate", help="bring the schema up to date, as its owner")
    migrating.add_argument("url", help="postgresql://OWNER@HOST/DATABASE")
    given = parser.parse_args()
    if given.command == "roles":
        statements = role_statements(owner=given.owner, node=given.node)
        sys.stdout.writelines(f"{statement};\n" for statement in statements)
        return 0
    try:
        version = migrate(given.url)
    except QpherError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"the schema is at version {version}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
