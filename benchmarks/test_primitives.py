# SPDX-License-Identifier: Apache-2.0
"""Operations of every installed provider side by side, on opened keys.

``make bench`` prints a table for each operation; compare within one run only.
"""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from qpher_core.algorithms import ALGORITHMS, Algorithm, Kind
from qpher_core.discovery import open_primitives

CASES = [(row, provider) for row in ALGORITHMS.values() for provider in row.providers]
KEMS = [case for case in CASES if case[0].kind is Kind.KEM]
SIGNATURES = [case for case in CASES if case[0].kind is Kind.SIGNATURE]
MESSAGE = bytes(32)


def _name(value: object) -> str:
    return value.name if isinstance(value, Algorithm) else str(value)


@pytest.mark.parametrize(("row", "provider"), CASES, ids=_name)
def test_generate(benchmark: BenchmarkFixture, row: Algorithm, provider: str) -> None:
    """A fresh key: seed, expansion, public key."""
    benchmark.group = f"{row.name} generate"
    primitives = open_primitives(provider)
    if row.kind is Kind.KEM:
        kem = primitives.kems[row.name]
        benchmark(lambda: kem.open_seed(kem.generate_seed()))
    else:
        scheme = primitives.signatures[row.name]
        benchmark(lambda: scheme.open_seed(scheme.generate_seed()))


@pytest.mark.parametrize(("row", "provider"), KEMS, ids=_name)
def test_encapsulate(benchmark: BenchmarkFixture, row: Algorithm, provider: str) -> None:
    """Encapsulation to an opened key."""
    benchmark.group = f"{row.name} encapsulate"
    kem = open_primitives(provider).kems[row.name]
    opened = kem.open_seed(kem.generate_seed())
    benchmark(kem.open_encapsulation_key(opened.encapsulation_key).encapsulate)


@pytest.mark.parametrize(("row", "provider"), KEMS, ids=_name)
def test_decapsulate(benchmark: BenchmarkFixture, row: Algorithm, provider: str) -> None:
    """Decapsulation with an opened key."""
    benchmark.group = f"{row.name} decapsulate"
    kem = open_primitives(provider).kems[row.name]
    opened = kem.open_seed(kem.generate_seed())
    ciphertext, secret = kem.open_encapsulation_key(opened.encapsulation_key).encapsulate()
    assert benchmark(opened.decapsulate, ciphertext) == secret


@pytest.mark.parametrize(("row", "provider"), SIGNATURES, ids=_name)
def test_sign(benchmark: BenchmarkFixture, row: Algorithm, provider: str) -> None:
    """A hedged signature of 32 bytes; rejection makes single ones vary, so read the mean."""
    benchmark.group = f"{row.name} sign"
    scheme = open_primitives(provider).signatures[row.name]
    benchmark(scheme.open_seed(scheme.generate_seed()).sign, MESSAGE)


@pytest.mark.parametrize(("row", "provider"), SIGNATURES, ids=_name)
def test_verify(benchmark: BenchmarkFixture, row: Algorithm, provider: str) -> None:
    """Verification with an opened key."""
    benchmark.group = f"{row.name} verify"
    scheme = open_primitives(provider).signatures[row.name]
    key = scheme.open_seed(scheme.generate_seed())
    signature = key.sign(MESSAGE)
    assert benchmark(scheme.open_public_key(key.public_key).verify, MESSAGE, signature)
