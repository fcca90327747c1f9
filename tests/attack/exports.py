# SPDX-License-Identifier: Apache-2.0
"""Exports taken apart, so that tests can forge any piece, and put together again."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, evolve

import qpher_core
from qpher_core.audit.note import Note, NoteSignature
from qpher_core.audit.vkey import NoteSigner, VerifierKey
from qpher_core.models import canonical_json

__all__ = [
    "Export",
    "edited",
    "flipped",
    "forged_key",
    "made_export",
    "rechained",
    "resigned",
    "statement",
]


@define
class Export:
    """The pieces of an export."""

    header: dict[str, Any]
    statements: list[str]
    anchors: list[str]
    entries: list[bytes]
    end: dict[str, Any]
    keys: list[VerifierKey]

    @classmethod
    def read(cls, path: Path, keys: list[VerifierKey]) -> "Export":
        """Take an export apart."""
        lines = path.read_bytes().splitlines()
        documents = [json.loads(line) for line in lines]
        return cls(
            documents[0],
            [d["statement"] for d in documents if "statement" in d],
            [d["anchor"] for d in documents if "anchor" in d],
            [line for line in lines if line.startswith(b'{"action"')],
            documents[-1]["end"],
            keys,
        )

    def copy(self) -> "Export":
        """Return a copy whose pieces can be changed."""
        return Export(
            dict(self.header),
            list(self.statements),
            list(self.anchors),
            list(self.entries),
            dict(self.end),
            list(self.keys),
        )

    def write(self, path: Path) -> Path:
        """Put it together again."""
        lines = [
            canonical_json(self.header),
            *(canonical_json({"statement": text}) for text in self.statements),
            *(canonical_json({"anchor": text}) for text in self.anchors),
            *self.entries,
            canonical_json({"end": self.end}),
        ]
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        return path

    def change(self, place: int, **members: object) -> None:
        """Change members of an entry, in canonical form."""
        fields = {**json.loads(self.entries[place]), **members}
        self.entries[place] = canonical_json(fields)


def rechained(export: Export, start: int = 0) -> None:
    """Recompute places, links and the stated head from an entry on, as a forger would."""
    previous = hashlib.sha256(export.entries[start - 1]).hexdigest() if start else "0" * 64
    for place in range(start, len(export.entries)):
        export.change(place, seq=place, prev_hash=previous)
        previous = hashlib.sha256(export.entries[place]).hexdigest()
    export.end = {"head": previous, "size": len(export.entries)}
    export.header["size"] = len(export.entries)


def forged_key(name: str) -> NoteSigner:
    """Return a key of the attacker's under any name."""
    scheme = qpher_core.discovery.open_primitives("openssl").signatures["ML-DSA-65"]
    opened = scheme.open_seed(scheme.generate_seed())
    type_ = qpher_core.audit.vkey.SIGNATURE_TYPES["ML-DSA-65"]
    return NoteSigner(VerifierKey(name, type_, opened.public_key), opened, lambda: 0)


def made_export(folder: Path, tenant: str = "acme") -> Export:
    """Return an export of 24 entries, anchored at 5, 12 and 24, its key rotated after 12."""
    with qpher_core.open(f"sqlite:///{folder}/q.db") as kms:
        owner = kms.tenants.create(tenant)
        session = kms.session(tenant, actor="tester")
        session.keys.generate("ML-KEM-768")
        for size in range(3, 25):
            session.kem.encapsulate()
            if size in {5, 12}:
                kms.anchors.publish(owner)
            if size == 12:
                kms.anchors.rotate()
        kms.audit.export(folder / f"{tenant}.jsonl", tenant)
        keys = list(map(VerifierKey.parse, kms.anchors.keys()))
    return Export.read(folder / f"{tenant}.jsonl", keys)


def resigned(export: Export, place: int, signer: NoteSigner) -> None:
    """Replace the signatures of an anchor by one of another key."""
    text = Note.parse(export.anchors[place]).text
    export.anchors[place] = str(Note(text).signed(signer.sign(text)))


def edited(note: str, edit: Callable[[str], str]) -> str:
    """Return a note whose text was edited under the old signatures."""
    parsed = Note.parse(note)
    return str(evolve(parsed, text=edit(parsed.text)))


def flipped(note: str) -> str:
    """Return a note with one bit of its first signature flipped."""
    parsed = Note.parse(note)
    first = parsed.signatures[0]
    broken = first.signature[:-1] + bytes([first.signature[-1] ^ 1])
    line = NoteSignature(first.name, first.key_id, broken)
    return str(evolve(parsed, signatures=(line, *parsed.signatures[1:])))


def statement(old: NoteSigner, new: NoteSigner) -> str:
    """Return what ``old`` signs when ``new`` takes its place."""
    text = (
        f"qpher-core anchor key rotation 1\nold {old.key}\nnew {new.key}\n"
        "time 2026-01-01T00:00:00.000000Z\n"
    )
    return str(Note(text).signed(old.sign(text)))
