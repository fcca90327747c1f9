# SPDX-License-Identifier: Apache-2.0
"""The lifecycle and the audit log against a simple model of them, on every backend."""

import tempfile
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

import qpher_core
from qpher_core.errors import NotFound, StateConflict
from qpher_core.lifecycle import KeyState
from qpher_core.models import Receipt
from tests.contract.table import BACKENDS

S = KeyState
KEYS = [("main", "ML-KEM-768"), ("main", "ML-DSA-44"), ("other", "ML-KEM-768")]
MOVES = {
    "suspend": ({S.ACTIVE}, S.SUSPENDED),
    "resume": ({S.SUSPENDED}, S.ACTIVE),
    "retire": ({S.ACTIVE, S.SUSPENDED}, S.RETIRED),
    "archive": ({S.RETIRED, S.COMPROMISED}, S.ARCHIVED),
    "restore": ({S.ARCHIVED}, S.RETIRED),
    "compromise": ({S.ACTIVE, S.SUSPENDED, S.RETIRED}, S.COMPROMISED),
    "destroy": ({S.ARCHIVED, S.COMPROMISED}, S.DESTROYED),
}
PROCESSING = {S.ACTIVE, S.SUSPENDED, S.RETIRED}

Key = tuple[str, str]
keys = st.sampled_from(KEYS)
versions = st.integers(1, 5)


class Machine(RuleBasedStateMachine):
    """A tenant whose keys are generated, moved and used at random."""

    backend: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        url = BACKENDS[self.backend].url(Path(self.folder.name))
        self.kms = qpher_core.open(url)
        self.kms.tenants.create("acme")
        self.session = self.kms.session("acme", actor="machine")
        self.lost: set[tuple[Key, int]] = set()
        self.states: dict[Key, dict[int, KeyState]] = {key: {} for key in KEYS}
        self.outputs: dict[tuple[Key, int], bytes] = {}
        self.expected: list[tuple[str, str]] = [("tenants.create", "success")]
        self.receipts: list[Receipt] = []

    def teardown(self) -> None:
        """Close the service; the whole log must be what the model expects."""
        fields = [entry.fields for entry in self.session.audit.entries()]
        assert [(f["action"], f["outcome"]) for f in fields] == self.expected
        for receipt in self.receipts:
            assert self.kms.audit.has(receipt)
        self.kms.close()
        self.folder.cleanup()

    def active(self, key: Key) -> int | None:
        """Return the model's active version."""
        return next((v for v, state in self.states[key].items() if state is S.ACTIVE), None)

    def note(self, action: str, *, done: bool) -> None:
        """Expect an entry."""
        self.expected.append((action, "success" if done else "failed"))

    @rule(key=keys)
    def generate(self, key: Key) -> None:
        """Generate: the next version becomes active, a former one retired."""
        name, algorithm = key
        made = self.session.keys.generate(algorithm, name=name)
        former = self.active(key)
        if former is not None:
            self.states[key][former] = S.RETIRED
        assert made.version == len(self.states[key]) + 1
        self.states[key][made.version] = S.ACTIVE
        self.note("keys.generate", done=True)

    @rule(key=keys)
    def rotate(self, key: Key) -> None:
        """Rotate: as generate, but only where a version is active."""
        name, algorithm = key
        former = self.active(key)
        if former is None:
            with pytest.raises(NotFound):
                self.session.keys.rotate(algorithm, name=name)
        else:
            result = self.session.keys.rotate(algorithm, name=name)
            assert result.old_key_version == former
            self.states[key][former] = S.RETIRED
            self.states[key][result.key_version] = S.ACTIVE
            self.receipts.append(result.receipt)
        self.note("keys.rotate", done=former is not None)

    @rule(key=keys, version=versions, move=st.sampled_from([*MOVES]))
    def move(self, key: Key, version: int, move: str) -> None:
        """Move a version: the table decides, and one version at most is active."""
        name, algorithm = key
        sources, target = MOVES[move]
        state = self.states[key].get(version)
        call = getattr(self.session.keys, move)
        if move == "restore" and (key, version) in self.lost:
            target = S.COMPROMISED
        blocked = target is S.ACTIVE and self.active(key) is not None
        if state in sources and not blocked:
            assert call(algorithm, version, name=name).state is target
            self.states[key][version] = target
            if target is S.COMPROMISED:
                self.lost.add((key, version))
            self.note(f"keys.{move}", done=True)
            return
        with pytest.raises(NotFound if state is None else StateConflict):
            call(algorithm, version, name=name)
        self.note(f"keys.{move}", done=False)

    @rule(key=keys, version=st.none() | versions)
    def protect(self, key: Key, version: int | None) -> None:
        """Encrypt or sign: only the active version does."""
        name, algorithm = key
        active = self.active(key)
        kem = "KEM" in algorithm
        action = "kem.encrypt" if kem else "signatures.sign"

        def call() -> tuple[int, bytes, Receipt]:
            if kem:
                box = self.session.kem.encrypt(b"x", version, algorithm=algorithm, name=name)
                return box.key_version, box.ciphertext, box.receipt
            signed = self.session.signatures.sign(b"x", version, algorithm, name=name)
            return signed.key_version, signed.signature, signed.receipt

        if active is not None and version in {None, active}:
            used, output, receipt = call()
            assert used == active
            self.outputs[key, used] = output
            self.receipts.append(receipt)
            self.note(action, done=True)
            return
        missing = version is None or version not in self.states[key]
        with pytest.raises(NotFound if missing else StateConflict):
            call()
        self.note(action, done=False)

    @rule(key=keys, version=versions, accept=st.booleans())
    def process(self, key: Key, version: int, *, accept: bool) -> None:
        """Decrypt or verify what a version protected: its state decides."""
        output = self.outputs.get((key, version))
        if output is None:
            return
        name, algorithm = key
        kem = "KEM" in algorithm
        action = "kem.decrypt" if kem else "signatures.verify"

        def call() -> bool:
            more = {"name": name, "accept_compromised": accept}
            if kem:
                opened = self.session.kem.decrypt(output, version, algorithm, **more)
                return opened.plaintext == b"x"
            return self.session.signatures.verify(b"x", output, version, algorithm, **more).valid

        state = self.states[key][version]
        allowed = state in PROCESSING or (state is S.COMPROMISED and accept)
        if allowed:
            assert call() is True
        else:
            with pytest.raises(StateConflict):
                call()
        self.note(action, done=allowed)

    @invariant()
    def the_keys_are_as_modelled(self) -> None:
        """States and versions are those of the model, and one version at most is active."""
        found: dict[Key, dict[int, KeyState]] = {key: {} for key in KEYS}
        for key in self.session.keys.list():
            found[key.name, key.algorithm][key.version] = key.state
        assert found == self.states
        for states in found.values():
            assert list(states.values()).count(S.ACTIVE) <= 1

    @invariant()
    def the_log_is_whole(self) -> None:
        """The chain verifies and has one entry for each operation."""
        report = self.session.audit.verify()
        assert report.ok
        assert report.entries == len(self.expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_service_follows_the_model(backend: str) -> None:
    """Whatever is done in whatever order, keys and log are as the model says."""
    machine = type("Machine", (Machine,), {"backend": backend})
    bounds = settings(max_examples=50, stateful_step_count=40, deadline=None, database=None)

    run_state_machine_as_test(machine, settings=bounds)
