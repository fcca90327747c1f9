# SPDX-License-Identifier: Apache-2.0
"""What ``session.keys`` promises on every backend with every provider."""

from concurrent.futures import ThreadPoolExecutor

import pytest

import qpher_core
from qpher_core.algorithms import ALGORITHMS
from qpher_core.errors import NotFound, StateConflict, ValidationError
from qpher_core.lifecycle import KeyState
from qpher_core.models import KeyVersion
from qpher_core.service import Qpher
from qpher_core.session import Session


def test_generate_makes_an_active_key(session: Session, algorithm: str) -> None:
    """A generated key is version 1, active, with a public key of the algorithm's length."""
    key = session.keys.generate(algorithm)
    assert (key.name, key.algorithm, key.version) == ("default", algorithm, 1)
    assert key.state is KeyState.ACTIVE
    assert len(key.public_key) == ALGORITHMS[algorithm].public_key_bytes
    assert (key.key_version, key.status, key.revision, key.reason) == (1, "active", 1, "")
    assert key.created_at == key.changed_at
    assert session.keys.get(algorithm, 1) == key == session.keys.active(algorithm)


def test_generate_again_retires_the_former(session: Session, algorithm: str) -> None:
    """Generating where a key is active makes the next version and retires the former."""
    first = session.keys.generate(algorithm)
    second = session.keys.generate(algorithm)
    assert second.version == 2
    assert second.public_key != first.public_key
    assert session.keys.get(algorithm, 1).state is KeyState.RETIRED
    assert session.keys.active(algorithm) == second


def test_rotate_replaces_the_active_key(session: Session, algorithm: str) -> None:
    """Rotating gives the new version, names the old one, and retires it."""
    session.keys.generate(algorithm)
    result = session.keys.rotate(algorithm)
    assert (result.key_version, result.old_key_version) == (2, 1)
    assert result.algorithm == algorithm
    assert result.key == session.keys.active(algorithm)
    assert result.public_key == result.key.public_key
    assert session.keys.get(algorithm, 1).state is KeyState.RETIRED
    assert session.audit.entry(result.receipt).fields["action"] == "keys.rotate"


def test_rotate_needs_an_active_key(session: Session, algorithm: str) -> None:
    """Rotating without an active key is refused and makes none."""
    with pytest.raises(NotFound, match="no active"):
        session.keys.rotate(algorithm)
    session.keys.generate(algorithm)
    session.keys.suspend(algorithm, 1)
    with pytest.raises(NotFound, match="no active"):
        session.keys.rotate(algorithm)
    assert [key.version for key in session.keys.list()] == [1]


def test_a_whole_life(session: Session, algorithm: str) -> None:
    """A key can go through every state, and each change has its time and reason."""
    keys = session.keys
    seen: list[KeyVersion] = [keys.generate(algorithm)]
    for method, state in (
        (keys.suspend, KeyState.SUSPENDED),
        (keys.resume, KeyState.ACTIVE),
        (keys.retire, KeyState.RETIRED),
        (keys.archive, KeyState.ARCHIVED),
        (keys.restore, KeyState.RETIRED),
        (keys.compromise, KeyState.COMPROMISED),
        (keys.destroy, KeyState.DESTROYED),
    ):
        changed = method(algorithm, 1, reason=f"to {state}")
        assert (changed.state, changed.reason) == (state, f"to {state}")
        assert changed.revision == seen[-1].revision + 1
        assert changed.changed_at >= seen[-1].changed_at
        assert (changed.created_at, changed.public_key) == (
            seen[0].created_at,
            seen[0].public_key,
        )
        assert keys.get(algorithm, 1) == changed
        seen.append(changed)
    entries = [entry.fields for entry in session.audit.entries(start=1)]
    assert [(e["action"], e["reason"]) for e in entries[-2:]] == [
        ("keys.compromise", "to compromised"),
        ("keys.destroy", "to destroyed"),
    ]


def test_versions_go_on_after_destruction(session: Session, algorithm: str) -> None:
    """The version of a destroyed key is not given again."""
    session.keys.generate(algorithm)
    session.keys.compromise(algorithm, 1)
    session.keys.destroy(algorithm, 1)
    assert session.keys.generate(algorithm).version == 2


def test_names_are_separate_keys(session: Session, algorithm: str) -> None:
    """Keys of different names count their versions and change their states apart."""
    session.keys.generate(algorithm)
    other = session.keys.generate(algorithm, name="other")
    assert other.version == 1
    session.keys.retire(algorithm, 1)
    assert session.keys.active(algorithm, name="other") == other


