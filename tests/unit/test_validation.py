# SPDX-License-Identifier: Apache-2.0
"""Checks of parameters: each refusal names its parameter and gives no value away."""

from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType

import pytest

from qpher_core.errors import ValidationError
from qpher_core.validation import (
    check_bytes,
    check_context,
    check_moment,
    check_name,
    check_text,
    check_version,
)


@pytest.mark.parametrize("value", ["a", "x" * 255, "Schlüssel 🔑", "a\u00a0b", "\u200d"])
def test_names(value: str) -> None:
    """Names of up to 255 characters in form NFC are taken as they are."""
    assert check_name(value, "name") == value


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        b"bytes",
        "",
        "x" * 256,
        " a",
        "a ",
        "\u3000a",
        "a\u0308",
        "a\nb",
        "a\x00",
        "\x7f",
        "\x85",
        "\udc80",
    ],
)
def test_what_is_no_name(value: object) -> None:
    """Other types, lengths, controls, surrogates, outer space and other forms are refused."""
    with pytest.raises(ValidationError, match=r"^actor ") as caught:
        check_name(value, "actor")
    assert caught.value.parameter == "actor"


def test_moments() -> None:
    """A time with a zone is taken, if every other zone has it."""
    for moment in (datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, 23, 59, 59, tzinfo=UTC)):
        assert check_moment(moment, "since") is moment
        for hours in (-23, 23):
            assert moment.astimezone(timezone(timedelta(hours=hours))) == moment


@pytest.mark.parametrize(
    "value",
    [
        None,
        0,
        "2026-01-31T00:00:00Z",
        datetime(2026, 1, 31),  # noqa: DTZ001
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
    ],
)
def test_what_is_no_moment(value: object) -> None:
    """Other types, times without a zone, and those at the ends of the calendar are refused."""
    with pytest.raises(ValidationError, match=r"^since ") as caught:
        check_moment(value, "since")
    assert caught.value.parameter == "since"


def test_text_lengths() -> None:
    """Text has at least and at most so many characters."""
    assert check_text("", "reason", longest=3, least=0) == ""
    assert check_text("abc", "reason", longest=3) == "abc"
    for value in ("", "abcd"):
        with pytest.raises(ValidationError, match=f"not {len(value)}"):
            check_text(value, "reason", longest=3)


@pytest.mark.parametrize("value", [b"ab", bytearray(b"ab"), memoryview(b"xabx")[1:3]])
def test_bytes_like_becomes_bytes(value: object) -> None:
    """Anything bytes-like becomes bytes that the caller cannot change afterwards."""
    checked = check_bytes(value, "data")
    assert (type(checked), checked) == (bytes, b"ab")


@pytest.mark.parametrize("value", [None, "text", 5, [1, 2]])
def test_what_is_not_bytes(value: object) -> None:
    """Text, numbers and lists are not bytes."""
    with pytest.raises(ValidationError, match="data must be bytes") as caught:
        check_bytes(value, "data")
    assert caught.value.parameter == "data"


def test_sizes_of_bytes() -> None:
    """Bytes of another size are refused with the sizes that were expected."""
    assert check_bytes(bytes(16), "key", sizes=(16, 32)) == bytes(16)
    with pytest.raises(ValidationError, match="key must have 16 or 32 bytes, not 17"):
        check_bytes(bytes(17), "key", sizes=(16, 32))
    assert check_bytes(bytes(32), "salt", least=32) == bytes(32)
    with pytest.raises(ValidationError, match="at least 32 bytes, not 31"):
        check_bytes(bytes(31), "salt", least=32)


def test_versions() -> None:
    """Versions are integers that fit the four bytes of a header."""
    assert [check_version(v) for v in (1, 2**32 - 1)] == [1, 2**32 - 1]


@pytest.mark.parametrize("value", [0, -1, 2**32, True, False, 1.0, "1", None])
def test_what_is_no_version(value: object) -> None:
    """Zero, negative, too large and anything but an integer is refused."""
    with pytest.raises(ValidationError, match="key_version must be") as caught:
        check_version(value)
    assert caught.value.parameter == "key_version"


def test_contexts() -> None:
    """A context is any mapping of text to text, and becomes a copy of its own."""
    given = {"a": "b", "ключ": ""}
    checked = check_context(MappingProxyType(given))
    assert checked == given
    assert checked is not given
    assert check_context(None) == check_context({}) == {}
    assert len(check_context({str(n): "x" * 4096 for n in range(64)})) == 64


@pytest.mark.parametrize(
    ("value", "parameter"),
    [
        ([("a", "b")], "context"),
        ("text", "context"),
        (b"bytes", "context"),
        ({str(n): "" for n in range(65)}, "context"),
        ({1: "a"}, "context key"),
        ({"": "a"}, "context key"),
        ({"k" * 129: "a"}, "context key"),
        ({"a\n": "b"}, "context key"),
        ({"a": 1}, "context value"),
        ({"a": None}, "context value"),
        ({"a": "v" * 4097}, "context value"),
        ({"a": "secret\x00"}, "context value"),
    ],
)
def test_what_is_no_context(value: object, parameter: str) -> None:
    """Wrong contexts are refused, naming the part at fault and never showing it."""
    with pytest.raises(ValidationError, match=f"^{parameter} ") as caught:
        check_context(value)
    assert caught.value.parameter == parameter
    assert "secret" not in str(caught.value)
