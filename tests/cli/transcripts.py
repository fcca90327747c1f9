# SPDX-License-Identifier: Apache-2.0
"""The transcripts of docs/cli.md: read, run again, and written anew.

``python -m tests.cli.transcripts`` writes the outputs of a local store into the document.
"""

import contextlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from attrs import frozen
from click.testing import CliRunner

import qpher_core
from qpher_core.cli._frame import EXIT_STATUSES
from qpher_core.cli.main import main

__all__ = ["DOCUMENT", "Block", "blocks", "local_store", "rerun", "statuses", "written"]

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "cli.md"

_FENCE: Final = re.compile(r"^```console\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_HEADING: Final = re.compile(r"^## (.+)$", re.MULTILINE)
_STATUSES: Final = re.compile(r"(?<=\|---\|---\|\n)(\| \d+ \|.*\n)+")

#: What differs from run to run, and what stands in its place: as long, so that tables line up.
_VARYING: Final = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"), "2026-01-31T12:00:00.000000Z"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
     "11111111-2222-4333-8444-555555555555"),
    (re.compile(r"qph_\w+"), "qph_" + 12 * "A" + "_" + 50 * "B"),
    (re.compile(r"(?<=\"id\": \")\w{12}(?=\")"), 12 * "A"),
    (re.compile(r"(?<=^id {12})\w{12}$", re.MULTILINE), 12 * "A"),
    (re.compile(r"\b[0-9a-f]{64}\b"), 4 * "0123456789abcdef"),
    (re.compile(r"(?<=audit entry        )\d+$|(?<=\"audit_entry\": )\d+", re.MULTILINE), "12"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "0123456789abcdef"),
)  # fmt: skip


@frozen
class Block:
    """One transcript.

    Attributes:
        heading: the section that it stands in.
        text: the block as it stands, command lines and outputs.
    """

    heading: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The command lines."""
        return [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]


def blocks(document: str) -> list[Block]:
    """Return the transcripts of a document, in order."""
    return [
        Block(_HEADING.findall(document[: found.start()])[-1], found[1])
        for found in _FENCE.finditer(document)
    ]


def rerun(block: Block, environment: Mapping[str, str], folder: Path) -> str:
    """Run the commands of a block in a folder and return the transcript that they give."""
    text = ""
    with contextlib.chdir(folder):
        for command in block.commands:
            output, status = _run(command, environment)
            told = f"[exit status {status}]\n" if status else ""
            text += f"$ {command}\n{_settled(output)}{told}"
    return text


def statuses() -> str:
    """Return the rows of the table of exit statuses."""
    return "".join(f"| {row.number} | {row.meaning} |\n" for row in EXIT_STATUSES)


@contextlib.contextmanager
def local_store(folder: Path) -> Iterator[dict[str, str]]:
    """Make a store in a folder and yield the environment in which commands find it."""
    url = f"sqlite:///{folder}/qpher.db"
    qpher_core.open(url).close()
    yield {"QPHER_STORE": url, "QPHER_ACTOR": "alice"}


def written(document: str) -> str:
    """Return the document with the outputs that a local store gives."""
    with tempfile.TemporaryDirectory() as name, local_store(Path(name)) as environment:
        for block in blocks(document):
            document = document.replace(block.text, rerun(block, environment, Path(name)))
    return _STATUSES.sub(lambda _: statuses(), document, count=1)


def _run(command: str, environment: Mapping[str, str]) -> tuple[str, int]:
    """Run a command: ours in this process, a shell line as it is."""
    words = shlex.split(command)
    if words[0] == "qpher-core" and not {"|", "<", ">"} & set(words):
        result = CliRunner(env=dict(environment)).invoke(main, words[1:], prog_name="qpher-core")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.output, result.exit_code
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment, "PATH": places},
        check=False,
    )
    return done.stdout, done.returncode


def _settled(output: str) -> str:
    for pattern, replacement in _VARYING:
        output = pattern.sub(replacement, output)
    return output


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
