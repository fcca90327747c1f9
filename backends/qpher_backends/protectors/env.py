# SPDX-License-Identifier: Apache-2.0
"""Key encryption keys in an environment variable: ``env://VARIABLE``.

The variable holds the base64 text of 32 bytes, or several separated by spaces; the last one
seals a new store. Whoever starts the process puts it there; this module makes none.
"""

import os
from typing import Final

from qpher_backends.protectors._kek import KekRing, parse_kek
from qpher_backends.protectors._url import refused, split
from qpher_core.errors import ProtectorUnavailable

__all__ = ["open_protector"]

_FORM: Final = "env://VARIABLE"


def open_protector(url: str, *, create: bool) -> KekRing:
    """Open ``env://VARIABLE``; the entry point.

    Raises:
        ProtectorUnavailable: the variable is not set, or holds something else.
    """
    del create  # a KEK that only this process knew would be lost with it
    variable, _ = split(url, _FORM)
    if not variable.replace("_", "").isalnum() or not variable.isascii():
        raise refused(_FORM)
    where = f"env://{variable}"
    values = os.environ.get(variable, "").split()
    if not values:
        raise ProtectorUnavailable(
            f"{where} is not set; 'qpher-core protector new-kek' prints a KEK for it"
        )
    keks = [parse_kek(text, f"value {n} of {where}") for n, text in enumerate(values, 1)]
    return KekRing(keks, where)
