# SPDX-License-Identifier: Apache-2.0
"""C2SP tlog-proof: that an anchor covers an entry, and that the entry is about a content.

Everything here works offline, from the proof, the entry, the content and public keys alone.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final, Self

from attrs import field, frozen

from qpher_core.audit.checkpoint import Checkpoint, parse_decimal
from qpher_core.audit.note import Note, decode_base64
from qpher_core.audit.problems import AuditIntegrityError, Problem
from qpher_core.audit.tree import HASH_BYTES, leaf_hash, root_from_inclusion
from qpher_core.audit.trust import believed
from qpher_core.audit.vkey import VerifierKey, as_keys
from qpher_core.models import AuditEntry
from qpher_core.protocols import Primitives

__all__ = ["LogProof", "VerifiedEntry", "verify_inclusion", "verify_proof"]

_HEADER: Final = "c2sp.org/tlog-proof@v1"
_LONGEST_PATH: Final = 63


@frozen
class LogProof:
    """A proof that an anchor covers the entry at one place.

    Attributes:
        index: place of the entry.
        path: RFC 6962 inclusion proof, 32 bytes each, from the leaf's sibling upwards.
        anchor: the signed checkpoint.
    """

    index: int
    path: tuple[bytes, ...] = field(repr=lambda p: f"<{len(p)} hashes>")
    anchor: Note

    def __str__(self) -> str:
        """Return the ``.tlog-proof`` text."""
        path = "".join(base64.b64encode(node).decode() + "\n" for node in self.path)
        return f"{_HEADER}\nindex {self.index}\n{path}\n{self.anchor}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a ``.tlog-proof``; nothing is verified. Extra data is ignored.

        Raises:
            AuditIntegrityError: it is not one.
        """
        head, gap, note = text.partition("\n\n")
        lines = head.split("\n")
        if not gap or lines.pop(0) != _HEADER:
            raise _bad(f"a proof begins with {_HEADER}")
        if lines and lines[0].startswith("extra "):
            del lines[0]
        if not lines or not lines[0].startswith("index "):
            raise _bad("a proof names the index of its entry")
        index = parse_decimal(lines.pop(0).removeprefix("index "))
        path = tuple(decode_base64(line) for line in lines)
        if len(path) > _LONGEST_PATH or any(len(node) != HASH_BYTES for node in path):
            raise _bad("an inclusion proof has at most 63 hashes of 32 bytes")
        return cls(index, path, Note.parse(note))


@frozen
class VerifiedEntry:
    """An entry that a proof showed to be in a log.

    Attributes:
        fields: the entry's members.
        checkpoint: the state of the log that was signed.
        signers: names of the trusted keys that signed it.
    """

    fields: dict[str, Any]
    checkpoint: Checkpoint
    signers: tuple[str, ...]


def verify_proof(
    proof: str,
    entry: AuditEntry | bytes,
    content: bytes | None,
    trusted_keys: Sequence[VerifierKey | str],
    *,
    primitives: Primitives | None = None,
) -> VerifiedEntry:
    """Verify that a log holds an entry, and that the entry is about a content. Offline.

    Args:
        proof: text of a ``.tlog-proof``.
        entry: the entry, or its canonical bytes.
        content: what the operation put out: the signature, ciphertext or public key itself
            (docs/formats.md says which); None for an entry that records none, as refusals.
        trusted_keys: keys of the service's anchors, or vkeys.
        primitives: provider of the signature algorithms; the default one where none is given.

    Raises:
        AuditIntegrityError: any of it does not hold; ``problem`` says what.
    """
    verified = verify_inclusion(proof, entry, trusted_keys, primitives=primitives)
    recorded = verified.fields.get("content")
    if recorded != (None if content is None else hashlib.sha256(content).hexdigest()):
        detail = "the entry is about another content"
        if content is None:
            detail = "the entry is about a content, and none was given"
        raise AuditIntegrityError(Problem.OTHER_CONTENT, detail)
    return verified


def verify_inclusion(
    proof: str,
    entry: AuditEntry | bytes,
    trusted_keys: Sequence[VerifierKey | str],
    *,
    primitives: Primitives | None = None,
) -> VerifiedEntry:
    """Verify that a log holds an entry, whatever the entry is about. Offline.

    Parameters and errors are those of :func:`verify_proof`, which binds the entry to its content.
    """
    body = entry.body if isinstance(entry, AuditEntry) else bytes(entry)
    keys = as_keys(trusted_keys, "trusted_keys")
    parsed = LogProof.parse(proof)
    checkpoint, signers = believed(parsed.anchor, keys, primitives=primitives)
    root = root_from_inclusion(leaf_hash(body), parsed.index, checkpoint.size, parsed.path)
    if root != checkpoint.root:
        raise _bad("the path does not lead from the entry to the anchored root")
    fields = _fields(body)
    if fields.get("seq") != parsed.index or fields.get("tenant") != str(checkpoint.tenant_id):
        raise AuditIntegrityError(Problem.FOREIGN, "the entry belongs to another place or log")
    return VerifiedEntry(fields, checkpoint, tuple(key.name for key in signers))


def _fields(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise AuditIntegrityError(Problem.MALFORMED, "the entry is not a JSON object")
    return fields


def _bad(message: str) -> AuditIntegrityError:
    return AuditIntegrityError(Problem.BAD_PROOF, message)
