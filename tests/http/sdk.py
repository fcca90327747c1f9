# SPDX-License-Identifier: Apache-2.0
"""The published SDK in the two versions that are tested, and the transcripts of docs/sdk.md.

The newest is installed beside these tests, the other in an environment of its own, with the
dependencies that pip chooses for it. ``python -m tests.http.sdk`` writes the transcripts anew.
"""

import contextlib
import functools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

import qpher_core
from qpher_core.asgi import create_app
from tests.cli.transcripts import Block, blocks
from tests.http.server import serving

__all__ = ["DOCUMENT", "VERSIONS", "binaries", "document_blocks", "rerun", "run_program", "world"]

VERSIONS: Final = ("1.4.0", "1.0.0")
DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "sdk.md"

_PROGRAM: Final = Path(__file__).with_name("sdk_program.py")
_HERE: Final = Path(sys.executable).parent

#: What differs from run to run, and what stands in its place.
_VARYING: Final = (
    (re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00))?"), "2026-01-31"),
    (re.compile(r"qph_\w+\*\*\*\*\w+"), "qph_AAAA****BBBB"),
    (
        re.compile(r"[A-Za-z0-9+/]{39,}={0,2}"),
        lambda match: f"[base64, {len(match[0])} characters]",
    ),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:8000"),
    (re.compile(r"(?<=Public key: )\S+"), "[base64]..."),
    (re.compile(r"(?<='key:)\w{12}(?=')"), 12 * "A"),
    (re.compile(r"(?<=Request ID: )\S+"), "11111111-2222-4333-8444-555555555555"),
)


@functools.cache
def binaries(version: str) -> Path:
    """Return the directory with the ``python`` and ``qpher`` of one version."""
    if version == VERSIONS[0]:
        return _HERE
    folder = _HERE.parent / f"sdk-{version}"
    if not (folder / "bin" / "qpher").exists():
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
        for command in (
            [sys.executable, "-m", "venv", str(folder)],
            [*pip, "install", "--quiet", f"qpher=={version}"],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"cannot install qpher=={version}: {done.stderr.strip()[-300:]}")
    return folder / "bin"


def run_program(version: str, program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program with one version of the SDK."""
    return subprocess.run(
        [str(binaries(version) / "python"), "-W", "error", str(program), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@contextlib.contextmanager
def world(folder: Path) -> Iterator[dict[str, str]]:
    """Serve a service as the transcripts expect it; yields the environment of their commands."""
    with qpher_core.open(f"sqlite:///{folder}/q.db") as kms:
        kms.tenants.create("acme")
        kms.policies.set('[{"rule": "deny", "algorithms": ["ML-KEM-512"]}]', tenant="acme")
        kms.tenants.create("small", plan="free")
        scopes = ("kem", "signatures", "keys")
        gone, revoked = kms.api_keys.create("acme", name="gone")
        kms.api_keys.revoke("acme", gone.id)
        home = folder / "home"
        home.mkdir()
        with serving(create_app(kms)) as base:
            yield {
                "HOME": str(home),
                "QPHER_API_URL": base,
                "KEY": kms.api_keys.create("acme", scopes=scopes)[1],
                "OTHER_KEY": kms.api_keys.create("small", scopes=scopes)[1],
                "REVOKED_KEY": revoked,
            }
        assert kms.audit.verify("acme").ok


def document_blocks(version: str) -> list[Block]:
    """Return the transcripts of one version."""
    found = blocks(DOCUMENT.read_text(encoding="utf-8"))
    return [block for block in found if block.heading.endswith(version)]


def rerun(version: str, block: Block, environment: Mapping[str, str], folder: Path) -> str:
    """Run the commands of a block in a folder and return the transcript that they give."""
    text = ""
    places = os.pathsep.join([str(binaries(version)), os.environ["PATH"]])
    for command in block.commands:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env={**environment, "PATH": places, "PROGRAM": str(_PROGRAM), "LC_ALL": "C.UTF-8"},
            check=False,
            timeout=120,
        )
        told = f"[exit status {done.returncode}]\n" if done.returncode else ""
        text += f"$ {command}\n{_settled(done.stdout)}{told}"
    return text


def _settled(output: str) -> str:
    for pattern, replacement in _VARYING:
        output = pattern.sub(replacement, output)
    return "".join(f"{line.rstrip()}\n" for line in output.splitlines() if line.strip())


def _write() -> None:
    """Write the outputs into the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    for version in VERSIONS:
        for block in document_blocks(version):
            with tempfile.TemporaryDirectory() as name, world(Path(name)) as environment:
                given = rerun(version, block, environment, Path(name))
            text = text.replace(f"\n{block.text}```", f"\n{given}```", 1)
    DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    _write()
