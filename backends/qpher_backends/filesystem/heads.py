# SPDX-License-Identifier: Apache-2.0
"""The head of a log: number of entries and hash of the last, in one line.

The lines of an index have the same form: a number of 20 digits, a space, 64 hexadecimal digits.
"""

import uuid
from typing import Final

from qpher_backends.filesystem.tables import tenant_path
from qpher_backends.filesystem.view import View
from qpher_core.audit.entry import EMPTY_HEAD
from qpher_core.errors import IntegrityError, StoreUnavailable

__all__ = ["LINE_BYTES", "head_path", "number_line", "parse_line", "recorded_head"]

LINE_BYTES: Final = 86  # the newline included


def head_path(tenant_id: uuid.UUID) -> str:
    """Return the file of a log's head."""
    return f"audit/{tenant_id}/head"


def number_line(number: int, digest: bytes) -> bytes:
    """Return the line of a number and a hash."""
    return b"%020d %s\n" % (number, digest.hex().encode())


def parse_line(line: bytes) -> tuple[int, bytes]:
    """Return number and hash of a line. Raises ``ValueError``."""
    digits = line[:20].isdigit()
    if len(line) != LINE_BYTES or not digits or line[20:21] != b" " or line[-1:] != b"\n":
        raise ValueError("a line has another form")
    return int(line[:20]), bytes.fromhex(line[21:-1].decode("ascii"))


def recorded_head(view: View, tenant_id: uuid.UUID) -> tuple[int, bytes]:
    """Return the head of a log; a tenant that has none lost it."""
    content = view.content(head_path(tenant_id))
    if content is None:
        if view.exists(tenant_path(tenant_id)):
            raise StoreUnavailable(f"the audit log of tenant {tenant_id} is gone")
        return 0, EMPTY_HEAD
    try:
        return parse_line(content)
    except ValueError:
        raise IntegrityError(f"the recorded head of log {tenant_id} was altered") from None
