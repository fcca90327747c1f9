# SPDX-License-Identifier: Apache-2.0
"""What every command has: help with an example, one line for an error, an exit status."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import qpher_core
from qpher_core import errors
from qpher_core.cli._frame import EXIT_STATUSES, exit_status
from qpher_core.cli._target import Target
from qpher_core.cli.main import main

COMMAND = str(Path(sys.executable).parent / "qpher-core")


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every command and group of commands."""
    yield path
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


PATHS = sorted(commands(main))


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_help_ends_with_an_example_of_the_command(path: tuple[str, ...]) -> None:
    """The example names the command, and every option in it exists."""
    result = CliRunner().invoke(main, [*path, "--help"], prog_name="qpher-core")
    assert result.exit_code == 0
    usage, found, example = result.output.partition("\nExample:\n")
    assert found, "no example"
    assert f"qpher-core {' '.join(path)}".strip() in example or path == ("keys", "rotate")
    if path and not isinstance(_command(path), click.Group):
        options = [word for word in example.split() if word.startswith("-") and word != "-"]
        assert [word for word in options if word not in usage] == []


def _command(path: tuple[str, ...]) -> click.Command:
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    return command


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_option_says_what_it_is_for(path: tuple[str, ...]) -> None:
    """No option stands there with its name alone."""
    options = [one for one in _command(path).params if isinstance(one, click.Option)]
    assert [option.name for option in options if not option.help] == []


def test_every_error_has_an_exit_status() -> None:
    """Each class of the tree maps to the row that it is meant for; a bug to none."""
    tree = [getattr(errors, name) for name in errors.__all__]
    found = {error.__name__: exit_status(error("x")) for error in tree}
    assert found["ValidationError"] == 2
    assert found["AuthenticationError"] == found["PermissionDenied"] == 4
    assert found["PolicyUnavailable"] == found["RateLimited"] == 8
    assert set(found.values()) == {2, 3, 4, 5, 6, 7, 8, 9}
    assert exit_status(KeyError("x")) is None
    assert len({row.number for row in EXIT_STATUSES}) == len(EXIT_STATUSES)


def test_an_error_is_one_line_on_stderr(tmp_path: Path) -> None:
    """No traceback, nothing on standard output, and the status of the table."""
    arguments = ["keys", "list", "--store", f"sqlite:///{tmp_path}/none/q.db"]
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith("qpher-core: ")
    assert done.stderr.count("\n") == 1


def test_an_unknown_scheme_and_a_missing_store_are_usage(tmp_path: Path) -> None:
    """Both end with status 2 and say what is missing."""
    for arguments, told in ((["--store", "nosuch://x"], "nosuch"), ([], "--store")):
        done = subprocess.run(
            [COMMAND, "keys", "list", *arguments], capture_output=True, text=True, check=False
        )
        assert (done.returncode, told in done.stderr) == (2, True)


def test_a_user_without_a_name_is_known_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers run as users that the system has no name for."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 3_000_000_001)
    assert Target("memory:").who == "cli:3000000001"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_command(shell: str) -> None:
    """Each shell gets the script of its kind."""
    done = subprocess.run(
        [COMMAND, "completion", shell], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert f"_QPHER_CORE_COMPLETE={shell}_complete" in done.stdout


def test_completion_completes() -> None:
    """Bash asks for ``qpher-core keys ex`` and gets what there is."""
    done = subprocess.run(
        [COMMAND],
        capture_output=True,
        text=True,
        check=False,
        env={"_QPHER_CORE_COMPLETE": "bash_complete", "COMP_WORDS": "qpher-core keys des",
             "COMP_CWORD": "2"},
    )  # fmt: skip
    assert done.stdout == "plain,destroy\n"


def test_a_store_without_tenants_says_what_makes_one(tmp_path: Path) -> None:
    """The first command after a store was made by the library tells what comes next."""
    store = f"sqlite:///{tmp_path}/q.db"
    qpher_core.open(store).close()
    done = CliRunner().invoke(main, ["keys", "list", "--store", store])
    assert (done.exit_code, "qpher-core tenant create makes one" in done.output) == (3, True)


def test_serve_without_its_extra_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, and the status of what cannot be done as it was asked."""
    store = f"sqlite:///{tmp_path}/q.db"
    qpher_core.open(store).close()
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = CliRunner().invoke(main, ["serve", "--store", store])
    assert done.exit_code == 2
    assert done.output.startswith("qpher-core: serve needs a package that is missing")


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_the_command_says_what_to_install(missing: str) -> None:
    """Either package alone can be there, through something else; one line names the other."""
    program = f"import sys; sys.modules[{missing!r}] = None; import qpher_core.cli.main"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"({missing}): pip install 'qpher-core[cli]'" in done.stderr


def test_the_package_runs_as_the_command() -> None:
    """``python -m qpher_core`` is ``qpher-core``, and calls itself so."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "qpher_core", "keys", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: qpher-core keys ")
