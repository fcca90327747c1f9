# SPDX-License-Identifier: Apache-2.0
"""Every provider understands every other: the same seed is the same key."""

import itertools

import pytest

import qpher_core
from qpher_core.algorithms import ALGORITHMS, Kind
from qpher_core.discovery import open_primitives

CASES = [
    (row.name, one, other)
    for row in ALGORITHMS.values()
    for one, other in itertools.permutations(row.providers, 2)
]
KEMS = [case for case in CASES if ALGORITHMS[case[0]].kind is Kind.KEM]
SIGNATURES = [case for case in CASES if ALGORITHMS[case[0]].kind is Kind.SIGNATURE]
SLH = [name for name in ALGORITHMS if name.startswith("SLH") and name.endswith("f")]


@pytest.mark.parametrize(("name", "one", "other"), KEMS)
def test_one_decapsulates_what_another_encapsulates(name: str, one: str, other: str) -> None:
    """One seed gives one key in both; secrets agree, rejections too."""
    first, second = open_primitives(one).kems[name], open_primitives(other).kems[name]
    seed = first.generate_seed()
    key, same = first.open_seed(seed), second.open_seed(seed)
    assert key.encapsulation_key == same.encapsulation_key
    for _ in range(20):
        opened = second.open_encapsulation_key(key.encapsulation_key)
        ciphertext, secret = opened.encapsulate()
        assert key.decapsulate(ciphertext) == secret
        broken = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
        assert key.decapsulate(broken) == same.decapsulate(broken) != secret


@pytest.mark.parametrize(("name", "one", "other"), SIGNATURES)
def test_one_verifies_what_another_signs(name: str, one: str, other: str) -> None:
    """One seed gives one key in both; signatures pass, altered ones and other contexts do not."""
    first, second = open_primitives(one).signatures[name], open_primitives(other).signatures[name]
    seed = first.generate_seed()
    key = first.open_seed(seed)
    assert key.public_key == second.open_seed(seed).public_key
    opened = second.open_public_key(key.public_key)
    for number in range(10):
        message = bytes([number]) * number
        signature = key.sign(message, context=b"c")
        assert opened.verify(message, signature, context=b"c")
        assert not opened.verify(message, signature)
        assert not opened.verify(message + b"!", signature, context=b"c")
        assert not opened.verify(message, signature[:-1], context=b"c")


@pytest.mark.parametrize("name", SLH)
def test_slh_dsa_through_the_pipeline(name: str) -> None:
    """SLH-DSA signs and verifies; digests it refuses with an error that says what to do."""
    pytest.importorskip("pqcrypto", reason="the extra rustcrypto is not installed")
    with qpher_core.open("memory:", primitives="rustcrypto") as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="test")
        key = session.keys.generate(name)
        assert len(key.public_key) == ALGORITHMS[name].public_key_bytes
        signed = session.signatures.sign(b"m", algorithm=name, context={"a": "b"})
        assert len(signed.signature) == ALGORITHMS[name].output_bytes
        verify = session.signatures.verify
        assert verify(b"m", signed.signature, 1, name, context={"a": "b"}).valid
        assert not verify(b"m", signed.signature, 1, name).valid
        with pytest.raises(qpher_core.AlgorithmUnavailable, match="native"):
            session.signatures.sign_hash(bytes(32), "SHA-256", algorithm=name)
