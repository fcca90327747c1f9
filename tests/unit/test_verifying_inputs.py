# SPDX-License-Identifier: Apache-2.0
"""What auditors give to the functions that verify: paths and keys, as text or as objects."""

from pathlib import Path
from typing import Any

import pytest

import qpher_core
from qpher_core import AuditIntegrityError, Receipt, ValidationError

Made = tuple[Path, list[str], Receipt]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Export a log; return the file, the anchor keys as vkeys, and the receipt of an entry."""
    export = tmp_path_factory.mktemp("inputs") / "acme.jsonl.gz"
    with qpher_core.open("memory:") as kms:
        kms.tenants.create("acme")
        acme = kms.session("acme", actor="test")
        acme.keys.generate("ML-DSA-65")
        receipt = acme.signatures.sign(b"an invoice").receipt
        kms.audit.export(export, "acme")
        return export, list(kms.anchors.keys()), receipt


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("parse", [str, qpher_core.VerifierKey.parse])
def test_paths_and_keys_are_text_or_objects(made: Made, kind: Any, parse: Any) -> None:
    """What ``anchors.keys`` and the command line give is taken as it is."""
    export, keys = kind(made[0]), list(map(parse, made[1]))
    assert qpher_core.verify_export(export, keys, processes=1).ok
    assert qpher_core.verify_exports([export], keys, processes=1).ok
    report = qpher_core.verify_export(export, keys, revoked=keys, processes=1)
    assert report.problem is qpher_core.Problem.REVOKED_KEY
    proof, entry = qpher_core.prove_from_export(export, made[2].seq)
    with pytest.raises(AuditIntegrityError, match="none was given"):
        qpher_core.verify_proof(str(proof), entry, None, keys)


def test_one_text_is_no_list(made: Made) -> None:
    """A key or a path alone is refused by name, not read letter by letter."""
    export, keys, _ = made
    calls: list[tuple[str, Any]] = [
        ("keys", lambda: qpher_core.verify_export(export, keys[0], processes=1)),
        ("revoked", lambda: qpher_core.verify_export(export, keys, revoked=keys[0])),
        ("keys", lambda: qpher_core.verify_exports([export], [b"key"])),  # type: ignore[list-item]
        ("exports", lambda: qpher_core.verify_exports(str(export), keys)),
        ("exports", lambda: qpher_core.verify_exports(export, keys)),  # type: ignore[arg-type]
        ("trusted_keys", lambda: qpher_core.verify_proof("", b"", None, keys[0])),
    ]
    for parameter, call in calls:
        with pytest.raises(ValidationError) as caught:
            call()
        assert caught.value.parameter == parameter


def test_a_text_that_is_no_vkey_is_told(made: Made) -> None:
    """Nothing is verified with it."""
    with pytest.raises(AuditIntegrityError):
        qpher_core.verify_export(made[0], ["no key"])
