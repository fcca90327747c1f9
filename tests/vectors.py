# SPDX-License-Identifier: Apache-2.0
"""Public test vectors, found outside the repository: none of them is copied into it.

``QPHER_VECTORS`` names their folder; without it, ``../shared/vectors`` beside the checkout is
tried. Tests that need an absent file are skipped with a message that says so.
"""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

_DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "vectors"


def folder() -> Path:
    """Where the vectors are, or would be."""
    return Path(os.environ.get("QPHER_VECTORS", _DEFAULT))


def path(name: str) -> Path:
    """The file ``name``; skips the calling test, or its whole module, when it is absent."""
    found = folder() / name
    if not found.is_file():
        pytest.skip(f"no test vectors: {found} (set QPHER_VECTORS)", allow_module_level=True)
    return found


def load_text(name: str) -> str:
    """A gzip-compressed text file."""
    with gzip.open(path(name), "rt", encoding="utf-8") as file:
        return file.read()


def load_json(name: str) -> Any:
    """A gzip-compressed JSON file."""
    return json.loads(load_text(name))


def lines(name: str) -> list[str]:
    """The lines of a gzip-compressed text file, without empty ones and comments."""
    stripped = (line.strip() for line in load_text(name).splitlines())
    return [line for line in stripped if line and not line.startswith("#")]
