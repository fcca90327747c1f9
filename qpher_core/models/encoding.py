# SPDX-License-Identifier: Apache-2.0
"""How documents and times are written, where bytes are hashed, signed or compared."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

__all__ = ["canonical_json", "optional_moment", "optional_rfc3339", "rfc3339"]

_SORTING: Final = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
)
_KEEPING: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def canonical_json(value: Mapping[str, object]) -> bytes:
    """RFC 8785 bytes of a document of strings, integers, nulls, lists and objects.

    For these types the standard encoder with sorted keys gives exactly the canonical form, but
    for the order of member names beyond ASCII; a property test compares it with a reference
    implementation. Floats have another canonical form and must not be passed.
    """
    text = _SORTING.encode(value)
    return (text if text.isascii() else _KEEPING.encode(_in_order(value))).encode()


def _in_order(value: object) -> object:
    """Return a copy whose members are in the order of RFC 8785 section 3.2.3: by UTF-16 units."""
    if isinstance(value, Mapping):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return {name: _in_order(value[name]) for name in names}
    if isinstance(value, list):
        return [_in_order(item) for item in value]
    return value


def rfc3339(moment: datetime) -> str:
    """UTC time with microseconds: ``2026-01-31T23:59:59.000000Z``."""
    m = moment  # every entry has a time, and isoformat() and format() take twice as long
    parts = (m.year, m.month, m.day, m.hour, m.minute, m.second, m.microsecond)
    return "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ" % parts  # noqa: UP031


def optional_rfc3339(moment: datetime | None) -> str | None:
    """As :func:`rfc3339`; None for None."""
    return None if moment is None else rfc3339(moment)


def optional_moment(text: str | None) -> datetime | None:
    """Return the time that :func:`optional_rfc3339` wrote. Raises ``ValueError``."""
    return None if text is None else datetime.fromisoformat(text)
