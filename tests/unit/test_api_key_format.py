# SPDX-License-Identifier: Apache-2.0
"""The form of API keys: what is in one, and what is none."""

import hashlib
import re
from collections import Counter

import pytest

from qpher_core.api_key_format import make_secret, parse_secret


def test_the_form_of_a_key() -> None:
    """Prefix, id, 256 bits in 43 characters and a checksum; no two are alike."""
    made = [make_secret() for _ in range(200)]
    for key_id, secret in made:
        assert re.fullmatch(r"qph_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", secret)
        parts = parse_secret(secret)
        assert parts is not None
        assert parts.id == key_id
        assert parts.secret_hash == hashlib.sha256(secret[17:60].encode()).digest()
    assert len({secret for _, secret in made}) == len({key_id for key_id, _ in made}) == 200
    firsts = Counter(secret[20] for _, secret in made)
    assert len(firsts) > 40  # all 62 digits occur behind the first few


@pytest.mark.parametrize("place", range(66))
def test_the_checksum_finds_a_wrong_character(place: int) -> None:
    """One wrong character is seen without asking the store."""
    _, secret = make_secret()
    other = "1" if secret[place] == "0" else "0"
    assert parse_secret(secret[:place] + other + secret[place + 1 :]) is None


@pytest.mark.parametrize("text", ["", "qph_", "x", "qph_" + "a" * 62, "Bearer x", "\0", "é" * 66])
def test_what_has_not_the_form_is_none(text: str) -> None:
    """Text that is no API key is no error."""
    assert parse_secret(text) is None
