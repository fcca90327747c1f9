# SPDX-License-Identifier: Apache-2.0
"""What the pipeline adds to a bare operation, on each backend.

The difference between ``bare`` and ``memory`` is policy, state check and audit entry; between
``memory`` and ``sqlite`` it is reading the records and one durable commit.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import qpher_core
from qpher_core.discovery import open_primitives

MESSAGE = bytes(32)
SIGNATURE = "ML-DSA-65"


@pytest.fixture(params=["memory", "sqlite"])
def session(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[qpher_core.Session]:
    """Open a session with keys on each backend."""
    url = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/q.db"
    with qpher_core.open(url) as kms:
        kms.tenants.create("acme")
        opened = kms.session("acme", actor="bench")
        opened.keys.generate(SIGNATURE)
        yield opened


def test_bare_verify(benchmark: BenchmarkFixture) -> None:
    """The operation alone."""
    benchmark.group = "verify"
    scheme = open_primitives(None).signatures[SIGNATURE]
    key = scheme.open_seed(scheme.generate_seed())
    signature = key.sign(MESSAGE)
    assert benchmark(scheme.open_public_key(key.public_key).verify, MESSAGE, signature)


def test_verify(benchmark: BenchmarkFixture, session: qpher_core.Session) -> None:
    """The operation through the pipeline."""
    benchmark.group = "verify"
    signed = session.signatures.sign(MESSAGE)
    assert benchmark(session.signatures.verify, MESSAGE, signed.signature, 1).valid
