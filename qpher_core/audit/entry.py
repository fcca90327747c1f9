# SPDX-License-Identifier: Apache-2.0
"""One audit entry and its canonical bytes (docs/formats.md, Audit entry).

The fields are an allow-list: nothing reaches the log that is not a parameter of
:class:`EntryDraft`, and none of those carries a secret, a plaintext or a context value.
"""

import hashlib
import json
import uuid
from datetime import datetime
from typing import Final

from attrs import frozen

from qpher_core.models import AuditEntry, rfc3339

#: hashlib lets other threads run while it hashes more than this, which takes longer to come back
#: from than hashing a signature or a ciphertext.
_HASHED_AT_ONCE: Final = 2047
_SHORT: Final = 16384

__all__ = [
    "EMPTY_HEAD",
    "FORMAT",
    "EntryDraft",
    "EntryForm",
    "KeyAddress",
    "Result",
    "build_entry",
    "digest",
]

FORMAT: Final = "qpher-audit/1"

#: Writes a string as RFC 8785 section 3.2.2.2 does: the standard library's own C encoder.
_quote: Final = json.encoder.encode_basestring

#: ``prev_hash`` of the first entry.
EMPTY_HEAD: Final = bytes(32)

#: Outcome, reason, content and request id of an entry, as :class:`EntryDraft` has them.
Result = tuple[str, str, bytes | None, str]


@frozen
class KeyAddress:
    """The key that an entry is about; ``version`` is None where none was resolved."""

    name: str
    algorithm: str
    version: int | None


@frozen
class EntryDraft:
    """What is recorded about one operation.

    Attributes:
        outcome: ``success``, ``denied`` or ``failed``.
        reason: the caller's reason for a change, or the error code and text of a refusal.
        context: SHA-256 of the canonical caller context, 32 bytes.
        content: SHA-256 of the operation's own output (docs/formats.md says of what), 32 bytes.
    """

    actor: str
    action: str
    key: KeyAddress | None
    outcome: str
    reason: str
    request_id: str
    context: bytes | None
    content: bytes | None

    @property
    def result(self) -> Result:
        """What differs among the entries of calls that are recorded at once."""
        return self.outcome, self.reason, self.content, self.request_id


def digest(data: bytes | None) -> bytes | None:
    """Return SHA-256 of ``data``, or None for None."""
    if data is None:
        return None
    if not _HASHED_AT_ONCE < len(data) <= _SHORT:
        return hashlib.sha256(data).digest()
    hashing = hashlib.sha256()
    for start in range(0, len(data), _HASHED_AT_ONCE):
        hashing.update(data[start : start + _HASHED_AT_ONCE])
    return hashing.digest()


class EntryForm:
    """The canonical text of entries that differ in place, time and :data:`Result` only.

    Member names are sorted here, by hand: this is on the path of every operation, and takes a
    fifth of the time of canonical_json(), whose bytes a property test compares with these.
    """

    __slots__ = ("_after_content", "_before_content", "_tail", "_tenant_id")

    def __init__(self, draft: EntryDraft, tenant_id: uuid.UUID) -> None:
        self._tenant_id = tenant_id
        self._before_content = (
            f'{{"action":{_quote(draft.action)},"actor":{_quote(draft.actor)},"content":'
        )
        self._after_content = (
            f',"context":{_hex(draft.context)},"format":"{FORMAT}","key":{_key(draft.key)}'
            ',"outcome":'
        )
        self._tail = f',"tenant":"{tenant_id}","time":"'

    def fill(self, result: Result, *, seq: int, prev_hash: bytes, time: str) -> AuditEntry:
        """Return the entry at place ``seq``; ``time`` as :func:`rfc3339` gives it."""
        outcome, reason, content, request_id = result
        text = (
            f"{self._before_content}{_hex(content)}{self._after_content}{_quote(outcome)}"
            f',"prev_hash":"{prev_hash.hex()}","reason":{_quote(reason)}'
            f',"request_id":"{request_id}","seq":{seq}{self._tail}{time}"}}'
        )
        body = text.encode()
        return AuditEntry(self._tenant_id, seq, body, hashlib.sha256(body).digest())


def build_entry(
    draft: EntryDraft, *, tenant_id: uuid.UUID, seq: int, prev_hash: bytes, time: datetime
) -> AuditEntry:
    """Return the entry at place ``seq`` of a tenant's chain."""
    form = EntryForm(draft, tenant_id)
    return form.fill(draft.result, seq=seq, prev_hash=prev_hash, time=rfc3339(time))


def _hex(data: bytes | None) -> str:
    return "null" if data is None else f'"{data.hex()}"'


def _key(key: KeyAddress | None) -> str:
    if key is None:
        return "null"
    version = "null" if key.version is None else key.version
    return f'{{"algorithm":{_quote(key.algorithm)},"name":{_quote(key.name)},"version":{version}}}'
