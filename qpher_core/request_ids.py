# SPDX-License-Identifier: Apache-2.0
"""Random request ids (UUID version 4, RFC 9562), drawn from the system many at a time.

Each request to the system lets other threads run, and costs more than all else here; an id is
needed for every operation. The ids are no secrets.
"""

import os
from typing import Final

__all__ = ["new_request_id"]

_AT_ONCE: Final = 256
_DIGITS: Final = 32  # hexadecimal, of 16 bytes
_VARIANTS: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))

_drawn: Final[list[str]] = []
os.register_at_fork(after_in_child=_drawn.clear)  # a child draws its own


def new_request_id() -> str:
    """Return an id that no other request has, in its usual form of 36 characters."""
    while True:
        try:
            drawn = _drawn.pop()
        except IndexError:
            digits = os.urandom(_AT_ONCE * _DIGITS // 2).hex()
            _drawn.extend(digits[at : at + _DIGITS] for at in range(0, len(digits), _DIGITS))
            continue
        variant = _VARIANTS[drawn[16]]
        return f"{drawn[:8]}-{drawn[8:12]}-4{drawn[13:16]}-{variant}{drawn[17:20]}-{drawn[20:]}"
