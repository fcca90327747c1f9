# SPDX-License-Identifier: Apache-2.0
"""Canonical JSON, bindings, messages and streams for whatever values there are."""

import io
import json
import uuid

import pytest
import rfc8785
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from qpher_core import chunked
from qpher_core.context_string import context_string
from qpher_core.discovery import open_primitives
from qpher_core.errors import DecryptionFailed
from qpher_core.messages import Binding, Kind, decrypt, encrypt
from qpher_core.models import KeyRef, canonical_json
from qpher_core.validation import check_context

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
VALUES = st.recursive(
    TEXT | INTEGERS | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(TEXT, VALUES, max_size=8)
CONTEXT_TEXT = st.characters(exclude_categories=["Cs", "Cc"])
CONTEXTS = st.dictionaries(
    st.text(CONTEXT_TEXT, min_size=1, max_size=20), st.text(CONTEXT_TEXT, max_size=20), max_size=5
)
NAMES = ["ML-KEM-768", "ML-KEM-1024", "X-Wing"]
PROVIDER = open_primitives(None)
KEMS = {name: PROVIDER.kems[name] for name in NAMES}
SECRETS = {name: kem.open_seed(kem.generate_seed()) for name, kem in KEMS.items()}
PUBLIC = {
    name: KEMS[name].open_encapsulation_key(key.encapsulation_key) for name, key in SECRETS.items()
}
BINDINGS = st.builds(
    Binding,
    ref=st.builds(
        KeyRef,
        tenant_id=st.uuids(),
        name=st.text(CONTEXT_TEXT, min_size=1, max_size=10),
        algorithm=st.sampled_from(NAMES),
        version=st.integers(1, 2**32 - 1),
    ),
    kind=st.sampled_from(Kind),
    context=CONTEXTS,
)


@settings(max_examples=300, deadline=None, database=None)
@given(DOCUMENTS)
def test_canonical_json_is_rfc_8785(document: dict[str, object]) -> None:
    """Our canonical JSON is byte for byte that of a reference implementation."""
    assert canonical_json(document) == rfc8785.dumps(document)


@settings(max_examples=100, deadline=None, database=None)
@given(DOCUMENTS)
def test_canonical_json_round_trips(document: dict[str, object]) -> None:
    """What canonical JSON says is what went in."""
    assert json.loads(canonical_json(document)) == document


@pytest.mark.parametrize(
    "document", [{"\ufb33": 1, "\U0001f600": 2}, {"a": {"\uff5e": "", "\U00010000": ""}}]
)
def test_members_are_ordered_by_utf16(document: dict[str, object]) -> None:
    """Names beyond the basic plane come before the last names in it, at every depth."""
    assert canonical_json(document) == rfc8785.dumps(document)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_what_has_no_canonical_form(value: object) -> None:
    """Numbers that are none and lone surrogates are refused, as names and as values."""
    with pytest.raises(ValueError, match=r"."):
        canonical_json({"a": value})
    if isinstance(value, str):
        with pytest.raises(ValueError, match=r"."):
            canonical_json({value: "a"})


@settings(max_examples=60, deadline=None, database=None)
@given(BINDINGS, st.binary(max_size=200))
def test_messages_round_trip(binding: Binding, plaintext: bytes) -> None:
    """Any message opens under its own binding, of which the header tells kind and version."""
    name = binding.ref.algorithm
    data = encrypt(PUBLIC[name], binding, plaintext)
    assert data.startswith(binding.header)
    assert decrypt(SECRETS[name], binding, data) == plaintext


@settings(max_examples=60, deadline=None, database=None)
@given(BINDINGS, BINDINGS)
def test_messages_open_under_nothing_else(binding: Binding, other: Binding) -> None:
    """A message does not open under a binding that differs in anything."""
    assume(binding != other)
    data = encrypt(PUBLIC[binding.ref.algorithm], binding, b"x")
    assert binding.info != other.info
    forged = other.header + data[len(other.header) :]
    for message in (data, forged):
        with pytest.raises(DecryptionFailed):
            decrypt(SECRETS[other.ref.algorithm], other, message)


@settings(max_examples=200, deadline=None, database=None)
@given(st.binary(max_size=3000), st.sampled_from(NAMES))
def test_nonsense_is_a_failed_decryption(data: bytes, name: str) -> None:
    """Whatever bytes come in, decryption fails in the one documented way."""
    binding = Binding(KeyRef(uuid.UUID(int=1), "default", name, 1), Kind.MESSAGE, {})
    for message in (data, binding.header + data):
        with pytest.raises(DecryptionFailed, match="the input cannot be decrypted"):
            decrypt(SECRETS[name], binding, message)


@settings(max_examples=200, deadline=None, database=None)
@given(CONTEXTS, CONTEXTS)
def test_context_strings_separate(one: dict[str, str], two: dict[str, str]) -> None:
    """Different contexts never stand for the same context string, of at most 255 bytes."""
    assert check_context(one) == one
    assert (context_string(one) == context_string(two)) == (one == two)
    assert len(context_string(one)) <= 255


@settings(max_examples=30, deadline=None, database=None)
@given(st.binary(max_size=100), st.integers(0, 3 * chunked.CHUNK_BYTES), st.binary(max_size=20))
def test_streams_round_trip(start: bytes, length: int, context: bytes) -> None:
    """A stream of any length opens again and is as long as announced."""
    plaintext, key = start + bytes(length), bytes(32)
    box, clear = io.BytesIO(), io.BytesIO()
    chunked.encrypt_stream(
        key, io.BytesIO(plaintext), box, context=context, progress=lambda _: None
    )
    assert len(box.getvalue()) == chunked.encrypted_bytes(len(plaintext))
    chunked.decrypt_stream(
        key, io.BytesIO(box.getvalue()), clear, context=context, progress=lambda _: None
    )
    assert clear.getvalue() == plaintext
