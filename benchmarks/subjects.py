# SPDX-License-Identifier: Apache-2.0
"""What report.py times of the C core, on each of its code paths, and of pyca/cryptography."""

from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import mldsa, mlkem

from benchmarks.cctv import messages
from qpher_core.measure import Case, timed
from qpher_native import MLDSA, MLKEM
from qpher_native._buffers import output
from qpher_native._cpu import PATHS
from qpher_native._native import lib

__all__ = ["BATCH", "KEMS", "MANY", "SIGNATURES", "THREADS", "native", "openssl"]

BATCH: Final = 64
#: What is spread over threads is larger, as handing over a part takes a tenth of a millisecond.
MANY: Final = 1024
THREADS: Final = 2
KEMS: Final = ("ML-KEM-512", "ML-KEM-768", "ML-KEM-1024")
SIGNATURES: Final = ("ML-DSA-44", "ML-DSA-65", "ML-DSA-87")
#: The sets that goals are about: these are timed in batches and on long messages too.
_MAIN: Final = ("ML-KEM-768", "ML-DSA-65")
_MESSAGE: Final = bytes(32)
_LONG: Final = bytes(1 << 20)

#: Operation to a call, and how many operations that is.
_Calls = dict[str, tuple[Callable[[], object], int]]
#: Operation to a call of so many items on so many threads.
_Batches = dict[str, Callable[[int, int], object]]


def native() -> Iterator[Case]:
    """Yield the cases of every code path that this CPU has."""
    best = lib.qpher_cpu_best()
    for path in range(best, -1, -1):
        lib.qpher_init(path)
        calls: _Calls = {"SHAKE256 of 1 MiB": (_shake_of_long, 1)}
        for name in KEMS:
            calls |= _of(name, _kem(MLKEM(name), best=path == best))
        for name in SIGNATURES:
            calls |= _of(name, _signature(MLDSA(name), best=path == best))
        for operation, (call, unit) in calls.items():
            yield Case(operation, f"native {PATHS[path]}", _on(path, operation, call), unit)
    lib.qpher_init(best)


def _of(name: str, calls: _Calls) -> _Calls:
    return {f"{name} {what}": call for what, call in calls.items()}


def _on(path: int, operation: str, call: Callable[[], object]) -> Callable[[int], float]:
    """Return what times a call on a code path; what several threads do by the time of day."""
    run = timed(call, perf_counter) if "thread" in operation else timed(call)

    def run_on_path(count: int) -> float:
        lib.qpher_init(path)
        return run(count)

    return run_on_path


def _shake_of_long() -> None:
    digest = output(64)
    lib.qpher_shake256(digest, len(digest), _LONG, len(_LONG))


def _kem(kem: MLKEM, *, best: bool) -> _Calls:
    dk = kem.generate()
    ek, expanded = dk.encapsulation_key, dk.expanded()
    encoded = bytes(ek)
    ciphertexts = [ciphertext for ciphertext, _ in ek.encapsulate_many(MANY)]
    one = ciphertexts[0]
    calls: _Calls = {
        "generate": (kem.generate, 1),
        "encapsulate": (ek.encapsulate, 1),
        "decapsulate": (lambda: dk.decapsulate(one), 1),
        "encapsulate, encoded key": (
            lambda: kem.load_encapsulation_key(encoded).encapsulate(),
            1,
        ),
        "decapsulate, encoded key": (lambda: kem.from_expanded(expanded).decapsulate(one), 1),
    }
    if kem.name not in _MAIN:
        return calls
    batches: _Batches = {
        "generate": lambda n, t: kem.generate_many(n, threads=t),
        "encapsulate": lambda n, t: ek.encapsulate_many(n, threads=t),
        "decapsulate": lambda n, t: dk.decapsulate_many(ciphertexts[:n], threads=t),
    }
    return calls | _batches(batches, threads=best)


