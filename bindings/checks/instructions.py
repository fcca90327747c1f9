# SPDX-License-Identifier: Apache-2.0
"""Counts the instructions of every operation and writes the table of docs/performance.md.

``instructions.py PROGRAM FOLDER``: PROGRAM is operations.c, built as the wheels are; callgrind runs
it on each code path that it knows and leaves a dump per operation in FOLDER.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

DOCUMENT = Path("docs/performance.md")
BEGIN = "<!-- instructions: written by bindings/checks/instructions.py -->"
END = "<!-- instructions: end -->"
PATHS = ("portable", "avx2")  # valgrind knows no AVX-512
DUMP = re.compile(
    r"^desc: Trigger: Client Request: ([^,]+), (.+), (\d+)$.*^totals: (\d+)$",
    re.MULTILINE | re.DOTALL,
)
Counts = dict[tuple[str, str], int]


def counted(program: Path, folder: Path, path: int) -> Counts:
    """Instructions by set and operation, in the order of the program."""
    pattern = folder / f"{PATHS[path]}.out"
    for old in folder.glob(f"{pattern.name}*"):
        old.unlink()
    command = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={pattern}"]
    subprocess.run([*command, program, str(path)], check=True)
    dumps = sorted(folder.glob(f"{pattern.name}.*"), key=lambda file: int(file.suffix[1:]))
    found = [DUMP.search(dump.read_text()) for dump in dumps]
    if not found or None in found:
        raise SystemExit(f"instructions.py: callgrind left no counts in {folder}")
    return {(m[1], m[2]): round(int(m[4]) / int(m[3])) for m in found if m is not None}


def table(counts: list[Counts]) -> str:
    """The Markdown table: a row for each operation, a column for each path."""
    head = f"| | {' | '.join(PATHS)} |\n|---|{'---:|' * len(PATHS)}\n"
    rows = []
    for name, operation in counts[0]:
        cells = " | ".join(f"{each[name, operation]:,}" for each in counts)
        rows.append(f"| {name} {operation} | {cells} |\n")
    return head + "".join(rows)


def main(program: Path, folder: Path) -> None:
    """Count, and put the table between its marks."""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"instructions.py: {DOCUMENT} has lost its marks")
    written = table([counted(program, folder, path) for path in range(len(PATHS))])
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{written}\n{END}{after}", encoding="utf-8")
    print(written)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
