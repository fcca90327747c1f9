# SPDX-License-Identifier: Apache-2.0
"""The power-on self-test has the right answers, notices wrong ones, and fails closed."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import mldsa, mlkem

from qpher_native import MLDSA, MLKEM, _poweron, cpu_path, selftest
from qpher_native._native import lib

KEM_PEERS = {
    "ML-KEM-768": mlkem.MLKEM768PrivateKey,
    "ML-KEM-1024": mlkem.MLKEM1024PrivateKey,
}
DSA_PEERS = {
    "ML-DSA-44": mldsa.MLDSA44PrivateKey,
    "ML-DSA-65": mldsa.MLDSA65PrivateKey,
    "ML-DSA-87": mldsa.MLDSA87PrivateKey,
}


def test_known_answers_come_out() -> None:
    """No known answer fails on this machine."""
    assert _poweron.failures() == []


@pytest.mark.parametrize("name", KEM_PEERS)
def test_inputs_of_the_kem_answers_agree_with_another_implementation(name: str) -> None:
    """pyca/cryptography derives the same public key and the same secrets from the test's seed."""
    peer = KEM_PEERS[name].from_seed_bytes(_poweron.KEM_SEED)
    with MLKEM(name).from_seed(_poweron.KEM_SEED) as dk:
        assert bytes(dk.encapsulation_key) == peer.public_key().public_bytes_raw()
        ciphertext, secret = dk.encapsulation_key.encapsulate(_poweron.KEM_MESSAGE)
        assert peer.decapsulate(ciphertext) == secret
        broken = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
        assert peer.decapsulate(broken) == dk.decapsulate(broken) != secret


@pytest.mark.parametrize("name", DSA_PEERS)
def test_inputs_of_the_dsa_answers_agree_with_another_implementation(name: str) -> None:
    """pyca/cryptography derives the same public key and accepts the test's signature."""
    peer = DSA_PEERS[name].from_seed_bytes(_poweron.DSA_SEED).public_key()
    with MLDSA(name).from_seed(_poweron.DSA_SEED) as sk:
        assert bytes(sk.public_key) == peer.public_bytes_raw()
        signature = sk.sign(_poweron.DSA_MESSAGE, context=_poweron.DSA_CONTEXT, deterministic=True)
        peer.verify(signature, _poweron.DSA_MESSAGE, _poweron.DSA_CONTEXT)


@pytest.mark.parametrize("name", [*_poweron.KEM_ANSWERS, *_poweron.DSA_ANSWERS])
def test_a_wrong_answer_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One answer that does not come out stops the import, with its name in the message."""
    answers = _poweron.KEM_ANSWERS if name in _poweron.KEM_ANSWERS else _poweron.DSA_ANSWERS
    monkeypatch.setitem(answers, name, "00" * 32)
    assert _poweron.failures() == [name]
    with pytest.raises(ImportError, match=f"power-on self-test \\({name}\\)"):
        _poweron.run()


def test_a_wrong_hash_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SHA3 has an answer of its own."""
    monkeypatch.setattr(_poweron, "SHA3_OF_EMPTY", "00" * 32)
    assert _poweron.failures() == ["SHA3-256"]


def test_power_on_test_is_short() -> None:
    """It costs milliseconds, not more."""
    best = min(_timed() for _ in range(3))
    assert best < 0.2


def _timed() -> float:
    start = time.perf_counter()
    _poweron.run()
    return time.perf_counter() - start


def test_long_selftest_passes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every check of the command passes on every path of this CPU, and it restores the path."""
    before = cpu_path()
    digests = {name: selftest.kem_accumulated(name, 20) for name in selftest.KEM_ACCUMULATED}
    monkeypatch.setattr(selftest, "KEM_CASES", 20)
    monkeypatch.setattr(selftest, "KEM_ACCUMULATED", digests)
    assert selftest.main(["--all"]) == 0
    assert cpu_path() == before
    report = capsys.readouterr().out
    assert "FAILED" not in report
    assert report.count(" ok ") == 13 * (lib.qpher_cpu_best() + 1)
    assert selftest.main([]) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()[:-1]} == {before}


def test_selftest_reports_failures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that fails is named, counted, and makes the command fail; so does a wrong option."""
    monkeypatch.setattr(selftest, "KEM_ACCUMULATED", {"ML-KEM-512": "00"})
    monkeypatch.setattr(selftest, "KEM_CASES", 1)
    assert selftest.main([]) == 1
    report = capsys.readouterr().out
    assert "ML-KEM-512: 1 accumulated" in report
    assert "1 checks FAILED" in report
    assert selftest.main(["--fast"]) == 2
    assert "usage" in capsys.readouterr().err


def _import_with(variable: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import qpher_native; print(qpher_native.cpu_path())"]
    path = os.pathsep.join(sys.path)
    environment = {**os.environ, "QPHER_NATIVE_CPU": variable, "PYTHONPATH": path}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_every_path_of_this_cpu_can_be_forced() -> None:
    """QPHER_NATIVE_CPU chooses the path at import."""
    for path in ("portable", "avx2", "avx512")[: lib.qpher_cpu_best() + 1]:
        assert _import_with(path).stdout.strip() == path


def test_an_unknown_path_is_an_import_error() -> None:
    """The error names the variable and the values that it may have."""
    result = _import_with("sse")
    assert result.returncode != 0
    assert "ImportError: QPHER_NATIVE_CPU must be one of portable, avx2, avx512" in result.stderr


def test_a_path_that_the_cpu_lacks_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for instructions that are not there is refused instead of crashing later."""
    assert lib.qpher_init(lib.qpher_cpu_best() + 1) == lib.QPHER_ERR_CPU
    assert lib.qpher_init(-2) == lib.QPHER_ERR_CPU
