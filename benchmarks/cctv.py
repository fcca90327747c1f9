# SPDX-License-Identifier: Apache-2.0
"""C2SP/CCTV's signing messages: how often signing them starts again is what it is on average.

This imports nothing but the standard library: pqclean.py runs where the project is not installed.
"""

import gzip
import json
import os
from pathlib import Path
from typing import Final

__all__ = ["MESSAGES", "messages"]

MESSAGES: Final = 100
_VECTORS: Final = Path(os.environ.get("QPHER_VECTORS", "../shared/vectors"))


def messages(name: str) -> list[bytes]:
    """Return the messages for ``ML-DSA-65``, say; 32-byte counters where there are none."""
    file = _VECTORS / "cctv" / f"{name.lower()}-benchmark.json.gz"
    if not file.exists():
        return [number.to_bytes(32, "big") for number in range(MESSAGES)]
    texts = json.loads(gzip.decompress(file.read_bytes()))
    return [text.encode() for text in texts[:MESSAGES]]
