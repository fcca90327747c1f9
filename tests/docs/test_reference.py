# SPDX-License-Identifier: Apache-2.0
"""docs/reference.md has all that is public, and nothing else."""

import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import attrs
import click
import pytest
from click.testing import CliRunner

import qpher_core
from qpher_core import AnchorSettings, QpherError, RemoteSettings, errors
from qpher_core.asgi import Settings
from qpher_core.asgi.envelope import error_answer
from qpher_core.cli._frame import exit_status
from qpher_core.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")

Rows = list[list[str]]


def _rows(section: str) -> Rows:
    """Return the cells of the table between two marks, without its head."""
    found = re.search(rf"<!-- {section} -->\n(.*?)<!-- end -->", TEXT, re.DOTALL)
    assert found is not None, section
    lines = found[1].strip().splitlines()[2:]
    return [[cell.strip() for cell in line[1:-1].split(" | ")] for line in lines]


def _names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def _listed(rows: Rows, column: int) -> list[str]:
    return [name for row in rows for name in _names(row[column])]


def test_open_has_its_parameters() -> None:
    """Every parameter of ``open`` stands in its table, in order, with its default."""
    parameters = inspect.signature(qpher_core.open).parameters.values()
    rows = {_names(row[0])[0]: row[1] for row in _rows("open")}
    assert list(rows) == [parameter.name for parameter in parameters]
    for parameter in parameters:
        if isinstance(parameter.default, float):
            assert rows[parameter.name] == str(parameter.default)


def _methods(part: object) -> set[str]:
    public = {name for name in dir(part) if not name.startswith("_")}
    return {name for name in public if callable(getattr(part, name))}


def _parts(of: object, name: str) -> Iterator[tuple[str, object]]:
    """Yield the object and each part of it that is ours, by the name that callers write."""
    yield name, of
    for member in dir(of):
        value = getattr(of, member)
        ours = type(value).__module__.startswith("qpher_core") and not callable(value)
        if not member.startswith("_") and (ours or member == "algorithms"):
            yield f"{name}.{member}", value


@pytest.mark.parametrize("of", ["Qpher", "Session"])
def test_every_method_of_every_part_is_there(of: str) -> None:
    """Service and session, part by part; a part without methods of its own has its row."""
    with qpher_core.open("memory:") as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="test")
        parts = dict(_parts(kms, "kms") if of == "Qpher" else _parts(session, "session"))
        listed: dict[str, set[str]] = {}
        name = ""
        for row in _rows(f"parts {of}"):
            name = next(iter(_names(row[0])), name)
            listed.setdefault(name, set()).update(_names(row[1]))
        expected = {name: _methods(part) for name, part in parts.items()}
        for same in ("kms.aio", "kms.algorithms"):  # of another page, and a plain collection
            expected.update({same: set()} if same in expected else {})
        assert listed == expected


def test_every_name_of_the_package_is_there() -> None:
    """Each name of ``__all__`` once; errors stand in their own table."""
    exceptions = {
        name
        for name in qpher_core.__all__
        if isinstance(value := getattr(qpher_core, name), type) and issubclass(value, QpherError)
    }
    names = _listed(_rows("names"), 1)
    assert len(names) == len(set(names))
    assert set(names) - {"QpherError"} == set(qpher_core.__all__) - exceptions
    assert {_names(row[0])[0] for row in _rows("errors")} == exceptions - {"QpherError"}


@pytest.mark.parametrize("kind", [AnchorSettings, RemoteSettings, Settings])
def test_settings_have_their_fields_and_defaults(kind: type[attrs.AttrsInstance]) -> None:
    """Fields in order, with what they are if nothing is said."""
    rows = [(_names(row[0])[0], _names(row[1])[0]) for row in _rows(f"settings {kind.__name__}")]
    assert rows == [(field.name, repr(field.default)) for field in attrs.fields(kind)]


@pytest.mark.parametrize("row", _rows("errors"), ids=lambda row: row[0])
def test_errors_have_their_codes_and_statuses(row: list[str]) -> None:
    """The default code is the first; the statuses are those that the code has."""
    name, codes = _names(row[0])[0], _names(row[1])
    kind = getattr(qpher_core, name)
    made = kind("x") if name != "AuditIntegrityError" else kind(qpher_core.Problem.CUT, "x")
    assert made.code == codes[0]
    assert str(error_answer(made, "").status) in row[3].split(", ")
    assert exit_status(made) == int(row[4])


def test_every_error_of_the_tree_is_public() -> None:
    """The classes of the tree are those that the package has."""
    assert set(errors.__all__) <= set(qpher_core.__all__)


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))
        else:
            yield " ".join((*path, name))


def test_every_command_is_there() -> None:
    """Each command once."""
    assert sorted(_listed(_rows("commands"), 0)) == sorted(_commands(main))


def test_every_variable_of_the_environment_is_there() -> None:
    """Those that help names, and those that are read elsewhere in the code or its build."""
    helps = [CliRunner().invoke(main, [*path.split(), "--help"]).output for path in _commands(main)]
    named = set(re.findall(r"QPHER_[A-Z_]+(?=[\];])", "".join(helps)))
    sources = [*ROOT.glob("qpher_core/**/*.py"), *ROOT.glob("backends/**/*.py"), ROOT / "setup.py"]
    read = set()
    for source in sources:
        text = source.read_text(encoding="utf-8")
        if "environ" in text:
            read |= set(re.findall(r"\"(QPHER_[A-Z_]+)\"", text))
    inner = {"QPHER_SERVE_OPTIONS"}  # from the command to its own workers
    assert set(_listed(_rows("environment"), 0)) == (named | read | {"QPHER_NATIVE_CPU"}) - inner


def test_every_extra_is_there() -> None:
    """All but those of the project's own tests and benchmarks."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"]) - {"test", "bench"}
    assert set(_listed(_rows("extras"), 0)) == extras
