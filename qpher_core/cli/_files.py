# SPDX-License-Identifier: Apache-2.0
"""Files that commands read and write; ``-`` is standard input or output."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from qpher_core.errors import ValidationError
from qpher_core.file_io import open_target

__all__ = [
    "STANDARD",
    "json_line",
    "new_target",
    "read_bytes",
    "read_text",
    "source_of",
    "write_bytes",
]

#: Stands for standard input or output.
STANDARD = "-"


def source_of(name: str) -> BinaryIO | Path:
    """Return what to read from."""
    return sys.stdin.buffer if name == STANDARD else Path(name)


def new_target(name: str, *, force: bool) -> BinaryIO | Path:
    """Return what to write to; a file that exists only if ``force``.

    Raises:
        ValidationError: the file exists, or binary data would go to a terminal.
    """
    if name == STANDARD:
        if sys.stdout.isatty():
            raise ValidationError("--output must name a file, or standard output go to one")
        return sys.stdout.buffer
    path = Path(name)
    if path.exists() and not force:
        raise ValidationError(f"{name} exists: --force replaces it", parameter="output")
    return path


def read_bytes(name: str) -> bytes:
    """Return the content of a file or of standard input."""
    return sys.stdin.buffer.read() if name == STANDARD else Path(name).read_bytes()


def read_text(path: Path, parameter: str) -> str:
    """Return the content of a file of text.

    Raises:
        ValidationError: it is none; a file of the caller's says nothing about a log.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValidationError(f"{path} is no text in UTF-8", parameter=parameter) from None


def write_bytes(name: str | Path, data: bytes) -> None:
    """Write a file, complete and durable or not at all, or standard output."""
    with open_target(sys.stdout.buffer if name == STANDARD else Path(name)) as file:
        file.write(data)
        file.flush()


def json_line(document: Mapping[str, object]) -> bytes:
    """Return a document as one line of JSON."""
    return json.dumps(dict(document)).encode() + b"\n"
