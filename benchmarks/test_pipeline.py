# SPDX-License-Identifier: Apache-2.0
"""What the pipeline adds to a bare operation, on each backend.

The difference between ``bare`` and ``memory`` is policy, state check and audit entry; between
``memory`` and ``sqlite`` it is reading the records and one durable commit; with ``postgresql``,
whose server is on the same machine, it is the ways to it and back as well. The goals of the
audit log are ratios within one group: 32 threads on SQLite beside bare signing by one thread,
and batches of 64 beside a bare batch.
"""

import itertools
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Thread

import pytest
from cryptography.hazmat.primitives.asymmetric import mldsa
from pytest_benchmark.fixture import BenchmarkFixture

import qpher_core
from qpher_core.discovery import open_primitives
from qpher_core.protocols import SigningKey
from tests import postgres

SIGNATURE = "ML-DSA-65"
MESSAGE = bytes(32)
THREADS = 32
CALLS = 640
#: Different messages: the time of one signature depends on its message.
MESSAGES = [number.to_bytes(32, "big") for number in range(CALLS)]
BATCHES = [MESSAGES[first : first + 64] for first in range(0, CALLS, 64)]


@pytest.fixture(scope="module")
def postgresql() -> Iterator[postgres.Server]:
    """Start a server that waits for its disk."""
    if postgres.MISSING is not None:
        pytest.skip(postgres.MISSING)
    place = Path(tempfile.mkdtemp(prefix="qpher-pg-"))
    place.chmod(0o755)
    server = postgres.Server(place / "server", settings={"fsync": "on", "full_page_writes": "on"})
    try:
        server.create()
        yield server
    finally:
        server.stop()
        shutil.rmtree(place)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def session(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[qpher_core.Session]:
    """Open a session with keys on each backend."""
    urls = {"memory": "memory:", "sqlite": f"sqlite:///{tmp_path}/q.db"}
    url = urls.get(request.param) or request.getfixturevalue("postgresql").fresh(
        f"b_{tmp_path.name}".lower()[-60:]
    )
    with qpher_core.open(url, protector="memory:") as kms:
        kms.tenants.create("acme")
        opened = kms.session("acme", actor="bench")
        opened.keys.generate(SIGNATURE)
        yield opened


@pytest.fixture
def key() -> SigningKey:
    """Return a bare signing key of the default provider."""
    scheme = open_primitives(None).signatures[SIGNATURE]
    return scheme.open_seed(scheme.generate_seed())


def test_bare_verify(benchmark: BenchmarkFixture, key: SigningKey) -> None:
    """The operation alone."""
    benchmark.group = "verify"
    signature = key.sign(MESSAGE)
    verifier = open_primitives(None).signatures[SIGNATURE].open_public_key(key.public_key)
    assert benchmark(verifier.verify, MESSAGE, signature)


def test_verify(benchmark: BenchmarkFixture, session: qpher_core.Session) -> None:
    """The operation through the pipeline."""
    benchmark.group = "verify"
    signed = session.signatures.sign(MESSAGE)
    assert benchmark(session.signatures.verify, MESSAGE, signed.signature, 1).valid


def test_bare_sign(benchmark: BenchmarkFixture, key: SigningKey) -> None:
    """640 signatures by the default provider."""
    benchmark.group = f"{CALLS} signatures"
    benchmark.pedantic(lambda: [key.sign(message) for message in MESSAGES], rounds=5)


def test_bare_sign_elsewhere(benchmark: BenchmarkFixture) -> None:
    """640 signatures by pyca/cryptography."""
    benchmark.group = f"{CALLS} signatures"
    other = mldsa.MLDSA65PrivateKey.generate()
    benchmark.pedantic(lambda: [other.sign(message) for message in MESSAGES], rounds=3)


@pytest.mark.parametrize("threads", [1, THREADS])
def test_sign(benchmark: BenchmarkFixture, session: qpher_core.Session, threads: int) -> None:
    """640 signatures through the pipeline, each with its durable audit entry."""
    benchmark.group = f"{CALLS} signatures"

    def sign(messages: Sequence[bytes]) -> None:
        for message in messages:
            session.signatures.sign(message)

    def sign_all() -> None:
        workers = [Thread(target=sign, args=(MESSAGES[n::threads],)) for n in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    benchmark.pedantic(sign_all, rounds=5, warmup_rounds=1)


def test_durable_commits(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """640 durable commits of a row by SQLite alone: what one thread cannot avoid."""
    benchmark.group = f"{CALLS} signatures"
    connection = sqlite3.connect(tmp_path / "plain.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE entries (seq INTEGER PRIMARY KEY, body BLOB) STRICT")
    places = itertools.count()

    def commit_all() -> None:
        for _ in range(CALLS):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO entries VALUES (?, ?)", (next(places), bytes(600)))
            connection.execute("COMMIT")

    benchmark.pedantic(commit_all, rounds=5, warmup_rounds=1)
    connection.close()


def test_bare_sign_many(benchmark: BenchmarkFixture, key: SigningKey) -> None:
    """A batch of 64 by the provider."""
    benchmark.group = "sign_many of 64"
    batches = itertools.cycle(BATCHES)
    benchmark.pedantic(lambda: key.sign_many(next(batches)), rounds=50, warmup_rounds=5)


def test_sign_many(benchmark: BenchmarkFixture, session: qpher_core.Session) -> None:
    """A batch of 64 through the pipeline: one decision, one durable commit, 64 entries."""
    benchmark.group = "sign_many of 64"
    batches = itertools.cycle(BATCHES)
    benchmark.pedantic(
        lambda: session.signatures.sign_many(next(batches)), rounds=50, warmup_rounds=5
    )
