# SPDX-License-Identifier: Apache-2.0
"""Commands that the documentation names are commands, with options that they have."""

import re
from collections.abc import Iterator
from typing import Final

import click
import pytest

from qpher_core.cli.main import main
from tests.docs.test_docs import PAGES

_FENCED: Final = re.compile(r"^ *```\w*\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_INLINE: Final = re.compile(r"`([^`]+)`")
_COMMAND: Final = re.compile(r"(?:^|\$ |\| |\$\()qpher-core ([^|;#>&)\n]+)", re.MULTILINE)


def _named() -> Iterator[tuple[str, str]]:
    """Yield each command line in code, without what it is connected to."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        fenced = [block.replace("\\\n", " ") for block in _FENCED.findall(text)]
        inline = [" ".join(code.split()) for code in _INLINE.findall(_FENCED.sub("", text))]
        if page.name == "formats.md":
            continue  # texts that begin with the name
        for code in (*fenced, *inline):
            for found in _COMMAND.findall(code):
                yield page.name, " ".join(found.split())


NAMED = sorted(set(_named()))


def _found(words: list[str]) -> tuple[click.Command, list[str]]:
    """Return the command that words begin with, and the words that follow."""
    command: click.Command = main
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    return command, words


def test_the_search_finds_them() -> None:
    """In transcripts, in blocks and in text."""
    assert len(NAMED) > 70
    assert {"cli.md", "http.md", "policy.md", "protectors.md", "verify.md"} <= {
        page for page, _ in NAMED
    }


@pytest.mark.parametrize(("page", "line"), NAMED, ids=lambda value: value[:60])
def test_a_named_command_exists(page: str, line: str) -> None:
    """It is one, or is shown to be refused, and each of its options is its own."""
    command, rest = _found(line.split())
    if isinstance(command, click.Group) and not rest:
        return  # the group itself is meant
    assert not isinstance(command, click.Group) or rest[0].startswith("-"), rest
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    options = [word.split("=")[0] for word in rest if word.startswith("-") and word != "-"]
    assert set(options) <= known | {"--help"}
