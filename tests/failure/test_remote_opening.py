# SPDX-License-Identifier: Apache-2.0
"""What opens no connection to a service elsewhere: API keys, URLs and settings that are none."""

from typing import Any

import pytest

import qpher_core
from qpher_core import RemoteSettings, ValidationError
from qpher_core.api_key_format import make_secret


@pytest.mark.parametrize(
    "api_key",
    [None, "", "qph_", "x" * 66, 5, b"qph_", pytest.param(make_secret()[1][:-1], id="cut")],
)
def test_what_is_no_api_key_is_not_sent(api_key: object) -> None:
    """A malformed API key is refused before anything is opened, and not repeated."""
    with pytest.raises(ValidationError) as caught:
        qpher_core.open("https://localhost", api_key=api_key, remote=RemoteSettings())
    assert caught.value.parameter == "api_key"
    assert not api_key or str(api_key) not in str(caught.value) or len(str(api_key)) < 5


@pytest.mark.parametrize(
    "url",
    [
        "http://kms.example",
        "http://10.0.0.1:8000",
        "http://localhost.example",
        "https://",
        "https:/x",
        "https://user:pass@kms.example",
        "https://kms.example?x=1",
        "https://kms.example#x",
        "https://kms.example:x",
        "https://kms.example:0",
    ],
)
def test_urls_that_are_not_connected_to(url: str) -> None:
    """Plain http beyond loopback, credentials in the URL, and what is no URL are refused."""
    with pytest.raises(ValidationError) as caught:
        qpher_core.open(url, api_key=make_secret()[1])
    assert caught.value.parameter == "url"


@pytest.mark.parametrize(
    "wrong",
    [
        {"deadline": 0},
        {"deadline": -1},
        {"deadline": float("nan")},
        {"deadline": float("inf")},
        {"deadline": "1"},
        {"attempts": 0},
        {"attempts": 1.5},
        {"connections": True},
    ],
)
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    """A deadline or number that is none is refused by name."""
    with pytest.raises(ValidationError) as caught:
        RemoteSettings(**wrong)
    assert caught.value.parameter in wrong


@pytest.mark.parametrize("url", ["http://127.0.0.9", "http://[::1]:80", "http://localhost:1/kms"])
def test_loopback_needs_no_tls(url: str) -> None:
    """Nothing leaves the machine there."""
    qpher_core.open(url, api_key=make_secret()[1]).close()


def test_local_options_do_not_go_with_a_service() -> None:
    """A service elsewhere has its own policy and keys; an API key is for such a service."""
    for options in (
        {"url": "https://kms.example", "policy": "https://opa.example"},
        {"url": "https://kms.example", "protector": "memory:"},
        {"url": "https://kms.example", "primitives": "native"},
        {"url": "memory:"},
        {"url": None},
    ):
        with pytest.raises(ValidationError) as caught:
            qpher_core.open(**options, api_key=make_secret()[1])
        assert caught.value.parameter == "url"
