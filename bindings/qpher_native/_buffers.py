# SPDX-License-Identifier: Apache-2.0
"""What goes into C and what comes out of it: checked inputs, freshly made outputs."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, TypeAlias

from ._native import ffi

if TYPE_CHECKING:
    from ._native import CData

Buffer: TypeAlias = bytes | bytearray | memoryview

_from_buffer = ffi.from_buffer

# output(n) makes the bytes object that a C function then fills, n >= 2. cffi passes the address
# of its content, nobody else has seen the object yet, and CPython makes a new one for each call
# (it shares only those of length 0 and 1). A buffer of cffi's own would cost three times as much
# and leave a second copy of every shared secret on the heap, out of reach of any wiping.
output: Final = bytes


def sized(value: Buffer, name: str, size: int) -> bytes | CData:
    """``value`` as C reads it, without a copy, if it has exactly ``size`` bytes."""
    data = value if type(value) is bytes else _export(value, name)
    if len(data) != size:
        raise ValueError(f"{name} must be {size} bytes, not {len(data)}")
    return data


def copied(value: Buffer, name: str, size: int) -> bytes:
    """``value`` as bytes that nobody changes, if it has exactly ``size`` bytes."""
    data = sized(value, name, size)
    return data if isinstance(data, bytes) else bytes(ffi.buffer(data))


def at_most(value: Buffer, name: str, size: int) -> bytes | CData:
    """``value`` as C reads it, without a copy, if it has no more than ``size`` bytes."""
    data = value if type(value) is bytes else _export(value, name)
    if len(data) > size:
        raise ValueError(f"{name} must be at most {size} bytes, not {len(data)}")
    return data


def any_size(value: Buffer, name: str) -> bytes | CData:
    """``value`` as C reads it, without a copy."""
    return value if type(value) is bytes else _export(value, name)


def _export(value: Buffer, name: str) -> CData:
    """The memory of a bytes-like object; it cannot be resized while the result lives.

    Subclasses of bytes come here too, since they may lie about their length.
    """
    if not isinstance(value, (bytes, bytearray, memoryview)):
        kind = type(value).__name__
        raise TypeError(f"{name} must be bytes, bytearray or memoryview, not {kind}")
    if isinstance(value, memoryview) and not value.c_contiguous:
        raise ValueError(f"{name} must be contiguous in memory")
    return _from_buffer(value)


def pieces(data: bytes, size: int) -> tuple[bytes, ...]:
    """``data`` cut into parts of ``size`` bytes; a slice for each would take thrice as long."""
    return struct.unpack(f"{size}s" * (len(data) // size), data)
