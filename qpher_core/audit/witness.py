# SPDX-License-Identifier: Apache-2.0
"""Asking witnesses to cosign: the client of C2SP tlog-witness (https://c2sp.org/tlog-witness).

A witness remembers the last state of each log that it cosigned and refuses any that does not
continue it. So a service that shows different people different logs cannot get both witnessed.
"""

import base64
from collections.abc import Callable, Sequence
from typing import Final

from attrs import field, frozen

from qpher_core.audit.checkpoint import Checkpoint, parse_decimal
from qpher_core.audit.note import Note, NoteSignature
from qpher_core.audit.posting import check_endpoint, post
from qpher_core.audit.problems import AuditIntegrityError, Problem
from qpher_core.audit.vkey import VerifierKey
from qpher_core.errors import Unavailable
from qpher_core.protocols import Primitives

__all__ = ["Witness", "cosign"]

_ATTEMPTS: Final = 3  # others may have a checkpoint cosigned in between

#: Gives the consistency proof between two sizes of the log.
Consistency = Callable[[int, int], Sequence[bytes]]


def _key(key: VerifierKey | str) -> VerifierKey:
    return VerifierKey.parse(key) if isinstance(key, str) else key


@frozen
class Witness:
    """A witness that the operator chose.

    Attributes:
        url: its submission prefix, ``https://…``.
        key: its public key, or the vkey.
        required: whether an anchor without its cosignature is refused.
    """

    url: str
    key: VerifierKey = field(converter=_key)
    required: bool = True

    def __attrs_post_init__(self) -> None:
        """Check the URL. Raises ``ValidationError``."""
        check_endpoint(self.url, "url")


def cosign(
    witness: Witness, note: Note, latest: int, consistency: Consistency, primitives: Primitives
) -> list[NoteSignature]:
    """Return a witness's cosignatures of a checkpoint, verified.

    Args:
        witness: whom to ask.
        note: the signed checkpoint.
        latest: size that the witness cosigned last, as far as is known; it tells otherwise.
        consistency: gives the proof from the size that the witness knows.
        primitives: verifies what it answers.

    Raises:
        AuditIntegrityError: ``rolled-back`` or ``forked``: the witness knows another history;
            ``unknown-key``: it does not know our key, or answers with another than its own.
        Unavailable: it cannot be reached, or does not know the log.
    """
    checkpoint = Checkpoint.parse(note.text)
    old = min(latest, checkpoint.size)
    for _ in range(_ATTEMPTS):
        status, answer = _post(witness, _request(old, note, consistency(old, checkpoint.size)))
        if status == 200:
            return _verified(witness, note, answer, primitives)
        if status != 409 or old == (known := parse_decimal(answer.strip())):
            raise _refusal(witness, status, old)
        if known > checkpoint.size:
            raise AuditIntegrityError(
                Problem.ROLLED_BACK,
                f"the witness {witness.key.name} saw {known} entries, the log has "
                f"{checkpoint.size}",
            )
        old = known
    raise Unavailable(f"the witness {witness.key.name} is busy with other states of the log")


def _request(old: int, note: Note, proof: Sequence[bytes]) -> bytes:
    lines = "".join(base64.b64encode(node).decode() + "\n" for node in proof)
    return f"old {old}\n{lines}\n{note}".encode()


def _post(witness: Witness, body: bytes) -> tuple[int, str]:
    try:
        status, answer = post(witness.url.rstrip("/") + "/add-checkpoint", body, {})
    except Unavailable as error:
        raise Unavailable(f"the witness {witness.key.name}: {error}") from error
    return status, answer.decode(errors="replace")


def _verified(
    witness: Witness, note: Note, answer: str, primitives: Primitives
) -> list[NoteSignature]:
    """Return the lines by the witness's own key; others are ignored, as the standard has it."""
    parsed = [NoteSignature.parse(line) for line in answer.splitlines()]
    own = [line for line in parsed if witness.key.made(line)]
    if not own or not all(witness.key.verify(note.text, line, primitives) for line in own):
        raise AuditIntegrityError(
            Problem.UNKNOWN_KEY, f"the witness {witness.key.name} did not sign with its key"
        )
    return own


def _refusal(witness: Witness, status: int, old: int) -> Exception:
    name = witness.key.name
    if status == 409:
        return AuditIntegrityError(
            Problem.FORKED, f"the witness {name} saw another log of {old} entries"
        )
    if status == 422:
        return AuditIntegrityError(
            Problem.FORKED, f"the witness {name} saw another history up to {old} entries"
        )
    if status == 403:
        return AuditIntegrityError(
            Problem.UNKNOWN_KEY, f"the witness {name} does not trust the anchor key"
        )
    return Unavailable(f"the witness {name} answered {status}")
