# SPDX-License-Identifier: Apache-2.0
"""``qpher-core completion``: what a shell needs to complete the commands."""

import click
from click.shell_completion import get_completion_class

from qpher_core.cli._frame import Command

__all__ = ["completion"]


@click.command(cls=Command, example='eval "$(qpher-core completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete commands and options."""
    found = get_completion_class(shell)
    if found is None:
        raise click.BadParameter(f"click knows no {shell}")
    root = ctx.find_root().command
    click.echo(found(root, {}, "qpher-core", "_QPHER_CORE_COMPLETE").source())
