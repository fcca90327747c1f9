# SPDX-License-Identifier: Apache-2.0
"""The published SDK, in the two versions that are tested, each in a directory of its own."""

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

__all__ = ["VERSIONS", "installed", "run_cli", "run_program"]

VERSIONS = ("1.0.0", "1.4.0")

_CACHE = Path(tempfile.gettempdir()) / f"qpher-sdk-{os.getuid()}"


@functools.cache
def installed(version: str) -> Path:
    """Return the directory into which pip installed one version of the SDK, dependencies apart.

    Its dependencies are those that the newest one has here already.
    """
    target = _CACHE / version
    if not (target / "qpher" / "__init__.py").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
        done = subprocess.run(
            [*command, str(target), f"qpher=={version}"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"pip cannot install qpher=={version}: {done.stderr.strip()[-300:]}")
    return target


def _environment(version: str, **more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(installed(version)), **more}


def run_program(version: str, program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program that imports one version of the SDK."""
    return subprocess.run(
        [sys.executable, "-W", "error", str(program), *arguments],
        capture_output=True,
        text=True,
        env=_environment(version),
        check=False,
        timeout=120,
    )


def run_cli(
    version: str, home: Path, *arguments: str, answer: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of one version of the SDK's CLI, with its configuration in ``home``."""
    main = "from qpher.cli.main import cli; cli(prog_name='qpher')"
    return subprocess.run(
        [sys.executable, "-c", main, *arguments],
        capture_output=True,
        text=True,
        input=answer,
        env=_environment(version, HOME=str(home)),
        check=False,
        timeout=120,
    )
