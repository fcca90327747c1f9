# SPDX-License-Identifier: Apache-2.0
"""C2SP tlog-checkpoint: what an anchor states (https://c2sp.org/tlog-checkpoint)."""

import base64
import uuid
from typing import Final, Self

from attrs import field, frozen

from qpher_core.audit.note import decode_base64
from qpher_core.audit.problems import AuditIntegrityError, Problem
from qpher_core.audit.records import LogState
from qpher_core.audit.tree import HASH_BYTES

__all__ = ["Checkpoint", "origin_of", "parse_decimal"]

_HEAD: Final = "head "
_LARGEST: Final = 2**63 - 1


def origin_of(service: str, tenant_id: uuid.UUID) -> str:
    """Return the name of a tenant's log in the world: ``service/tenant id``."""
    return f"{service}/{tenant_id}"


def parse_decimal(text: str) -> int:
    """Parse an ASCII decimal without leading zeros, up to 2^63 - 1.

    Raises:
        AuditIntegrityError: it is not one.
    """
    if text.isascii() and text.isdigit() and len(text) <= 19 and str(int(text)) == text:
        value = int(text)
        if value <= _LARGEST:
            return value
    raise AuditIntegrityError(Problem.BAD_ANCHOR, "a number is not a canonical decimal")


@frozen
class Checkpoint:
    """The state of one log.

    Attributes:
        origin: name of the log.
        size: number of entries.
        root: RFC 6962 root over the entries, 32 bytes.
        head: hash of the last entry in the chain, 32 bytes, from the extension line; None for
            checkpoints of other logs, which have none.
    """

    origin: str
    size: int
    root: bytes = field(repr=bytes.hex)
    head: bytes | None = field(default=None, repr=lambda h: repr(h and h.hex()))

    @classmethod
    def of(cls, service: str, tenant_id: uuid.UUID, state: LogState) -> Self:
        """Return the checkpoint of a log at one moment."""
        return cls(origin_of(service, tenant_id), state.size, state.root, state.head)

    @property
    def text(self) -> str:
        """The text of the note."""
        root = base64.b64encode(self.root).decode()
        head = "" if self.head is None else f"{_HEAD}{base64.b64encode(self.head).decode()}\n"
        return f"{self.origin}\n{self.size}\n{root}\n{head}"

    @property
    def service(self) -> str:
        """The name of the service that the origin begins with."""
        return self.origin.rpartition("/")[0]

    @property
    def tenant_id(self) -> uuid.UUID | None:
        """The tenant that the origin ends with, or None if it is not of that form."""
        try:
            return uuid.UUID(self.origin.rpartition("/")[2])
        except ValueError:
            return None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the text of a note.

        Raises:
            AuditIntegrityError: it is not a checkpoint.
        """
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() or not all(lines):
            raise AuditIntegrityError(Problem.BAD_ANCHOR, "a checkpoint has three lines or more")
        origin, size, root, *extensions = lines
        heads = [line.removeprefix(_HEAD) for line in extensions if line.startswith(_HEAD)]
        if len(heads) > 1:
            raise AuditIntegrityError(Problem.BAD_ANCHOR, "a checkpoint states one head")
        head = _hash(heads[0]) if heads else None
        parsed = cls(origin, parse_decimal(size), _hash(root), head)
        if parsed.text != text:
            raise AuditIntegrityError(Problem.BAD_ANCHOR, "a checkpoint has unknown extensions")
        return parsed


def _hash(text: str) -> bytes:
    data = decode_base64(text)
    if len(data) != HASH_BYTES:
        raise AuditIntegrityError(Problem.BAD_ANCHOR, "a hash in a checkpoint has 32 bytes")
    return data
