# SPDX-License-Identifier: Apache-2.0
"""A small witness (https://c2sp.org/tlog-witness), written from the standard, over real HTTP."""

import base64
import threading
from collections.abc import Sequence
from typing import Self

from qpher_core.audit.checkpoint import Checkpoint
from qpher_core.audit.note import Note
from qpher_core.audit.problems import AuditIntegrityError
from qpher_core.audit.tree import verify_consistency
from qpher_core.audit.vkey import COSIGNATURE, NoteSigner, VerifierKey, verify_note
from qpher_core.discovery import open_primitives
from tests.http_server import Answer, Request, serving_answers

__all__ = ["SmallWitness"]


class SmallWitness:
    """Cosigns what continues the last state that it cosigned. A context manager."""

    def __init__(self, name: str = "witness.example/w1") -> None:
        scheme = open_primitives("openssl").signatures["ML-DSA-44"]
        opened = scheme.open_seed(scheme.generate_seed())
        self.key = VerifierKey(name, COSIGNATURE, opened.public_key)
        self.trusted: list[VerifierKey] = []
        self.seen: dict[str, Checkpoint] = {}
        self.requests = 0
        self._signer = NoteSigner(self.key, opened, lambda: 1_700_000_000)
        self._lock = threading.Lock()

    def add_checkpoint(self, body: str) -> tuple[int, str]:
        """Return (status, body) of the answer to a request."""
        self.requests += 1
        head, _, rest = body.partition("\n\n")
        first, *lines = head.split("\n")
        note = Note.parse(rest)
        checkpoint = Checkpoint.parse(note.text)
        try:
            verify_note(note, self.trusted)
        except AuditIntegrityError:
            return 403, ""
        proof = [base64.b64decode(line) for line in lines]
        with self._lock:
            return self._answer(int(first.removeprefix("old ")), proof, checkpoint)

    def _answer(self, old: int, proof: Sequence[bytes], new: Checkpoint) -> tuple[int, str]:
        last = self.seen.get(new.origin, Checkpoint(new.origin, 0, bytes(32)))
        if old > new.size:
            return 400, ""
        if old != last.size or (old == new.size and last.root != new.root):
            return 409, f"{last.size}\n"
        if old and not verify_consistency(old, new.size, last.root, new.root, proof):
            return 422, ""
        self.seen[new.origin] = new
        return 200, str(self._signer.sign(new.text))

    def _reply(self, request: Request) -> Answer:
        if request.target != "/add-checkpoint":
            return 404, {}, b""
        status, answer = self.add_checkpoint(request.body.decode())
        return status, {}, answer.encode()

    def __enter__(self) -> Self:
        """Serve on a free port."""
        self._serving = serving_answers(self._reply)
        self.url = self._serving.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop serving."""
        self._serving.__exit__(*error)
