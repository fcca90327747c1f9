# SPDX-License-Identifier: Apache-2.0
"""The paths in URLs of stores that are files."""

import re
from pathlib import Path
from typing import Final

from qpher_core.errors import ValidationError

__all__ = ["path_of"]

#: What other libraries take for parameters; here it would be part of the name of a new file.
_PARAMETERS: Final = re.compile(r"\?\w+=")


def path_of(url: str, scheme: str, expected: str) -> Path:
    """Return the path behind a scheme.

    Raises:
        ValidationError: there is none, or parameters follow it.
    """
    path = url.removeprefix(scheme)
    if path == url or not path:
        raise ValidationError(f"url must be {expected}", parameter="url")
    if _PARAMETERS.search(path):
        raise ValidationError(f"url must be {expected}, without parameters", parameter="url")
    return Path(path)
