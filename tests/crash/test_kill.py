# SPDX-License-Identifier: Apache-2.0
"""SIGKILL at random moments: nothing acknowledged is lost, and nothing is half done.

``QPHER_CRASH_KILLS`` sets how many kills there are, spread over all stores; ``make crash`` asks
for 200, ``make crash-all`` for 500.
"""

import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest
from attrs import frozen

import qpher_core
from qpher_core.discovery import open_store
from qpher_core.models import AuditEntry
from qpher_core.service_tenants import _document
from tests.contract.table import BACKENDS, backends
from tests.crash.worker import KEM, SIGNATURE, TENANT

DURABLE = backends(durable=True)
KILLS = -(-int(os.environ.get("QPHER_CRASH_KILLS", "12")) // len(DURABLE))  # of each store
KILLS_A_STORE = 10  # the log is replayed after each, so it must not grow for ever
WORKER = Path(__file__).with_name("worker.py")
VOID = re.compile("entry ([0-9]+) was not carried out")

_STATES = {
    "keys.suspend": "suspended",
    "keys.resume": "active",
    "keys.retire": "retired",
    "keys.archive": "archived",
    "keys.restore": "retired",
    "keys.compromise": "compromised",
    "keys.destroy": "destroyed",
}


@frozen
class Acknowledged:
    """What a worker was told had happened.

    Attributes:
        entries: seq to hash of the entry.
        revisions: (key name, version) to the highest revision.
        policy, plan: the last change of each.
        lines: how many operations that is.
    """

    entries: dict[int, str]
    revisions: dict[tuple[str, int], int]
    policy: int
    plan: str
    lines: int


def _parse(lines: list[list[str]]) -> Acknowledged:
    revisions: dict[tuple[str, int], int] = {}
    for _, name, version, revision in (line for line in lines if line[0] == "key"):
        revisions[name, int(version)] = int(revision)
    return Acknowledged(
        {int(seq): digest for _, seq, digest in (line for line in lines if line[0] == "entry")},
        revisions,
        max((int(line[1]) for line in lines if line[0] == "policy"), default=0),
        max((line[1] for line in lines if line[0] == "plan"), default=""),
        len(lines),
    )


@pytest.fixture(params=DURABLE)
def backend(request: pytest.FixtureRequest) -> str:
    """Return each durable store, and each pair of them."""
    name: str = request.param
    return name


def _prepare(backend: str, folder: Path) -> str:
    url = BACKENDS[backend].url(folder)
    with qpher_core.open(url, primitives="openssl") as kms:
        kms.tenants.create(TENANT)
        session = kms.session(TENANT, actor="test")
        session.keys.generate(KEM, name="main")
        session.keys.generate(SIGNATURE, name="main")
        kms.policies.set('[{"rule":"plan"}]', tenant=TENANT)
    return url


def _start(url: str, folder: Path, seed: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), url, str(folder), str(seed)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _acknowledged(worker: subprocess.Popen[str], seconds: float, beyond: int = 0) -> Acknowledged:
    """Let a worker work, kill it, and return what it had acknowledged.

    It is killed ``seconds`` after it has acknowledged an entry after number ``beyond``.
    """
    assert worker.stdout is not None
    lines = [worker.stdout.readline()]
    while lines[-1] and not _is_entry_after(beyond, lines[-1].split()):
        lines.append(worker.stdout.readline())
    time.sleep(seconds)
    worker.send_signal(signal.SIGKILL)
    lines += worker.stdout.readlines()
    worker.stdout.close()
    assert worker.wait() == -signal.SIGKILL, "the worker ended by itself"
    return _parse([line.split() for line in lines if line.endswith("\n")])


def _is_entry_after(beyond: int, words: list[str]) -> bool:
    return words[0] == "entry" and int(words[1]) > beyond


def _carried_out(entries: list[AuditEntry], acknowledged: Acknowledged) -> list[AuditEntry]:
    """Return the entries that were not taken back; none that was acknowledged is."""
    void = {int(found[1]) for e in entries if (found := VOID.search(e.fields["reason"]))}
    assert not void & acknowledged.entries.keys(), "what was acknowledged was taken back"
    return [entry for entry in entries if entry.seq not in void]


def _check(url: str, folder: Path, acknowledged: Acknowledged) -> None:
    """Reopen the store and hold it against what was acknowledged."""
    with qpher_core.open(url, primitives="openssl") as kms:
        report = kms.audit.verify(TENANT)
        assert report.ok, report
        session = kms.session(TENANT, actor="test")
        entries = list(session.audit.entries())
        hashes = {entry.seq: entry.hash.hex() for entry in entries}
        lost = acknowledged.entries.items() - hashes.items()
        assert not lost, f"acknowledged but not recorded: {sorted(lost)}"
        stored = {(k.name, k.version): k.revision for k in session.keys.list(KEM)}
        for key, revision in acknowledged.revisions.items():
            assert stored[key] >= revision, f"a change of {key} is lost"
        counting = _carried_out(entries, acknowledged)
        _check_states(session, counting)
        _check_documents(kms, counting, acknowledged)
        for algorithm in (KEM, SIGNATURE):
            active = session.keys.list(algorithm, name="main", state="active")
            assert len(active) == 1
        _check_anchors(kms, folder)
        # It works on.
        assert session.kem.encrypt(b"after", name="main").receipt.seq == len(entries)


def _check_anchors(kms: qpher_core.Qpher, folder: Path) -> None:
    """The log continues what was published, and its export verifies with all anchors."""
    tenant = kms.tenants.get(TENANT)
    published = folder / "published" / f"{tenant.id}.checkpoint"
    if published.exists():
        kms.anchors.check(published.read_text(encoding="utf-8"), tenant)
    export = folder / "export.jsonl"
    kms.audit.export(export, TENANT)
    keys = list(map(qpher_core.VerifierKey.parse, kms.anchors.keys()))
    report = qpher_core.verify_export(export, keys, processes=1)
    assert report.ok, report


def _check_states(session: qpher_core.Session, entries: list[AuditEntry]) -> None:
    """The stored states are those that the log tells, so no effect is without its entry."""
    told = _replay(entries)
    stored = {(k.name, k.algorithm, k.version): str(k.state) for k in session.keys.list()}
    assert stored == told
    versions = defaultdict(list)
    for name, algorithm, version in stored:
        versions[name, algorithm].append(version)
    for found in versions.values():
        assert sorted(found) == list(range(1, len(found) + 1))


def _check_documents(
    kms: qpher_core.Qpher, entries: list[AuditEntry], acknowledged: Acknowledged
) -> None:
    """Policy and tenant are those of their last entries, and no older than acknowledged."""
    tenant = kms.tenants.get(TENANT)
    policy = kms.policies.get(TENANT)
    assert policy is not None
    assert policy.revision >= acknowledged.policy
    assert tenant.updated_at.isoformat() >= acknowledged.plan
    told = defaultdict(list)
    for entry in entries:
        if entry.fields["outcome"] == "success":
            told[entry.fields["action"]].append(entry.fields["content"])
    assert policy.revision == len(told["policies.set"])
    assert told["policies.set"][-1] == hashlib.sha256(policy.rules.encode()).hexdigest()
    changes = told["tenants.create"] + told["tenants.update"]
    assert changes[-1] == hashlib.sha256(_document(tenant)).hexdigest()


def _replay(entries: list[AuditEntry]) -> dict[tuple[str, str, int], str]:
    states: dict[tuple[str, str, int], str] = {}
    for entry in entries:
        fields = entry.fields
        key, action = fields["key"], fields["action"]
        if fields["outcome"] != "success" or key is None:
            continue
        address = key["name"], key["algorithm"], key["version"]
        if action in {"keys.generate", "keys.rotate"}:
            for other, state in states.items():
                if other[:2] == address[:2] and state == "active":
                    states[other] = "retired"
            states[address] = "active"
        elif action in _STATES:
            states[address] = _STATES[action]
    return states


@pytest.mark.timeout(3600)
def test_nothing_acknowledged_is_lost(
    backend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After each kill every acknowledged entry is there, the chain verifies, one is active."""
    choose = random.Random(2026)
    total = 0
    for kill in range(KILLS):
        if kill % KILLS_A_STORE == 0:
            folder = tmp_path / str(kill)
            folder.mkdir()
            url = _prepare(backend, folder)
        acknowledged = _acknowledged(_start(url, folder, kill), choose.uniform(0, 0.25))
        total += acknowledged.lines
        _check(url, folder, acknowledged)
    with capsys.disabled():
        sys.stdout.write(f"\n{backend}: {KILLS} kills, {total} acknowledged operations, 0 lost\n")
    assert total > KILLS


def test_the_other_process_goes_on(backend: str, tmp_path: Path) -> None:
    """One of two processes on a store is killed; the other works on and both keep their word."""
    url = _prepare(backend, tmp_path)
    survivor, victim = _start(url, tmp_path, 1), _start(url, tmp_path, 2)
    first = _acknowledged(victim, 0.2)
    second = _acknowledged(survivor, 0.1, beyond=max(first.entries))
    assert not first.entries.keys() & second.entries.keys()
    assert max(second.entries) > max(first.entries), "the survivor stopped as well"
    _check(url, tmp_path, first)
    _check(url, tmp_path, second)


def test_a_kill_while_the_store_is_made(backend: str, tmp_path: Path) -> None:
    """Killed at any moment of its first opening, a store can be opened afterwards."""
    choose = random.Random(7)
    script = (
        "import sys; from qpher_core.discovery import open_store\n"
        "open_store(sys.argv[1], parameter='url')"
    )
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        url = BACKENDS[backend].url(folder)
        process = subprocess.Popen([sys.executable, "-c", script, url])
        time.sleep(choose.uniform(0.15, 0.4))
        process.kill()
        process.wait()
        with qpher_core.open(url, primitives="openssl") as kms:
            kms.tenants.create(TENANT)
            assert kms.audit.verify(TENANT).ok


def test_a_cut_transaction_leaves_nothing(backend: str, tmp_path: Path) -> None:
    """A process that dies between a write and its commit leaves no trace of it."""
    url = _prepare(backend, tmp_path)
    script = (
        "import os, sys; from qpher_core.discovery import open_store\n"
        "store = open_store(sys.argv[1], parameter='url')\n"
        "def work(writer):\n"
        "    writer.policies.insert(__import__('qpher_core').PolicyDocument(None, 99, '[]'))\n"
        "    os.kill(os.getpid(), 9)\n"
        "store.commit(work)"
    )
    process = subprocess.run([sys.executable, "-c", script, url], check=False)
    assert process.returncode == -signal.SIGKILL
    store = open_store(url, parameter="url")
    document = store.policies.get(None)
    store.close()
    assert document is not None
    assert document.revision == 1
