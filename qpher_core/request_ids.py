# SPDX-License-Identifier: Apache-2.0
"""Random request ids (UUID version 4, RFC 9562), drawn from the system many at a time.

Each request to the system lets other threads run, and costs more than all else here; an id is
needed for every operation. The ids are no secrets.
"""

import os
import uuid
from typing import Final

__all__ = ["new_request_id"]

_AT_ONCE: Final = 256
_BYTES: Final = 16
_VERSION: Final = 4 << 76
_VARIANT: Final = 2 << 62
_RANDOM_BITS: Final = ~((0xF << 76) | (3 << 62))

_drawn: Final[list[int]] = []
os.register_at_fork(after_in_child=_drawn.clear)  # a child draws its own


def new_request_id() -> uuid.UUID:
    """Return an id that no other request has."""
    while True:
        try:
            number = _drawn.pop()
        except IndexError:
            data = memoryview(os.urandom(_AT_ONCE * _BYTES))
            _drawn.extend(
                int.from_bytes(data[at : at + _BYTES]) for at in range(0, len(data), _BYTES)
            )
            continue
        return uuid.UUID(int=number & _RANDOM_BITS | _VERSION | _VARIANT)
