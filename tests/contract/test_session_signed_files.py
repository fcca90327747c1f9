# SPDX-License-Identifier: Apache-2.0
"""``session.signatures.sign_file``: detached signatures, verified with a store and without one."""

import hashlib
import io
import json
from pathlib import Path

import pytest
from attrs import evolve

import qpher_core
from qpher_core.algorithms import ALGORITHMS
from qpher_core.context_string import context_string
from qpher_core.discovery import open_primitives
from qpher_core.errors import AlgorithmUnavailable, NotFound, StateConflict, ValidationError
from qpher_core.session import Session
from qpher_core.signed_files import FileSignature, verify_file
from tests.contract.table import Provider

DATA = b"a line of a release\n" * 200_000


@pytest.fixture
def able(session: Session, provider: Provider) -> Session:
    """Return a session that signs digests with ML-DSA."""
    if not provider.digests:
        pytest.skip("this provider signs no digests")
    return session


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file of several pieces."""
    made = tmp_path / "release"
    made.write_bytes(DATA)
    return made


def test_a_file_verifies_with_the_store_and_with_the_public_key(
    session: Session, path: Path, signature: str, provider: Provider
) -> None:
    """So does the same content in memory; another content or context does not."""
    if not provider.digests and not ALGORITHMS[signature].hybrid:
        session.keys.generate(signature)
        with pytest.raises(AlgorithmUnavailable):
            session.signatures.sign_file(path, algorithm=signature)
        return
    key = session.keys.generate(signature)
    seen: list[int] = []
    made = session.signatures.sign_file(
        path, algorithm=signature, context={"for": "release"}, progress=seen.append
    )
    assert sum(seen) == len(DATA)
    text = made.to_text()
    for context, data in (
        ({"for": "release"}, DATA),
        ({"for": "release"}, DATA + b"x"),
        ({"for": "other"}, DATA),
        (None, DATA),
    ):
        valid = context == {"for": "release"} and data == DATA
        found = session.signatures.verify_file(io.BytesIO(data), text, context=context)
        assert found.valid is valid
        offline = verify_file(io.BytesIO(data), text, key.public_key, context=context)
        assert offline is valid


def test_the_signature_is_what_the_format_says(able: Session, path: Path) -> None:
    """A verifier that knows the format alone comes to the same answer."""
    key = able.keys.generate("ML-DSA-65")
    document = json.loads(able.signatures.sign_file(path, context=b"raw").to_text())
    assert document["public_key_sha256"] == hashlib.sha256(key.public_key).hexdigest()
    assert (document["key_name"], document["key_version"]) == ("default", 1)
    scheme = open_primitives("openssl").signatures["ML-DSA-65"]
    public = scheme.open_public_key(key.public_key)
    signature = FileSignature.from_text(json.dumps(document, separators=(",", ":")) + "\n")
    digest = hashlib.sha512(DATA).digest()
    assert public.verify_prehash(
        digest, "SHA-512", signature.signature, context=context_string(b"raw")
    )


def test_the_receipt_leads_to_the_entry(able: Session, path: Path) -> None:
    """The audit log has the signing at the place that the signature names."""
    able.keys.generate("ML-DSA-65")
    signature = able.signatures.sign_file(path)
    entry = able.audit.entry(FileSignature.from_text(signature.to_text()).receipt)
    assert entry.fields["action"] == "signatures.sign_hash"


def test_another_key_and_an_altered_signature_do_not_verify(able: Session, path: Path) -> None:
    """Neither under the wrong public key, nor with a version or a bit changed."""
    key = able.keys.generate("ML-DSA-65")
    made = able.signatures.sign_file(path)
    other = able.keys.generate("ML-DSA-65")
    assert not verify_file(path, made, other.public_key)
    assert not able.signatures.verify_file(path, evolve(made, key_version=2)).valid
    flipped = bytes([made.signature[0] ^ 1]) + made.signature[1:]
    assert not verify_file(path, evolve(made, signature=flipped), key.public_key)
    with pytest.raises(NotFound):
        able.signatures.verify_file(path, evolve(made, key_version=9))
    with pytest.raises(ValidationError, match="public_key"):
        verify_file(path, made, key.public_key[:-1])


def test_states_count_for_files_too(able: Session, path: Path) -> None:
    """A retired key verifies and does not sign; a compromised one verifies on insistence."""
    able.keys.generate("ML-DSA-65")
    made = able.signatures.sign_file(path)
    able.keys.retire("ML-DSA-65", 1, force=True)
    assert able.signatures.verify_file(path, made).valid
    with pytest.raises(StateConflict):
        able.signatures.sign_file(path, 1)
    able.keys.compromise("ML-DSA-65", 1)
    with pytest.raises(StateConflict):
        able.signatures.verify_file(path, made)
    assert able.signatures.verify_file(path, made, accept_compromised=True).valid


def test_nothing_else_is_taken_for_a_signature(able: Session, path: Path) -> None:
    """Other members, other forms of the same values, other types: all refused."""
    able.keys.generate("ML-DSA-65")
    text = able.signatures.sign_file(path).to_text()
    document = json.loads(text)
    for wrong in (
        "",
        "[]",
        "null",
        text.rstrip("\n"),
        text + text,
        text.replace(":", ": ", 1),
        text.replace("qpher-signature/1", "qpher-signature/2"),
        text.replace("SHA-512", "SHA-256"),
        json.dumps({**document, "more": 1}),
        json.dumps({**document, "key_version": "1"}),
        json.dumps({**document, "key_version": float("inf")}),
        json.dumps({**document, "receipt": None}),
        json.dumps({**document, "receipt": {**document["receipt"], "tenant": 1}}),
        "[" * 100_000,
    ):
        with pytest.raises(ValidationError, match="signature of a file"):
            qpher_core.verify_file(path, wrong, b"")
    with pytest.raises(ValidationError, match="algorithm"):
        able.signatures.sign_file(path, algorithm="ML-KEM-768")
