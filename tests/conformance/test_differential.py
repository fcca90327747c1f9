# SPDX-License-Identifier: Apache-2.0
"""Providers against each other on random and on adversarial inputs: one verdict, one secret.

`make differential` runs 100,000 cases; QPHER_DIFFERENTIAL_CASES sets another number.
"""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qpher_core.algorithms import ALGORITHMS, Algorithm, Kind
from qpher_core.discovery import open_primitives
from qpher_core.errors import DecryptionFailed
from qpher_core.protocols import DecapsulationKey, KemScheme, SignatureScheme, VerificationKey

CASES = int(os.environ.get("QPHER_DIFFERENTIAL_CASES", "350"))
COMPARED = [row for row in ALGORITHMS.values() if len(row.providers) > 1]
KEMS = [row for row in COMPARED if row.kind is Kind.KEM]
SIGNATURES = [row for row in COMPARED if row.kind is Kind.SIGNATURE and not row.hybrid]
LONGEST_CONTEXT = 253  # what every provider takes

each = settings(
    max_examples=-(-CASES // (len(KEMS) + len(SIGNATURES))),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    database=None,
)


def inputs(size: int) -> st.SearchStrategy[bytes]:
    """Whole inputs as an attacker would send them: random, constant, short and long ones."""
    constants = st.sampled_from([bytes(size), b"\xff" * size])
    near = st.sampled_from([size - 1, size + 1, 0]).flatmap(
        lambda n: st.binary(min_size=n, max_size=n)
    )
    stretched = st.binary(min_size=1, max_size=32).map(lambda b: (b * (size // len(b) + 1))[:size])
    return st.one_of(stretched, constants, near)


@st.composite
def changes(draw: st.DrawFn, size: int) -> list[tuple[int, int]]:
    """(offset, mask) of up to four changed bytes."""
    change = st.tuples(st.integers(0, size - 1), st.integers(1, 255))
    return draw(st.lists(change, min_size=0, max_size=4))


def changed(data: bytes, at: list[tuple[int, int]]) -> bytes:
    """The data with bytes changed."""
    copy = bytearray(data)
    for offset, mask in at:
        copy[offset % len(copy)] ^= mask
    return bytes(copy)


def kems(row: Algorithm) -> list[KemScheme]:
    """The same KEM of every provider that has it."""
    return [open_primitives(name).kems[row.name] for name in row.providers]


def schemes(row: Algorithm) -> list[SignatureScheme]:
    """The same signature algorithm of every provider that has it."""
    return [open_primitives(name).signatures[row.name] for name in row.providers]


def decapsulated(key: DecapsulationKey, ciphertext: bytes) -> bytes | None:
    """The shared secret, or None where the provider refuses the ciphertext."""
    try:
        return key.decapsulate(ciphertext)
    except (ValueError, DecryptionFailed):  # the latter: an X25519 part of small order
        return None


def accepts(scheme: KemScheme, encapsulation_key: bytes) -> bool:
    """Whether the provider accepts an encapsulation key."""
    try:
        scheme.open_encapsulation_key(encapsulation_key)
    except ValueError:
        return False
    return True


def verdict(scheme: SignatureScheme, key: bytes, message: bytes, signature: bytes) -> bool | None:
    """Whether the signature verifies; None where the provider refuses the key."""
    try:
        opened: VerificationKey = scheme.open_public_key(key)
    except ValueError:
        return None
    return opened.verify(message, signature)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("row", KEMS, ids=lambda row: row.name)
def test_kems_agree(row: Algorithm) -> None:
    """One seed is one key; every ciphertext has one secret; every bad key is bad for all."""
    providers = kems(row)

    @each
    @given(
        seed=st.binary(min_size=row.seed_bytes, max_size=row.seed_bytes),
        ciphertext=inputs(row.output_bytes),
        at=changes(row.output_bytes),
        key_at=changes(row.public_key_bytes),
    )
    def case(
        seed: bytes, ciphertext: bytes, at: list[tuple[int, int]], key_at: list[tuple[int, int]]
    ) -> None:
        opened = [provider.open_seed(seed) for provider in providers]
        public = opened[0].encapsulation_key
        assert {key.encapsulation_key for key in opened} == {public}
        for provider in providers:
            sent, secret = provider.open_encapsulation_key(public).encapsulate()
            assert {key.decapsulate(sent) for key in opened} == {secret}
            assert len({decapsulated(key, changed(sent, at)) for key in opened}) == 1
        assert len({decapsulated(key, ciphertext) for key in opened}) == 1
        assert len({accepts(provider, changed(public, key_at)) for provider in providers}) == 1
        for key in opened:
            key.close()

    case()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("row", SIGNATURES, ids=lambda row: row.name)
def test_signatures_agree(row: Algorithm) -> None:
    """One seed is one key; every signature, good or changed, has one verdict."""
    providers = schemes(row)

    @each
    @given(
        seed=st.binary(min_size=row.seed_bytes, max_size=row.seed_bytes),
        message=st.binary(max_size=300),
        context=st.binary(max_size=LONGEST_CONTEXT),
        signature=inputs(row.output_bytes),
        at=changes(row.output_bytes),
        key_at=changes(row.public_key_bytes),
    )
    def case(
        seed: bytes,
        message: bytes,
        context: bytes,
        signature: bytes,
        at: list[tuple[int, int]],
        key_at: list[tuple[int, int]],
    ) -> None:
        opened = [provider.open_seed(seed) for provider in providers]
        public = opened[0].public_key
        assert {key.public_key for key in opened} == {public}
        verifiers = [provider.open_public_key(public) for provider in providers]
        for key in opened:
            bound = key.sign(message, context=context)
            assert all(verifier.verify(message, bound, context=context) for verifier in verifiers)
            signed = key.sign(message)
            wrong, other = changed(signed, at), changed(public, key_at)
            assert len({verifier.verify(message, wrong) for verifier in verifiers}) == 1
            assert len({verdict(p, other, message, signed) for p in providers}) == 1
            key.close()
        assert not any(verifier.verify(message, signature) for verifier in verifiers)

    case()
