# SPDX-License-Identifier: Apache-2.0
"""``qpher-core serve`` anchors, publishes where it is told to, and has witnesses cosign."""

import time
from pathlib import Path

import qpher_core
from qpher_core import AnchorSettings, VerifierKey
from qpher_core.audit.checkpoint import Checkpoint
from qpher_core.audit.note import Note
from qpher_core.audit.vkey import verify_note
from tests.http.test_serve import serve
from tests.witness import SmallWitness


def test_anchors_are_published_and_witnessed(tmp_path: Path) -> None:
    """What is in the folder is signed by the service and by the witness."""
    url = f"sqlite:///{tmp_path}/q.db"
    settings = AnchorSettings(service="kms.example", every_seconds=None)
    with qpher_core.open(url, anchors=settings) as kms:
        tenant = kms.tenants.create("acme")
        key = VerifierKey.parse(kms.anchors.key())
    published = tmp_path / "published" / f"{tenant.id}.checkpoint"
    with SmallWitness() as witness:
        witness.trusted = [key]
        (tmp_path / "witness.vkey").write_text(f"{witness.key}\n")
        options = ("--publish", f"file://{published.parent}", "--anchor-seconds", "0.1")
        named = ("--anchor-name", "kms.example", "--witness", witness.url)
        served = serve(url, *options, *named, str(tmp_path / "witness.vkey"))
        try:
            served.wait()
            for _ in range(600):
                if published.exists():
                    break
                time.sleep(0.05)
            note = Note.parse(published.read_text(encoding="utf-8"))
        finally:
            served.process.terminate()
            served.process.wait(60)
        assert verify_note(note, [witness.key]) == [witness.key]
        assert Checkpoint.parse(note.text).origin == f"kms.example/{tenant.id}"
