# SPDX-License-Identifier: Apache-2.0
"""Names as path components: any name is safe, and no two names share a component.

Lower-case letters, digits, ``-`` and ``_`` stand for themselves; every other byte of the UTF-8
form is ``%`` and two hexadecimal digits. So ``..``, NUL, and names that differ only in case or
Unicode form are different components on every filesystem. A component that would be too long is
cut and ends with ``%%`` and the SHA-256 of the name; the name itself is in the file's content.
"""

import hashlib
import re
from typing import Final

from qpher_core.algorithms import ALGORITHMS

__all__ = ["algorithm_component", "component", "decoded_algorithm", "decoded_name"]

_PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")
_LONGEST: Final = 160  # two components and a suffix stay below the 255 bytes of a file name
_KEPT: Final = 60
_CUT: Final = "%%"
_ESCAPE: Final = re.compile("%([0-9a-f]{2})")
_TORN: Final = re.compile("%[0-9a-f]?$")

#: Algorithms of the registry are written in lower case, which is easier to read and unambiguous.
_KNOWN: Final = {name.lower(): name for name in ALGORITHMS}


def component(name: str) -> str:
    """Return the path component of a name."""
    data = name.encode("utf-8", "surrogatepass")
    text = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02x}" for byte in data)
    if len(text) <= _LONGEST:
        return text
    return _TORN.sub("", text[:_KEPT]) + _CUT + hashlib.sha256(data).hexdigest()


def decoded_name(text: str) -> str | None:
    """Return the name of a component, or None if it was cut and the content must tell."""
    if _CUT in text:
        return None
    data = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text).encode("latin-1")
    return data.decode("utf-8", "surrogatepass")


def algorithm_component(algorithm: str) -> str:
    """Return the path component of an algorithm."""
    lower = algorithm.lower()
    return lower if _KNOWN.get(lower) == algorithm else "%" + component(algorithm)


def decoded_algorithm(text: str) -> str | None:
    """Return the algorithm of a component, or None if the content must tell."""
    return _KNOWN.get(text) or decoded_name(text[1:])
