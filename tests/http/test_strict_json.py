# SPDX-License-Identifier: Apache-2.0
"""Bodies that are decoded at a glance are those that are decoded with all care."""

import contextlib
import json
from typing import Any, Final

import msgspec
import pytest

from qpher_core.asgi.models_signatures import Sign
from qpher_core.asgi.strict_json import decode_body, decode_hook
from qpher_core.asgi.table import ENDPOINTS
from qpher_core.errors import ValidationError

#: In JSON; numbers at the ends of 32 and 64 bits, and whole ones that are written as others.
_VALUES: Final = (
    *("0", "-0", "1", "1.0", "1e0", "1E2", "1.5", "2026", "1767225600.5"),
    *("4294967295", "4294967296", "9223372036854775808", "18446744073709551616", "1e400"),
    *(
        "null",
        "true",
        "false",
        "[]",
        "{}",
        '["kem"]',
        '["QUFB"]',
        '[{"message":"QUFB","signature":"QUFB"}]',
        '{"a":"b"}',
        '"é"',
        r'"\u0061"',
    ),
    *('""', '"a"', '"1"', '"true"', '"null"', '"QUFB"', '"AA=="', '"AB=="', '"AAA"'),
    *('"2026-01-01T00:00:00Z"', '"2026-01-01"', '"active"'),
)


def _decoded(body: bytes, kind: Any) -> Any:
    """Return a body as msgspec alone decodes it, or None."""
    with contextlib.suppress(msgspec.MsgspecError):
        return msgspec.json.decode(body, type=kind, dec_hook=decode_hook)
    return None


def _accepted(body: bytes, kind: Any) -> Any:
    with contextlib.suppress(ValidationError):
        return decode_body(body, kind)
    return None


def _members(kind: Any) -> dict[str, str]:
    """Return a value in JSON of each member that a model requires."""
    return {
        field.name: next(
            value for value in _VALUES if _decoded(value.encode(), field.type) is not None
        )
        for field in msgspec.structs.fields(kind)
        if field.required
    }


@pytest.mark.parametrize("kind", sorted({e.body for e in ENDPOINTS if e.body}, key=str))
def test_every_value_of_every_member_is_decoded_as_its_type_says(kind: Any) -> None:
    """Whichever way a body is decoded, the same is taken and the same is refused."""
    required = _members(kind)
    for name in (*(field.name for field in msgspec.structs.fields(kind)), "unknown"):
        for value in _VALUES:
            members = {**required, name: value}
            body = ("{" + ",".join(f'"{n}":{v}' for n, v in members.items()) + "}").encode()
            assert repr(_accepted(body, kind)) == repr(_decoded(body, kind)), body


@pytest.mark.parametrize(
    "body",
    [
        '{"message":"QUFB","message":"QUFB"}',
        '{"message":"QUFB","key_version":1,"key_version":1}',
        r'{"message":"QUFB","mess\u0061ge":"QUFB"}',
        '{"message":"QUFB","context":{"a":"b","a":"b"}}',
    ],
)
def test_a_member_that_comes_twice_is_refused(body: str) -> None:
    """However it is written, and wherever it is."""
    with pytest.raises(ValidationError, match="twice"):
        decode_body(body.encode(), Sign)


def test_quotation_marks_are_counted_right() -> None:
    """Texts with all that looks like JSON are texts."""
    name = "a{b}[c]:,d e"
    assert decode_body(json.dumps({"message": "QUFB", "name": name}).encode(), Sign).name == name
