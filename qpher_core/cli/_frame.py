# SPDX-License-Identifier: Apache-2.0
"""What every command shares: an example in its help, one line for an error, and exit statuses."""

import sys
from typing import Any, Final

import click
from attrs import frozen

from qpher_core import errors

__all__ = ["EXIT_STATUSES", "NO", "Command", "ExitStatus", "Group", "exit_status"]

#: Exit status of an answer that is no: an invalid signature, a log that is not sound.
NO: Final = 1

_CANNOT: Final = 2
_INTERRUPTED: Final = 130


@frozen
class ExitStatus:
    """One row of the table of exit statuses.

    Attributes:
        number: the status.
        meaning: when a command ends with it.
        errors: the exceptions that it stands for; the first row with a matching one counts.
    """

    number: int
    meaning: str
    errors: tuple[type[Exception], ...] = ()


EXIT_STATUSES: Final = (
    ExitStatus(0, "done; what was checked is as it should be"),
    ExitStatus(
        NO,
        "done, and the answer is no: a signature is not valid, a log is not sound, `doctor` found "
        "a problem, items were left over",
    ),
    ExitStatus(
        _CANNOT,
        "the command line is wrong, a value is not allowed, or a file cannot be read or written",
        (errors.ValidationError, OSError, UnicodeDecodeError),
    ),
    ExitStatus(3, "no such tenant or key", (errors.NotFound,)),
    ExitStatus(
        4,
        "not permitted: API key, scope, plan or policy",
        (errors.AuthenticationError, errors.PermissionDenied),
    ),
    ExitStatus(5, "the state of the key or tenant does not allow it", (errors.StateConflict,)),
    ExitStatus(6, "the input cannot be decrypted", (errors.DecryptionFailed,)),
    ExitStatus(7, "a stored record or a log was altered", (errors.IntegrityError,)),
    ExitStatus(
        8,
        "something needed does not answer, or a rate is used up; trying again later may do",
        (errors.Unavailable, errors.RateLimited),
    ),
    ExitStatus(9, "anything else", (errors.QpherError,)),
    ExitStatus(_INTERRUPTED, "interrupted from the keyboard"),
)


def exit_status(error: Exception) -> int | None:
    """Return the exit status that an exception stands for; None for a bug."""
    for row in EXIT_STATUSES:
        if isinstance(error, row.errors):
            return row.number
    return None


class _WithExample(click.Command):
    """Mix-in: its help ends with an example."""

    def __init__(self, *args: Any, example: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self.example = example

    def format_epilog(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the example; lines as they are."""
        with formatter.section("Example"):
            for line in self.example.splitlines():
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class Command(_WithExample):
    """A command whose help ends with an example and whose errors are one line on stderr."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; an error that is meant for the caller is told, a bug is not hidden."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader of our output has what it wanted
            raise
        except (errors.QpherError, OSError, UnicodeDecodeError) as error:
            click.echo(f"qpher-core: {error}", err=True)
            sys.exit(exit_status(error))
        except KeyboardInterrupt:
            click.echo("qpher-core: interrupted", err=True)
            sys.exit(_INTERRUPTED)


class Group(_WithExample, click.Group):
    """A group of such commands; its help ends with an example, too."""

    command_class = Command
    group_class = type
