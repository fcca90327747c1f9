# SPDX-License-Identifier: Apache-2.0
"""A whole service on the store: keys made, used, turned and destroyed, and the log of it all."""

from pathlib import Path

import pytest

import qpher_core
from qpher_core import AnchorSettings
from qpher_core.protocols import Store

_BY_HAND = AnchorSettings(every_seconds=None)


def test_the_main_job(store: Store, tmp_path: Path) -> None:
    """Every kind of operation works, is recorded, and the log verifies, on line and off."""
    with qpher_core.open(store, protector="memory:", anchors=_BY_HAND) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="tester")
        session.keys.generate("ML-KEM-768")
        session.keys.generate("ML-DSA-65")
        box = session.kem.encrypt(b"m", context={"table": "cards"})
        signed = session.signatures.sign(b"m")
        assert session.keys.rotate("ML-KEM-768").key_version == 2
        clear = session.kem.decrypt(box.ciphertext, 1, context={"table": "cards"})
        assert clear.plaintext == b"m"
        assert session.signatures.verify(b"m", signed.signature, signed.key_version).valid
        session.keys.archive("ML-KEM-768", 1)
        with pytest.raises(qpher_core.StateConflict):
            session.kem.decrypt(box.ciphertext, 1, context={"table": "cards"})
        session.keys.destroy("ML-KEM-768", 1)
        kms.policies.set('[{"rule":"plan"}]', tenant="acme")
        kms.anchors.rotate()
        assert session.audit.proof(signed.receipt)
        assert kms.audit.verify("acme").ok
        assert kms.audit.verify().ok
        export = tmp_path / "export.jsonl"
        kms.audit.export(export, "acme")
        keys = list(map(qpher_core.VerifierKey.parse, kms.anchors.keys()))
        assert qpher_core.verify_export(export, keys, processes=1).ok
