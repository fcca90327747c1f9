# SPDX-License-Identifier: Apache-2.0
"""Encrypted files, read by a decoder that knows the document alone, and kept as vectors."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest

import qpher_core
from qpher_core import chunked, messages
from qpher_core.discovery import open_primitives
from qpher_core.file_body import read_description
from qpher_core.file_header import FileHeader
from qpher_core.models import KeyRef
from qpher_core.recipients import PublicKeyRecipient
from tests.unit.file_decoder import decode

VECTORS = json.loads((Path(__file__).parents[2] / "docs" / "file_vectors.json").read_text())
CONTENT = bytes(range(256)) * 300


def _binding(vector: dict[str, Any]) -> dict[str, Any]:
    return {
        name: vector[name] for name in ("context", "tenant", "name", "version") if name in vector
    }


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["comment"])
def test_vectors_decode(vector: dict[str, Any]) -> None:
    """The decoder finds description and content that the vector states."""
    data, seed = (base64.b64decode(vector[name]) for name in ("file", "seed"))
    description, content = decode(data, seed, _binding(vector))
    assert description == vector["description"]
    assert base64.b64decode(vector["content"]) == content


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["comment"])
def test_vectors_open(vector: dict[str, Any]) -> None:
    """The library reads the same."""
    data, seed = (base64.b64decode(vector[name]) for name in ("file", "seed"))
    reading, clear = io.BytesIO(data), io.BytesIO()
    if "tenant" not in vector:
        metadata = qpher_core.decrypt_file(
            reading, clear, seed, vector["algorithm"], context=vector["context"]
        )
        assert metadata == vector["description"]["metadata"]
    else:
        key = open_primitives(None).kems[vector["algorithm"]].open_seed(seed)
        ref = KeyRef(vector["tenant"], vector["name"], vector["algorithm"], vector["version"])
        binding = messages.Binding(ref, messages.Kind.FILE_KEY, vector["context"])
        (wrapped,) = FileHeader.read(reading).recipients
        file_key = messages.decrypt(key, binding, wrapped)
        _, context = read_description(file_key, reading, legacy=False)
        chunked.decrypt_stream(file_key, reading, clear, context=context, progress=lambda _: None)
    assert clear.getvalue() == base64.b64decode(vector["content"])


@pytest.mark.parametrize("algorithm", ["ML-KEM-768", "ML-KEM-1024"])
def test_fresh_files_decode(algorithm: str) -> None:
    """What is encrypted now is read by the decoder."""
    scheme = open_primitives(None).kems[algorithm]
    seed, box = scheme.generate_seed(), io.BytesIO()
    recipient = PublicKeyRecipient(algorithm, scheme.open_seed(seed).encapsulation_key)
    qpher_core.encrypt_file(
        io.BytesIO(CONTENT), box, [recipient], context={"a": "ü"}, metadata={"n": "ß"}
    )
    description, content = decode(box.getvalue(), seed, {"context": {"a": "ü"}})
    assert (description, content) == ({"files": None, "metadata": {"n": "ß"}}, CONTENT)
