# SPDX-License-Identifier: Apache-2.0
"""The canonical bytes of an audit entry as one regular expression.

RFC 8785 leaves one way to write a document, and an entry has fixed members, so its canonical
bytes form a regular language. Matching it checks the form and finds the members that chain an
entry, in one call and in less time than a JSON parser needs.
"""

import re
from typing import Final

__all__ = ["ENTRY", "entries_of", "is_entry", "is_link", "is_utf8"]

# RFC 8785 section 3.2.2.2: what must be escaped is escaped in one way, and nothing else is.
_PLAIN: Final = rb'[^"\\\x00-\x1f]*+'
_ESCAPE: Final = rb'\\(?:["\\bfnrt]|u00(?:0[0-7be-f]|1[0-9a-f]))'
_TEXT: Final = rb'"' + _PLAIN + rb"(?:" + _ESCAPE + _PLAIN + rb')*+"'
_NUMBER: Final = rb"(?:0|[1-9][0-9]{0,18}+)"
_HASH: Final = rb"[0-9a-f]{64}+"
_DIGEST: Final = rb'(?:null|"' + _HASH + rb'")'
_UUID: Final = rb"[0-9a-f]{8}+-[0-9a-f]{4}+-[0-9a-f]{4}+-[0-9a-f]{4}+-[0-9a-f]{12}+"
_TIME: Final = rb'"[0-9]{4}+-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}+Z"'
_KEY: Final = (
    rb'(?:null|\{"algorithm":' + _TEXT + rb',"name":' + _TEXT
    + rb',"version":(?:null|' + _NUMBER + rb")\})"
)  # fmt: skip


def _entry(prev_hash: bytes, tenant: bytes) -> bytes:
    return (
        rb'\{"action":' + _TEXT
        + rb',"actor":' + _TEXT
        + rb',"content":' + _DIGEST
        + rb',"context":' + _DIGEST
        + rb',"format":"qpher-audit/1"'
        + rb',"key":' + _KEY
        + rb',"outcome":"(?:success|denied|failed)"'
        + rb',"prev_hash":"(' + prev_hash
        + rb')","reason":' + _TEXT
        + rb',"request_id":"' + _UUID
        + rb'","seq":(' + _NUMBER
        + rb'),"tenant":"' + tenant
        + rb'","time":' + _TIME + rb"\}"
    )  # fmt: skip


#: Groups: 1 hash of the entry before it (hexadecimal), 2 place, 3 tenant.
ENTRY: Final = re.compile(_entry(_HASH, rb"(" + _UUID + rb")"))


def entries_of(tenant: str) -> re.Pattern[bytes]:
    """Return what finds the entries of one log, each with its newline.

    Groups: 1 the entry, 2 ``prev_hash``, 3 place. Any 64 characters may stand as ``prev_hash``:
    who follows the chain compares them with the hash that must stand there.
    """
    entry = _entry(rb'[^"]{64}+', re.escape(tenant.encode()))
    return re.compile(rb"(" + entry + rb")\n")


def is_entry(body: bytes) -> bool:
    """Return whether these are the canonical bytes of an entry; UTF-8 included."""
    return ENTRY.fullmatch(body) is not None and is_utf8(body)


def is_link(body: bytes, prev_hash: bytes, seq: int, tenant: str) -> bool:
    """Return whether these are the canonical bytes of the entry at a place in a log's chain."""
    found = ENTRY.fullmatch(body)
    expected = (prev_hash.hex().encode(), b"%d" % seq, tenant.encode())
    return found is not None and found.groups() == expected and is_utf8(body)


def is_utf8(data: bytes) -> bool:
    """Return whether bytes are UTF-8."""
    try:
        return data.isascii() or data.decode() is not None
    except UnicodeDecodeError:
        return False
