# SPDX-License-Identifier: Apache-2.0
"""Checks of what callers pass in. Each raises ``ValidationError`` naming the parameter."""

import math
import unicodedata
from collections.abc import Callable, Mapping
from datetime import MAXYEAR, MINYEAR, datetime
from typing import Any, Final

from attrs import Attribute

from qpher_core.errors import ValidationError

__all__ = [
    "DAY",
    "check_bytes",
    "check_context",
    "check_count",
    "check_moment",
    "check_name",
    "check_positive",
    "check_seconds",
    "check_text",
    "check_threads",
    "check_version",
    "integer_from",
    "seconds_to",
]

#: Checks an attribute of attrs.
Validator = Callable[[object, "Attribute[Any]", object], object]

#: In seconds.
DAY: Final = 86_400

_LONGEST_NAME: Final = 255
_MOST_CONTEXT: Final = 64
_LONGEST_CONTEXT_KEY: Final = 128
_LONGEST_CONTEXT_VALUE: Final = 4096
_MOST_THREADS: Final = 256
_UNCOUNTED: Final = 1 << 63
_HIGHEST_VERSION: Final = 2**32 - 1  # 4 bytes in the message header


def check_text(value: object, parameter: str, *, longest: int, least: int = 1) -> str:
    """Return text of ``least`` to ``longest`` characters without controls or surrogates."""
    if not isinstance(value, str):
        raise ValidationError(f"{parameter} must be text", parameter=parameter)
    if not least <= len(value) <= longest:
        raise ValidationError(
            f"{parameter} must have {least} to {longest} characters, not {len(value)}",
            parameter=parameter,
        )
    plain = value.isascii() and value.isprintable()  # nearly all text, and quick to see
    if not plain and any(unicodedata.category(c) in {"Cc", "Cs"} for c in value):
        raise ValidationError(
            f"{parameter} must not contain control characters or lone surrogates",
            parameter=parameter,
        )
    return value


def check_name(value: object, parameter: str) -> str:
    """Return a name: 1 to 255 characters in Unicode form NFC, no white space at its ends."""
    text = check_text(value, parameter, longest=_LONGEST_NAME)
    if text != text.strip():
        raise ValidationError(
            f"{parameter} must not begin or end with white space", parameter=parameter
        )
    if not unicodedata.is_normalized("NFC", text):
        raise ValidationError(f"{parameter} must be in Unicode form NFC", parameter=parameter)
    return text


def check_bytes(
    value: object, parameter: str, *, sizes: tuple[int, ...] | None = None, least: int = 0
) -> bytes:
    """Return a bytes-like value as bytes, of one of ``sizes`` if given."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise ValidationError(f"{parameter} must be bytes", parameter=parameter)
    data = bytes(value)
    if sizes is not None and len(data) not in sizes:
        expected = " or ".join(str(size) for size in sizes)
        raise ValidationError(
            f"{parameter} must have {expected} bytes, not {len(data)}", parameter=parameter
        )
    if len(data) < least:
        raise ValidationError(
            f"{parameter} must have at least {least} bytes, not {len(data)}", parameter=parameter
        )
    return data


def check_version(value: object, parameter: str = "key_version") -> int:
    """Return a key version: an integer from 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValidationError(f"{parameter} must be an integer", parameter=parameter)
    if not 1 <= value <= _HIGHEST_VERSION:
        raise ValidationError(
            f"{parameter} must be from 1 to {_HIGHEST_VERSION}", parameter=parameter
        )
    return value


def check_threads(value: object) -> int:
    """Return a number of threads: an integer from 1 to 256."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_THREADS:
        raise ValidationError(
            f"threads must be an integer from 1 to {_MOST_THREADS}", parameter="threads"
        )
    return value


def check_count(value: object, parameter: str) -> int:
    """Return a count: an integer from 0, as large as every store can hold."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _UNCOUNTED:
        raise ValidationError(
            f"{parameter} must be an integer from 0, below 2^63", parameter=parameter
        )
    return value


def check_moment(value: object, parameter: str) -> datetime:
    """Return a time that has a zone, and a day before and after it in every other zone."""
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise ValidationError(f"{parameter} must be a time with a time zone", parameter=parameter)
    if not MINYEAR < value.year < MAXYEAR:
        raise ValidationError(f"{parameter} must be of the years 2 to 9998", parameter=parameter)
    return value


def check_positive(value: object, parameter: str) -> float:
    """Return a number above 0 that is finite."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValidationError(f"{parameter} must be a finite number above 0", parameter=parameter)
    return value


def check_seconds(value: object, parameter: str, *, longest: int = DAY) -> float:
    """Return seconds: a number above 0, at most ``longest``."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= longest:
        raise ValidationError(
            f"{parameter} must be seconds, above 0, at most {longest}", parameter=parameter
        )
    return value


def seconds_to(longest: int) -> Validator:
    """Return a validator of attributes that are seconds, as :func:`check_seconds`."""
    return lambda _, attribute, value: check_seconds(value, attribute.name, longest=longest)


def integer_from(least: int) -> Validator:
    """Return a validator of attributes that are integers, from ``least``."""

    def check(_: object, attribute: "Attribute[Any]", value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            name = attribute.name
            raise ValidationError(f"{name} must be an integer from {least}", parameter=name)

    return check


def check_context(value: object, parameter: str = "context") -> dict[str, str]:
    """Return a caller context: a mapping of text to text, possibly empty."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValidationError(f"{parameter} must be a mapping of text to text", parameter=parameter)
    if len(value) > _MOST_CONTEXT:
        raise ValidationError(
            f"{parameter} must have at most {_MOST_CONTEXT} members", parameter=parameter
        )
    return {
        check_text(k, f"{parameter} key", longest=_LONGEST_CONTEXT_KEY): check_text(
            v, f"{parameter} value", longest=_LONGEST_CONTEXT_VALUE, least=0
        )
        for k, v in value.items()
    }
