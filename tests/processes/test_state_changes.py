# SPDX-License-Identifier: Apache-2.0
"""What one process changes holds for the others from their very next operation on."""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import qpher_core
from qpher_core.models import AuditEntry
from tests.contract.table import BACKENDS, backends
from tests.processes.peer import KEM, SIGNATURE

ROOT = Path(__file__).resolve().parents[2]
BY_HAND = qpher_core.AnchorSettings(every_seconds=None)


class Peer:
    """Another process on the same store."""

    def __init__(self, url: str) -> None:
        command = [sys.executable, "-m", "tests.processes.peer", url]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )

    def begin(self, name: str, *arguments: object) -> None:
        """Send a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name} {json.dumps(arguments)}\n")
        self._process.stdin.flush()

    def end(self) -> Any:
        """Return its answer: a value, or the name of the error's class."""
        assert self._process.stdout is not None
        kind, _, rest = self._process.stdout.readline().partition(" ")
        return json.loads(rest) if kind == "ok" else rest.partition(" ")[0]

    def __call__(self, name: str, *arguments: object) -> Any:
        """Send a command and return its answer."""
        self.begin(name, *arguments)
        return self.end()

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=60)


@pytest.fixture(params=backends(shared=True))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a store with one tenant that has two keys."""
    made = BACKENDS[request.param].url(tmp_path)
    with qpher_core.open(made, anchors=BY_HAND) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="here")
        session.keys.generate(KEM)
        session.keys.generate(SIGNATURE)
    return made


@pytest.fixture
def kms(url: str) -> Iterator[qpher_core.Qpher]:
    """Open the store in this process."""
    with qpher_core.open(url, anchors=BY_HAND) as opened:
        yield opened


@pytest.fixture
def peer(url: str) -> Iterator[Peer]:
    """Open it in another one."""
    started = Peer(url)
    yield started
    started.close()


def _archive(session: qpher_core.Session) -> None:
    session.keys.retire(KEM, 1)
    session.keys.archive(KEM, 1)


def _destroy(session: qpher_core.Session) -> None:
    _archive(session)
    session.keys.destroy(KEM, 1)


CHANGES: dict[str, Callable[[qpher_core.Session], object]] = {
    "archive": _archive,
    "destroy": _destroy,
    "compromise": lambda session: session.keys.compromise(KEM, 1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_key_that_is_cached_elsewhere_is_not_used_any_more(
    kms: qpher_core.Qpher, peer: Peer, change: str
) -> None:
    """A change here stops the other process, which has the key opened, at its next operation."""
    session = kms.session("acme", actor="here")
    box = peer("encrypt")
    for _ in range(3):
        assert peer("decrypt", box, 1) == b"m".hex()  # opened, and cached
    CHANGES[change](session)
    assert peer("decrypt", box, 1) == "StateConflict"
    assert peer("encrypt") == "NotFound"
    assert kms.audit.verify("acme").ok


def test_suspending_and_resuming_is_seen_at_once(kms: qpher_core.Qpher, peer: Peer) -> None:
    """Each of many changes of state is what the other process goes by in its next operation."""
    session = kms.session("acme", actor="here")
    for _ in range(5):
        assert isinstance(peer("sign"), int)
        session.keys.suspend(SIGNATURE, 1)
        assert peer("sign") == "NotFound"
        session.keys.resume(SIGNATURE, 1)


def test_a_suspended_tenant_is_refused_everywhere(kms: qpher_core.Qpher, peer: Peer) -> None:
    """A tenant that is suspended here is refused there, and served again when it is resumed."""
    assert isinstance(peer("sign"), int)
    kms.tenants.suspend("acme")
    assert peer("sign") == "AuthenticationError"
    kms.tenants.resume("acme")
    assert isinstance(peer("sign"), int)


def test_rules_hold_everywhere(kms: qpher_core.Qpher, peer: Peer) -> None:
    """Rules that are set here decide there."""
    assert isinstance(peer("sign"), int)
    kms.policies.set('[{"rule":"profile","profile":"cnsa2"}]', tenant="acme")
    assert peer("sign") == "PermissionDenied"


def test_eight_processes_rotate_one_key(url: str, kms: qpher_core.Qpher) -> None:
    """While eight processes rotate a key, each operation succeeds, on one history for all."""
    peers = [Peer(url) for _ in range(8)]
    times = 6
    for peer in peers:
        peer.begin("rotate_many", times)
    answers = [peer.end() for peer in peers]
    for peer in peers:
        peer.close()
    assert all(isinstance(answer, list) for answer in answers), answers
    made = sorted(rotated for answer in answers for rotated, _ in answer)
    assert made == list(range(2, 2 + 8 * times)), "versions have gaps, or were made twice"
    assert kms.audit.verify("acme").ok
    session = kms.session("acme", actor="here")
    entries = [entry for entry in session.audit.entries() if _on_kem(entry)]
    _check_history(entries)
    stored = session.keys.list(KEM)
    assert [key.version for key in stored] == list(range(1, 2 + 8 * times))
    assert [key.version for key in stored if key.state == "active"] == [1 + 8 * times]
    _check_order(answers, entries)


def _on_kem(entry: AuditEntry) -> bool:
    key = entry.fields["key"]
    return key is not None and key["algorithm"] == KEM


def _check_history(entries: Sequence[AuditEntry]) -> None:
    """By the log one version was active at each instant, and nothing else protected anything."""
    active = 0
    for entry in entries:
        fields = entry.fields
        version = fields["key"]["version"]
        assert fields["outcome"] == "success", fields
        if fields["action"] in {"keys.generate", "keys.rotate"}:
            assert version == active + 1
            active = version
        elif fields["action"] == "kem.encrypt":
            assert version == active, "a version that was not active was used"
        else:
            assert version <= active


def _check_order(answers: Sequence[Sequence[Sequence[int]]], entries: Sequence[AuditEntry]) -> None:
    """Each process saw what it had done itself, and every answer is in the log."""
    for answer in answers:
        for (rotated, used), following in zip(answer, [*answer[1:], None], strict=True):
            assert used >= rotated, "a process did not see its own rotation"
            assert following is None or following[0] > used
    told: dict[str, int] = defaultdict(int)
    for entry in entries:
        told[entry.fields["action"]] += 1
    count = sum(map(len, answers))
    expected = {"keys.generate": 1, "keys.rotate": count, "kem.encrypt": count}
    assert told == {**expected, "kem.decrypt": count}
