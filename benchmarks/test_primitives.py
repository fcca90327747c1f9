# SPDX-License-Identifier: Apache-2.0
"""Operations of every installed provider side by side, on opened keys, single and in batches.

``make bench`` prints a table for each operation; compare within one run only. The ratios of
docs/performance.md are report.py's, which takes turns between the subjects.
"""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.cctv import messages
from qpher_core.algorithms import ALGORITHMS, Algorithm, Kind
from qpher_core.discovery import open_primitives

CASES = [(row, provider) for row in ALGORITHMS.values() for provider in row.providers]
KEMS = [case for case in CASES if case[0].kind is Kind.KEM]
SIGNATURES = [case for case in CASES if case[0].kind is Kind.SIGNATURE]
# SLH-DSA takes up to a second for a signature, always the same.
BATCHES = [case for case in SIGNATURES if not case[0].name.startswith("SLH-DSA")]
MESSAGE = bytes(32)
BATCH = 64


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


@pytest.mark.parametrize(("row", "provider"), KEMS, ids=_name)
def test_encapsulate_many(benchmark: BenchmarkFixture, row: Algorithm, provider: str) -> None:
    """A batch of 64 encapsulations to one opened key."""
    benchmark.group = f"{row.name} encapsulate, batch of {BATCH}"
    kem = open_primitives(provider).kems[row.name]
    opened = kem.open_seed(kem.generate_seed())
    key = kem.open_encapsulation_key(opened.encapsulation_key)
    made = benchmark(key.encapsulate_many, BATCH)
    assert opened.decapsulate_many([c for c, _ in made]) == [secret for _, secret in made]


@pytest.mark.parametrize(("row", "provider"), KEMS, ids=_name)
def test_decapsulate_many(benchmark: BenchmarkFixture, row: Algorithm, provider: str) -> None:
    """A batch of 64 decapsulations with one opened key."""
    benchmark.group = f"{row.name} decapsulate, batch of {BATCH}"
    kem = open_primitives(provider).kems[row.name]
    opened = kem.open_seed(kem.generate_seed())
    key = kem.open_encapsulation_key(opened.encapsulation_key)
    made = key.encapsulate_many(BATCH)
    secrets = benchmark(opened.decapsulate_many, [ciphertext for ciphertext, _ in made])
    assert secrets == [secret for _, secret in made]


@pytest.mark.parametrize(("row", "provider"), SIGNATURES, ids=_name)
def test_sign(benchmark: BenchmarkFixture, row: Algorithm, provider: str) -> None:
    """CCTV's hundred messages, one by one; rejection makes single signatures vary."""
    texts = messages(row.name) if (row, provider) in BATCHES else [MESSAGE]
    benchmark.group = f"{row.name} sign {len(texts)}"
    scheme = open_primitives(provider).signatures[row.name]
    key = scheme.open_seed(scheme.generate_seed())
    benchmark(lambda: [key.sign(text) for text in texts])


@pytest.mark.parametrize(("row", "provider"), BATCHES, ids=_name)
def test_sign_many(benchmark: BenchmarkFixture, row: Algorithm, provider: str) -> None:
    """The same messages in one call."""
    texts = messages(row.name)
    benchmark.group = f"{row.name} sign {len(texts)}"
    scheme = open_primitives(provider).signatures[row.name]
    benchmark(scheme.open_seed(scheme.generate_seed()).sign_many, texts)


@pytest.mark.parametrize(("row", "provider"), SIGNATURES, ids=_name)
def test_verify(benchmark: BenchmarkFixture, row: Algorithm, provider: str) -> None:
    """Verification with an opened key."""
    benchmark.group = f"{row.name} verify"
    scheme = open_primitives(provider).signatures[row.name]
    key = scheme.open_seed(scheme.generate_seed())
    signature = key.sign(MESSAGE)
    assert benchmark(scheme.open_public_key(key.public_key).verify, MESSAGE, signature)


@pytest.mark.parametrize(("row", "provider"), BATCHES, ids=_name)
def test_verify_many(benchmark: BenchmarkFixture, row: Algorithm, provider: str) -> None:
    """A batch of 64 verifications with one opened key."""
    benchmark.group = f"{row.name} verify, batch of {BATCH}"
    scheme = open_primitives(provider).signatures[row.name]
    key = scheme.open_seed(scheme.generate_seed())
    pairs = [(text, key.sign(text)) for text in messages(row.name)[:BATCH]]
    assert all(benchmark(scheme.open_public_key(key.public_key).verify_many, pairs))
