# SPDX-License-Identifier: Apache-2.0
"""Other implementations that report.py times, where they are installed; on encoded keys.

pqcrypto 1.0 is RustCrypto; liboqs comes through liboqs-python, which is not imported without the
library since it would fetch and build one; PQClean's reference C runs in a process of its own.
"""

import ctypes.util
import importlib
import importlib.util
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Self

from benchmarks.cctv import messages
from benchmarks.subjects import KEMS, SIGNATURES
from qpher_core.measure import Case, timed

__all__ = ["PQClean", "liboqs", "rustcrypto"]

_MESSAGE = bytes(32)


def _cases(subject: str, name: str, calls: dict[str, Callable[[], object]]) -> Iterator[Case]:
    for what, call in calls.items():
        yield Case(f"{name} {what}", subject, timed(call))


def rustcrypto() -> Iterator[Case]:
    """Yield the cases of pqcrypto 1.0."""
    if importlib.util.find_spec("pqcrypto") is None:
        return
    for name in (*KEMS, *SIGNATURES):
        package = "pqcrypto.kem" if name in KEMS else "pqcrypto.sign"
        module = getattr(importlib.import_module(package), name.lower().replace("-", "_"))
        make = _rustcrypto_kem if name in KEMS else _rustcrypto_signature
        yield from make(name, module)


def _rustcrypto_kem(name: str, kem: Any) -> Iterator[Case]:
    public, private = kem.keygen()
    ciphertext, _ = kem.encaps(public)
    calls: dict[str, Callable[[], object]] = {
        "generate": kem.keygen,
        "encapsulate, encoded key": lambda: kem.encaps(public),
        "decapsulate, encoded key": lambda: kem.decaps(private, ciphertext),
    }
    yield from _cases("pqcrypto 1.0", name, calls)


def _rustcrypto_signature(name: str, dsa: Any) -> Iterator[Case]:
    public, private = dsa.keygen()
    signature = dsa.sign(private, _MESSAGE, b"")
    texts = messages(name)[:5]  # it takes milliseconds for each
    calls: dict[str, Callable[[], object]] = {
        "generate": dsa.keygen,
        "verify, encoded key": lambda: dsa.verify(public, _MESSAGE, signature, b""),
    }
    yield from _cases("pqcrypto 1.0", name, calls)
    sign = timed(lambda: [dsa.sign(private, text, b"") for text in texts])
    yield Case(f"{name} sign, encoded key", "pqcrypto 1.0", sign, len(texts))


def liboqs() -> Iterator[Case]:
    """Yield the cases of liboqs, if both the library and liboqs-python are installed."""
    if ctypes.util.find_library("oqs") is None or importlib.util.find_spec("oqs") is None:
        return
    oqs: Any = importlib.import_module("oqs")
    for name in KEMS:
        kem = oqs.KeyEncapsulation(name)
        public = kem.generate_keypair()
        ciphertext, _ = kem.encap_secret(public)
        calls: dict[str, Callable[[], object]] = {
            "generate": kem.generate_keypair,
            "encapsulate, encoded key": partial(kem.encap_secret, public),
            "decapsulate, encoded key": partial(kem.decap_secret, ciphertext),
        }
        yield from _cases("liboqs", name, calls)
    for name in SIGNATURES:
        yield from _liboqs_signature(name, oqs.Signature(name))


def _liboqs_signature(name: str, dsa: Any) -> Iterator[Case]:
    public = dsa.generate_keypair()
    signature, texts = dsa.sign(_MESSAGE), messages(name)
    calls: dict[str, Callable[[], object]] = {
        "generate": dsa.generate_keypair,
        "verify, encoded key": lambda: dsa.verify(_MESSAGE, signature, public),
    }
    sign = timed(lambda: [dsa.sign(text) for text in texts])
    yield Case(f"{name} sign, encoded key", "liboqs", sign, len(texts))
    yield from _cases("liboqs", name, calls)


class PQClean:
    """PQClean's reference C in a process of its own. A context manager."""

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen(
            [Path(python).absolute(), "-m", "benchmarks.pqclean"],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def cases(self) -> Iterator[Case]:
        """Yield its cases, in the order of its first line: names and units."""
        for field in self._answer().split("\t"):
            operation, _, unit = field.rpartition("=")
            yield Case(operation, "PQClean C", self._runner(operation), int(unit))

    def _runner(self, operation: str) -> Callable[[int], float]:
        def run(count: int) -> float:
            assert self._process.stdin is not None
            print(operation, count, sep="\t", file=self._process.stdin, flush=True)
            return float(self._answer())

        return run

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()
