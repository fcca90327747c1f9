# SPDX-License-Identifier: Apache-2.0
"""Sample files of several kinds for the demo."""

import random
import sqlite3
import struct
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["make_samples"]

_LARGE_BYTES: Final = 50 * 1000 * 1000
_PIECE_BYTES: Final = 1000 * 1000
_ROWS: Final = 20_000
_PNG_SIDE: Final = 256


def make_samples(folder: Path) -> list[Path]:
    """Make a database dump, a tar archive, a picture, an empty file and one of 50 MB."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _database_dump(folder / "patients.sql"),
        _picture(folder / "scan.png"),
        _archive(folder / "records.tar.gz", [folder / "patients.sql", folder / "scan.png"]),
        _empty(folder / "empty.bin"),
        _large(folder / "backup.img"),
    ]


def _database_dump(path: Path) -> Path:
    database = sqlite3.connect(":memory:")
    with database:
        database.execute("CREATE TABLE patients (id INTEGER PRIMARY KEY, name TEXT, result REAL)")
        database.executemany(
            "INSERT INTO patients VALUES (?, ?, ?)",
            ((n, f"patient {n}", n % 97 / 7) for n in range(_ROWS)),
        )
    path.write_text("\n".join(database.iterdump()), encoding="utf-8")
    database.close()
    return path


def _picture(path: Path) -> Path:
    """Write a PNG of a colour gradient."""

    def block(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    side = range(_PNG_SIDE)
    rows = b"".join(b"\x00" + bytes(v for x in side for v in (x, y, x ^ y)) for y in side)
    header = struct.pack(">IIBBBBB", _PNG_SIDE, _PNG_SIDE, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + block(b"IHDR", header)
        + block(b"IDAT", zlib.compress(rows))
        + block(b"IEND", b"")
    )
    return path


def _archive(path: Path, members: list[Path]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            archive.add(member, arcname=member.name)
    return path


def _empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def _large(path: Path) -> Path:
    with path.open("wb") as file:
        file.writelines(_pieces())
    return path


def _pieces() -> Iterator[bytes]:
    generator = random.Random(50)  # noqa: S311 - sample data, not a secret
    for _ in range(_LARGE_BYTES // _PIECE_BYTES):
        yield generator.randbytes(_PIECE_BYTES)