def _signature(dsa: MLDSA, *, best: bool) -> _Calls:
    sk = dsa.from_seed(bytes(32))  # the key that CCTV's messages are for
    pk, expanded = sk.public_key, sk.expanded()
    encoded, texts = bytes(pk), messages(dsa.name)
    signature = sk.sign(_MESSAGE)
    calls: _Calls = {
        "generate": (dsa.generate, 1),
        "sign": (lambda: [sk.sign(text) for text in texts], len(texts)),
        "verify": (lambda: pk.verify(_MESSAGE, signature), 1),
        "sign, encoded key": (
            lambda: [dsa.from_expanded(expanded).sign(text) for text in texts],
            len(texts),
        ),
        "verify, encoded key": (
            lambda: dsa.load_public_key(encoded).verify(_MESSAGE, signature),
            1,
        ),
    }
    if dsa.name not in _MAIN:
        return calls
    long_signature, pairs = sk.sign(_LONG), [(_MESSAGE, signature)] * MANY
    many = (texts * MANY)[:MANY]
    calls["sign, 1 MiB"] = (lambda: sk.sign(_LONG)), 1
    calls["verify, 1 MiB"] = (lambda: pk.verify(_LONG, long_signature)), 1
    batches: _Batches = {
        "generate": lambda n, t: dsa.generate_many(n, threads=t),
        "sign": lambda n, t: sk.sign_many(many[:n], threads=t),
        "verify": lambda n, t: pk.verify_many(pairs[:n], threads=t),
    }
    return calls | _batches(batches, threads=best)


def _batches(calls: _Batches, *, threads: bool) -> _Calls:
    """Return each batch call, and larger ones on one thread and on several."""
    table: _Calls = {}
    for what, call in calls.items():
        table[f"{what}, batch"] = partial(call, BATCH, 1), BATCH
        for n in (1, THREADS) if threads else ():
            table[f"{what}, {MANY} on {n} thread{'s'[: n - 1]}"] = partial(call, MANY, n), MANY
    return table


def openssl() -> Iterator[Case]:
    """Yield the cases of pyca/cryptography; its keys are opened ones."""
    calls: _Calls = {}
    calls |= _of("ML-KEM-768", _openssl_kem(mlkem.MLKEM768PrivateKey))
    calls |= _of("ML-KEM-1024", _openssl_kem(mlkem.MLKEM1024PrivateKey))
    for name, private, public in (
        ("ML-DSA-44", mldsa.MLDSA44PrivateKey, mldsa.MLDSA44PublicKey),
        ("ML-DSA-65", mldsa.MLDSA65PrivateKey, mldsa.MLDSA65PublicKey),
        ("ML-DSA-87", mldsa.MLDSA87PrivateKey, mldsa.MLDSA87PublicKey),
    ):
        calls |= _of(name, _openssl_signature(private, public, messages(name)))
    for operation, (call, unit) in calls.items():
        yield Case(operation, "cryptography", timed(call), unit)


def _openssl_kem(kind: Any) -> _Calls:
    private = kind.generate()
    public = private.public_key()
    _, ciphertext = public.encapsulate()
    return {
        "generate": (kind.generate, 1),
        "encapsulate": (public.encapsulate, 1),
        "decapsulate": (lambda: private.decapsulate(ciphertext), 1),
    }


def _openssl_signature(private_kind: Any, public_kind: Any, texts: list[bytes]) -> _Calls:
    key = private_kind.from_seed_bytes(bytes(32))
    public = key.public_key()
    encoded, signature = public.public_bytes_raw(), key.sign(_MESSAGE)
    return {
        "generate": (private_kind.generate, 1),
        "sign": (lambda: [key.sign(text) for text in texts], len(texts)),
        "verify": (lambda: public.verify(signature, _MESSAGE), 1),
        "verify, encoded key": (
            lambda: public_kind.from_public_bytes(encoded).verify(signature, _MESSAGE),
            1,
        ),
    }
