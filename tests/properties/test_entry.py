# SPDX-License-Identifier: Apache-2.0
"""The canonical bytes of an entry, against RFC 8785's reference and our own grammar."""

import json
import uuid
from datetime import UTC, datetime

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from qpher_core.audit.entry import EntryDraft, KeyAddress, build_entry
from qpher_core.audit.grammar import is_entry, is_link
from qpher_core.models import canonical_json

_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_DIGEST = st.none() | st.binary(min_size=32, max_size=32)
_KEYS = st.none() | st.builds(KeyAddress, _TEXT, _TEXT, st.none() | st.integers(1, 2**32 - 1))
DRAFTS = st.builds(
    EntryDraft,
    actor=_TEXT,
    action=_TEXT,
    key=_KEYS,
    outcome=st.sampled_from(["success", "denied", "failed"]),
    reason=_TEXT,
    request_id=st.uuids().map(str),
    context=_DIGEST,
    content=_DIGEST,
)
_TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


@given(DRAFTS, st.integers(0, 2**53 - 1), st.binary(min_size=32, max_size=32), _TIMES)
def test_an_entry_is_canonical(draft: EntryDraft, seq: int, prev: bytes, time: datetime) -> None:
    """Whatever the fields hold, the bytes are those of RFC 8785 and match the grammar."""
    entry = build_entry(draft, tenant_id=uuid.UUID(int=7), seq=seq, prev_hash=prev, time=time)
    fields = json.loads(entry.body)
    assert entry.body == rfc8785.dumps(fields) == canonical_json(fields)
    assert is_entry(entry.body)
    assert (fields["actor"], fields["reason"]) == (draft.actor, draft.reason)
    assert fields["time"] == time.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


@given(DRAFTS)
def test_what_is_no_canonical_entry_does_not_match(draft: EntryDraft) -> None:
    """An entry written in another way, or with more, does not match."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    entry = build_entry(draft, tenant_id=uuid.UUID(int=7), seq=1, prev_hash=bytes(32), time=moment)
    spaced = json.dumps(entry.fields, ensure_ascii=False, sort_keys=True).encode()
    assert not is_entry(spaced)
    assert not is_entry(entry.body + b"\n")


@given(DRAFTS, st.integers(0, 2**53 - 1), st.binary(min_size=32, max_size=32), st.uuids())
def test_an_entry_has_one_place_in_one_chain(
    draft: EntryDraft, seq: int, prev: bytes, tenant: uuid.UUID
) -> None:
    """It is a link where its members say, and nowhere else; in another spelling it is none."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    body = build_entry(draft, tenant_id=tenant, seq=seq, prev_hash=prev, time=moment).body
    assert is_link(body, prev, seq, str(tenant))
    assert not is_link(body, prev, seq + 1, str(tenant))
    assert not is_link(body, bytes(byte ^ 1 for byte in prev), seq, str(tenant))
    assert not is_link(body, prev, seq, str(uuid.UUID(int=tenant.int ^ 1)))
    assert not is_link(body.replace(b'{"action":', b'{"action": ', 1), prev, seq, str(tenant))
    assert not is_link(body.replace(draft.outcome.encode(), b"\xff", 1), prev, seq, str(tenant))
