# SPDX-License-Identifier: Apache-2.0
"""Request bodies: JSON without duplicate members, NaN or lone surrogates; canonical base64."""

import binascii
import functools
import json
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec

from qpher_core.errors import ValidationError

__all__ = ["Base64", "decode_body", "decode_hook", "decode_params", "schema_hook"]

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

MALFORMED: Final = "ERR_INVALID_001"


class Base64(bytes):
    """Bytes that arrive as standard base64 with padding, in the one canonical spelling."""

    __slots__ = ()


def decode_hook(kind: type, value: Any) -> Any:
    """Decode what msgspec does not know."""
    if kind is not Base64:
        raise NotImplementedError(f"no decoder for {kind}")
    if not isinstance(value, str):
        raise TypeError("Expected `str` of base64")
    try:
        data: bytes = msgspec.convert(value, bytes)
    except msgspec.ValidationError:  # also for text beyond ASCII
        raise ValueError("Expected standard base64 with padding") from None
    rest = len(data) % 3
    # Only the last digit can be spelled in several ways.
    if rest and binascii.b2a_base64(data[-rest:], newline=False) != value[-4:].encode():
        raise ValueError("Expected canonical base64: the last digit has bits to spare")
    return Base64(data)


def schema_hook(kind: type) -> dict[str, Any]:
    """Return the JSON schema of what msgspec does not know."""
    if kind is not Base64:
        raise NotImplementedError(f"no schema for {kind}")
    return {
        "type": "string",
        "contentEncoding": "base64",
        "pattern": "^(?:[A-Za-z0-9+/]{4})*"
        "(?:[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=|[A-Za-z0-9+/][AQgw]==)?$",
    }


def decode_body(body: bytes, kind: type[T]) -> T:
    """Return a request body as its model.

    Raises:
        ValidationError: ``ERR_INVALID_001`` if it is not JSON, ``ERR_INVALID_003`` if a member is
            missing, unknown or of another type; the message names it.
    """
    decoded: T | None = _at_a_glance(body, kind)
    if decoded is not None:
        return decoded
    try:
        _UNIQUE.decode(body.decode())
        decoded = _decoder(kind).decode(body)  # type: ignore[arg-type]  # a type can be hashed
    except msgspec.ValidationError as error:
        raise ValidationError(str(error)) from None
    except (ValueError, RecursionError, msgspec.DecodeError) as error:
        raise ValidationError(f"the body is not JSON: {_reason(error)}", code=MALFORMED) from None
    return decoded


@functools.cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """Return what decodes a model."""
    return msgspec.json.Decoder(kind, dec_hook=decode_hook)


def _at_a_glance(body: bytes, kind: Any) -> Any:
    """Return a body as its model if that is as simple as of most requests, or None.

    In an object of ASCII without escapes, objects and arrays, each quotation mark begins or ends
    a name or a text. A name that comes twice is one name of what is decoded, and four marks.
    """
    if not body.isascii() or b"\\" in body:
        return None
    try:
        members = _FLAT.decode(body)
        texts = list(map(type, members.values())).count(str)
        unique = body.count(b'"') == 2 * (len(members) + texts)
        return msgspec.convert(members, kind, dec_hook=decode_hook) if unique else None
    except msgspec.MsgspecError:
        return None  # what is wrong is found out without haste


def decode_params(values: dict[str, str], kind: type[S]) -> S:
    """Return path and query parameters as their model. Raises ``ValidationError``."""
    try:
        params = msgspec.convert(values, type=kind, strict=False, dec_hook=decode_hook)
        for field in msgspec.structs.fields(kind) if values else ():
            if field.name in values:
                _take_literally(params, field, values[field.name])
    except msgspec.ValidationError as error:
        raise ValidationError(str(error)) from None
    return params


def _take_literally(params: msgspec.Struct, field: msgspec.structs.FieldInfo, text: str) -> None:
    """Refuse what a parameter's text does not say.

    ``null`` is text, a number of seconds is no time, and ``1e1`` no whole number.
    """
    given = getattr(params, field.name)
    if given is None or isinstance(given, datetime):
        try:
            given = msgspec.convert(text, type=field.type, dec_hook=decode_hook)
        except msgspec.ValidationError as error:
            raise ValidationError(f"{error} - at `$.{field.name}`") from None
        msgspec.structs.force_setattr(params, field.name, given)
    elif type(given) is int and str(given) != text:
        raise ValidationError(f"Expected `int` in digits - at `$.{field.name}`")


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has the same member twice")
    return members


_FLAT: Final = msgspec.json.Decoder(dict[str, str | int | float | bool | None])
_UNIQUE: Final = json.JSONDecoder(object_pairs_hook=_unique)
