# SPDX-License-Identifier: Apache-2.0
"""Closing a key while other threads compute with it, and keys left to the garbage collector."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable

import pytest

from qpher_native import MLDSA, MLKEM
from qpher_native._native import ffi, lib

ROUNDS = 30
THREADS = 4


def race(make: Callable[[], tuple[object, Callable[[], bool]]]) -> None:
    """Threads use a key until it is closed under them: right answers, then one clean error."""
    wrong: list[BaseException | str] = []

    def work(use: Callable[[], bool], started: threading.Barrier) -> None:
        started.wait()
        try:
            while True:
                if not use():
                    wrong.append("a wrong answer")
                    return
        except ValueError as error:
            if "closed" not in str(error):
                wrong.append(error)
        except BaseException as error:  # noqa: BLE001 (whatever it is, it is the finding)
            wrong.append(error)

    for _ in range(ROUNDS):
        key, use = make()
        started = threading.Barrier(THREADS + 1)
        threads = [threading.Thread(target=work, args=(use, started)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        started.wait()
        key.close()  # type: ignore[attr-defined]
        make()[0].close()  # type: ignore[attr-defined] (takes the slot, if it came back too early)
        for thread in threads:
            thread.join(timeout=60)
        assert not wrong, wrong


def test_decapsulation_key_closed_under_way() -> None:
    """Every decapsulation that began before close() gives the right secret."""
    kem = MLKEM("ML-KEM-768")

    def make() -> tuple[object, Callable[[], bool]]:
        key = kem.generate()
        ciphertext, secret = key.encapsulation_key.encapsulate()
        return key, lambda: key.decapsulate(ciphertext) == secret

    race(make)


def test_signing_key_closed_under_way() -> None:
    """Every signature that began before close() is the right one."""
    dsa = MLDSA("ML-DSA-44")

    def make() -> tuple[object, Callable[[], bool]]:
        key = dsa.generate()
        right = key.sign(b"message", deterministic=True)
        return key, lambda: key.sign(b"message", deterministic=True) == right

    race(make)


@pytest.mark.parametrize(
    ("name", "size"),
    [("ML-KEM-768", lib.qpher_mlkem_dk_secret_bytes()), ("ML-DSA-65", 8192)],
)
def test_a_key_that_nobody_closes_is_wiped(name: str, size: int) -> None:
    """What is secret in the memory of a key is zero as soon as the key is collected."""
    key = (MLKEM(name) if "KEM" in name else MLDSA(name)).generate()
    address = int(ffi.cast("uintptr_t", key._key))
    view = ffi.buffer(ffi.cast("uint8_t *", address), size)
    assert any(bytes(view))
    del key
    gc.collect()
    assert not any(bytes(view))