def test_list_filters(session: Session) -> None:
    """A list can be limited by algorithm, name and state, and is ordered."""
    for name, algorithm in (("b", "ML-KEM-768"), ("a", "ML-KEM-768"), ("a", "ML-DSA-65")):
        session.keys.generate(algorithm, name=name)
    session.keys.rotate("ML-KEM-768", name="a")

    def listed(**filters: object) -> list[tuple[str, str, int]]:
        return [(k.name, k.algorithm, k.version) for k in session.keys.list(**filters)]

    dsa, first, second, last = (
        ("a", "ML-DSA-65", 1),
        ("a", "ML-KEM-768", 1),
        ("a", "ML-KEM-768", 2),
        ("b", "ML-KEM-768", 1),
    )
    assert listed() == [dsa, first, second, last]
    assert listed(algorithm="Kyber768") == [first, second, last]
    assert listed(name="b") == [last]
    assert listed(state="retired") == listed(state=KeyState.RETIRED) == [first]
    assert listed(algorithm="ML-DSA-65", name="b") == []


def test_list_refuses_unknown_filters(session: Session) -> None:
    """An unknown state, algorithm or malformed name is refused by name."""
    for filters, parameter in (
        ({"state": "asleep"}, "state"),
        ({"algorithm": "RSA"}, "algorithm"),
        ({"name": ""}, "name"),
    ):
        with pytest.raises(ValidationError) as caught:
            session.keys.list(**filters)
        assert caught.value.parameter == parameter


def test_aliases_name_the_same_key(session: Session) -> None:
    """An algorithm may be named as the HTTP interface names it; answers use its own name."""
    assert session.keys.generate("Kyber768").algorithm == "ML-KEM-768"
    assert session.keys.active("ML-KEM-768") == session.keys.active("Kyber768")
    assert session.keys.generate("Dilithium3").algorithm == "ML-DSA-65"


@pytest.mark.parametrize("version", [0, -1, 2**32, True, "1", 1.0, None])
def test_a_version_must_be_one(session: Session, version: object) -> None:
    """What is not a version is refused before anything is looked up."""
    for method in (session.keys.get, session.keys.retire, session.keys.destroy):
        with pytest.raises(ValidationError) as caught:
            method("ML-KEM-768", version)
        assert caught.value.parameter == "key_version"


@pytest.mark.parametrize("reason", [None, "a\nb", "x" * 1025, "\ud800"])
def test_a_reason_must_be_short_text(session: Session, reason: object) -> None:
    """A reason that is no short plain text is refused, and the key stays."""
    session.keys.generate("ML-KEM-768")
    with pytest.raises(ValidationError) as caught:
        session.keys.retire("ML-KEM-768", 1, reason=reason)
    assert caught.value.parameter == "reason"
    assert session.keys.active("ML-KEM-768").version == 1


def test_missing_keys_are_not_found(session: Session) -> None:
    """Every way to address a key that does not exist ends in the same error code."""
    session.keys.generate("ML-KEM-768")
    keys = session.keys
    attempts = (
        lambda: keys.get("ML-KEM-768", 2),
        lambda: keys.get("ML-KEM-1024", 1),
        lambda: keys.get("ML-KEM-768", 1, name="other"),
        lambda: keys.active("ML-KEM-1024"),
        lambda: keys.retire("ML-KEM-768", 2),
        lambda: session.kem.encrypt(b"", 2),
        lambda: session.signatures.sign(b""),
    )
    for attempt in attempts:
        with pytest.raises(NotFound) as caught:
            attempt()
        assert caught.value.code == "ERR_KMS_002"


def test_another_tenants_key_looks_missing(service: Qpher, session: Session) -> None:
    """The key of another tenant gives the very error of one that does not exist."""
    other = service.session(
        service.tenants.create("other of " + repr(session)[-60:-1]).id, actor="stranger"
    )
    session.keys.generate("ML-KEM-768")
    with pytest.raises(NotFound) as theirs:
        other.keys.get("ML-KEM-768", 1)
    with pytest.raises(NotFound) as missing:
        session.keys.get("ML-KEM-1024", 1)
    assert str(theirs.value) == str(missing.value).replace("1024", "768")
    assert theirs.value.code == missing.value.code
    assert list(other.keys.list()) == []


def test_parallel_generation_keeps_one_active(session: Session) -> None:
    """Keys that eight threads generate have gapless versions and one of them is active."""
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: session.keys.generate("ML-DSA-44"), range(16), timeout=60))
    assert sorted(key.version for key in made) == list(range(1, 17))
    assert len(session.keys.list(state="active")) == 1
    assert session.audit.verify().ok


def test_parallel_transitions_happen_once(session: Session) -> None:
    """Of eight threads that retire the same key, one does and the others are refused."""
    session.keys.generate("ML-DSA-44")

    def retire(_: int) -> bool:
        try:
            session.keys.retire("ML-DSA-44", 1)
        except StateConflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(retire, range(8), timeout=60)) == 1
    assert session.keys.get("ML-DSA-44", 1).revision == 2


def test_unavailable_algorithms_say_so(session: Session, service: Qpher) -> None:
    """An algorithm that the provider lacks is refused with that reason, and recorded."""
    have = {row.name for row in service.algorithms}
    lacking = [name for name in ALGORITHMS if name not in have]
    for name in lacking:
        with pytest.raises(qpher_core.AlgorithmUnavailable, match=name):
            session.keys.generate(name)
    recorded = [e.fields["outcome"] for e in session.audit.entries(start=1)]
    assert recorded == ["failed"] * len(lacking)
