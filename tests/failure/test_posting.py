# SPDX-License-Identifier: Apache-2.0
"""Endpoints that anchors are posted to, and that do not behave."""

import pytest

from qpher_core.audit import posting
from qpher_core.errors import Unavailable
from tests.failure.wire import dripping


@pytest.mark.timeout(30)
@pytest.mark.parametrize("first", [b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_endpoint_that_drips_costs_the_deadline(
    first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that never ends, each byte in time, is none: anchoring goes on without it."""
    monkeypatch.setattr(posting, "_TIMEOUT_SECONDS", 0.5)
    with dripping(first, b"y") as base, pytest.raises(Unavailable, match="does not answer"):
        posting.post(f"{base}/anchors", b"anchor", {})
