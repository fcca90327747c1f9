# SPDX-License-Identifier: Apache-2.0
"""Which anchors are believed: by trusted keys, or by keys that follow from them. Offline."""

from collections.abc import Iterable, Sequence
from typing import Final

from qpher_core.audit.checkpoint import Checkpoint
from qpher_core.audit.note import Note
from qpher_core.audit.problems import AuditIntegrityError, Problem
from qpher_core.audit.vkey import VerifierKey, verify_note
from qpher_core.protocols import Primitives

__all__ = ["COSIGNER", "STATEMENT", "believed", "follow_statements"]

#: First line of the statement by which an anchor key names its successor.
STATEMENT: Final = "qpher-core anchor key rotation 1"

#: What follows the name of a service in that of its cosigner's key.
COSIGNER: Final = "/cosigner"


def believed(
    note: Note,
    keys: Sequence[VerifierKey],
    *,
    revoked: Sequence[VerifierKey] = (),
    primitives: Primitives | None = None,
) -> tuple[Checkpoint, list[VerifierKey]]:
    """Return what an anchor states, and who of the trusted keys signed it.

    Raises:
        AuditIntegrityError: ``revoked-key``, ``unknown-key``, ``bad-signature`` or ``bad-anchor``.
    """
    if any(key.made(line) for key in revoked for line in note.signatures):
        raise AuditIntegrityError(Problem.REVOKED_KEY, "an anchor is signed by a revoked key")
    signers = verify_note(note, keys, primitives=primitives)
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.service not in map(_service, signers):
        raise AuditIntegrityError(
            Problem.UNKNOWN_KEY, f"signed by no trusted key of {checkpoint.service!r}"
        )
    return checkpoint, signers


def _service(key: VerifierKey) -> str:
    """Return the service for whose logs a key speaks, and for no other's."""
    return key.name.removesuffix(COSIGNER) if key.type.timestamped else key.name


def follow_statements(
    trusted: Sequence[VerifierKey],
    statements: Sequence[str],
    *,
    revoked: Sequence[VerifierKey],
    primitives: Primitives | None,
) -> list[VerifierKey]:
    """Return the trusted keys and those that follow from them, in the order of rotation.

    A statement is believed if a key that is trusted by then, and not revoked, signed it, and only
    as the one replacement of that very key. Those that lead to a trusted key from keys that are
    not trusted are passed over: who knows the key of today need not know former ones.

    Raises:
        AuditIntegrityError: ``bad-statement``, ``bad-signature``, ``unknown-key`` or
            ``revoked-key``.
    """
    keys, replaced = list(trusted), dict[VerifierKey, VerifierKey]()
    parsed = [(note, *_parse_statement(note)) for note in map(Note.parse, statements)]
    former = _former(keys, [(old, new) for _, old, new in parsed])
    for note, old, new in parsed:
        if replaced.setdefault(old, new) != new or old == new:
            raise AuditIntegrityError(Problem.BAD_STATEMENT, "a key is replaced by two others")
        if old in keys and old not in revoked:
            verify_note(note, [old], primitives=primitives)
            keys = [key for key in keys if key != new]
            keys.insert(keys.index(old) + 1, new)
        elif new not in former:
            raise _stranger(old in revoked)
    return keys


def _former(
    trusted: Iterable[VerifierKey], pairs: Sequence[tuple[VerifierKey, VerifierKey]]
) -> set[VerifierKey]:
    """Return the trusted keys, and those that are said to come before them."""
    found = set(trusted)
    for old, new in reversed(pairs):
        if new in found:
            found.add(old)
    return found


def _stranger(revoked: bool) -> AuditIntegrityError:  # noqa: FBT001 - there is nothing else
    if revoked:
        return AuditIntegrityError(Problem.REVOKED_KEY, "a revoked key names its replacement")
    return AuditIntegrityError(Problem.UNKNOWN_KEY, "a rotation replaces an unknown key")


def _parse_statement(note: Note) -> tuple[VerifierKey, VerifierKey]:
    lines = note.text.split("\n")
    if len(lines) != 5 or lines[0] != STATEMENT or lines[4]:
        raise AuditIntegrityError(Problem.BAD_STATEMENT, "this is not a rotation statement")
    _, old, new, moment, _ = lines
    if not (old.startswith("old ") and new.startswith("new ") and moment.startswith("time ")):
        raise AuditIntegrityError(Problem.BAD_STATEMENT, "a rotation statement is malformed")
    return VerifierKey.parse(old[4:]), VerifierKey.parse(new[4:])
