# SPDX-License-Identifier: Apache-2.0
"""Who is compared in report.py, and by which calls: each subject through its own interface."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import pqcrypto.kem
import pqcrypto.sign
from cryptography.hazmat.primitives.asymmetric import mldsa, mlkem

from qpher_core.measure import Case
from qpher_native import MLDSA, MLKEM
from qpher_native._buffers import output
from qpher_native._cpu import PATHS
from qpher_native._native import lib

BATCH = 64
THREADS = 2
MESSAGES = 100
KEMS = ("ML-KEM-512", "ML-KEM-768", "ML-KEM-1024")
SIGNATURES = ("ML-DSA-44", "ML-DSA-65", "ML-DSA-87")
VECTORS = Path(os.environ.get("QPHER_VECTORS", "../shared/vectors"))


def messages(name: str) -> list[bytes]:
    """Return CCTV's signing messages, whose mean is that of all messages; else some counters."""
    file = VECTORS / "cctv" / f"{name.lower()}-benchmark.json.gz"
    if not file.exists():
        return [number.to_bytes(32, "big") for number in range(MESSAGES)]
    texts = json.loads(gzip.decompress(file.read_bytes()))
    return [text.encode() for text in texts[:MESSAGES]]


def _times(call: Callable[[], object], path: int | None = None) -> Callable[[int], None]:
    """Return what runs a call so often, on one code path of the C core if it is the C core's."""

    def run(count: int) -> None:
        if path is not None:
            lib.qpher_init(path)
        for _ in range(count):
            call()

    return run


# --- the C core, each code path ----------------------------------------------------------------


def native() -> Iterator[Case]:
    """Yield the cases of every code path that this CPU has."""
    best = lib.qpher_cpu_best()
    for path in range(best, -1, -1):
        lib.qpher_init(path)
        subject = f"native {PATHS[path]}"
        for name in KEMS:
            yield from _native_kem(name, subject, path)
        for name in SIGNATURES:
            yield from _native_signature(name, subject, path)
    lib.qpher_init(best)


def _native_kem(name: str, subject: str, path: int) -> Iterator[Case]:
    def case(what: str, call: Callable[[], object], unit: int = 1) -> Case:
        return Case(f"{name} {what}", subject, _times(call, path), unit)

    kem = MLKEM(name)
    dk = kem.generate()
    ek, expanded = dk.encapsulation_key, dk.expanded()
    encoded = bytes(ek)
    ciphertext, _ = ek.encapsulate()
    ciphertexts = [ek.encapsulate()[0] for _ in range(BATCH)]
    yield case("generate", kem.generate)
    yield case("encapsulate", ek.encapsulate)
    yield case("decapsulate", lambda: dk.decapsulate(ciphertext))
    yield case(
        "encapsulate, encoded key", lambda: kem.load_encapsulation_key(encoded).encapsulate()
    )
    yield case(
        "decapsulate, encoded key", lambda: kem.from_expanded(expanded).decapsulate(ciphertext)
    )
    yield case("generate, batch", lambda: kem.generate_many(BATCH), BATCH)
    yield case("encapsulate, batch", lambda: ek.encapsulate_many(BATCH), BATCH)
    yield case("decapsulate, batch", lambda: dk.decapsulate_many(ciphertexts), BATCH)
    yield case(
        "decapsulate, batch, 2 threads",
        lambda: dk.decapsulate_many(ciphertexts, threads=THREADS),
        BATCH,
    )


def _native_signature(name: str, subject: str, path: int) -> Iterator[Case]:
    def case(what: str, call: Callable[[], object], unit: int = 1) -> Case:
        return Case(f"{name} {what}", subject, _times(call, path), unit)

    dsa = MLDSA(name)
    sk = dsa.from_seed(bytes(32))
    pk, expanded = sk.public_key, sk.expanded()
    encoded, texts = bytes(pk), messages(name)
    signature = sk.sign(bytes(32))
    pairs = [(bytes(32), signature)] * BATCH
    long = bytes(1 << 20)
    yield case("generate", dsa.generate)
    yield case("sign", lambda: [sk.sign(text) for text in texts], len(texts))
    yield case("verify", lambda: pk.verify(bytes(32), signature))
    yield case(
        "sign, encoded key", lambda: [dsa.from_expanded(expanded).sign(t) for t in texts], MESSAGES
    )
    yield case(
        "verify, encoded key",
        lambda: dsa.load_public_key(encoded).verify(bytes(32), signature),
    )
    yield case("generate, batch", lambda: dsa.generate_many(BATCH), BATCH)
    yield case("sign, batch", lambda: sk.sign_many(texts), len(texts))
    yield case("sign, batch, 2 threads", lambda: sk.sign_many(texts, threads=THREADS), len(texts))
    yield case("verify, batch", lambda: pk.verify_many(pairs), BATCH)
    yield case("verify, 1 MiB", lambda: pk.verify(long, signature))
    if name == SIGNATURES[0]:
        digest = output(64)
        yield Case(
            "SHAKE256 of 1 MiB",
            subject,
            _times(lambda: lib.qpher_shake256(digest, len(digest), long, len(long)), path),
        )


# --- pyca/cryptography -------------------------------------------------------------------------


def openssl() -> Iterator[Case]:
    """Yield the cases of pyca/cryptography; its keys are opened ones."""
    subject = "cryptography"
    kems: dict[str, Any] = {
        "ML-KEM-768": mlkem.MLKEM768PrivateKey,
        "ML-KEM-1024": mlkem.MLKEM1024PrivateKey,
    }
    for name, kind in kems.items():
        private = kind.generate()
        public = private.public_key()
        _, ciphertext = public.encapsulate()
        yield Case(f"{name} generate", subject, _times(kind.generate))
        yield Case(f"{name} encapsulate", subject, _times(public.encapsulate))
        decapsulate: Callable[[], object] = lambda k=private, c=ciphertext: k.decapsulate(c)  # noqa: E731
        yield Case(f"{name} decapsulate", subject, _times(decapsulate))
    signers: dict[str, Any] = {
        "ML-DSA-44": (mldsa.MLDSA44PrivateKey, mldsa.MLDSA44PublicKey),
        "ML-DSA-65": (mldsa.MLDSA65PrivateKey, mldsa.MLDSA65PublicKey),
        "ML-DSA-87": (mldsa.MLDSA87PrivateKey, mldsa.MLDSA87PublicKey),
    }
    for name, (private_kind, public_kind) in signers.items():
        yield from _openssl_signature(name, private_kind, public_kind, subject)


def _openssl_signature(
    name: str, private_kind: Any, public_kind: Any, subject: str
) -> Iterator[Case]:
    key = private_kind.from_seed_bytes(bytes(32))
    public, texts = key.public_key(), messages(name)
    encoded, signature = public.public_bytes_raw(), key.sign(bytes(32))
    yield Case(f"{name} generate", subject, _times(private_kind.generate))
    yield Case(f"{name} sign", subject, _times(lambda: [key.sign(t) for t in texts]), len(texts))
    yield Case(f"{name} verify", subject, _times(lambda: public.verify(signature, bytes(32))))
    yield Case(
        f"{name} verify, encoded key",
        subject,
        _times(lambda: public_kind.from_public_bytes(encoded).verify(signature, bytes(32))),
    )


# --- pqcrypto, and PQClean in a process of its own ---------------------------------------------


def rustcrypto() -> Iterator[Case]:
    """Yield the cases of pqcrypto 1.0, RustCrypto; it knows encoded keys only."""
    subject = "pqcrypto 1.0"
    for name in KEMS:
        kem = getattr(pqcrypto.kem, name.lower().replace("-", "_"))
        public, private = kem.keygen()
        ciphertext, _ = kem.encaps(public)
        calls = {
            "generate": kem.keygen,
            "encapsulate, encoded key": lambda k=kem, p=public: k.encaps(p),
            "decapsulate, encoded key": lambda k=kem, s=private, c=ciphertext: k.decaps(s, c),
        }
        for what, call in calls.items():
            yield Case(f"{name} {what}", subject, _times(call))
    for name in SIGNATURES:
        dsa = getattr(pqcrypto.sign, name.lower().replace("-", "_"))
        public, private = dsa.keygen()
        signature = dsa.sign(private, bytes(32), b"")
        texts = messages(name)[:5]  # it takes milliseconds for each
        yield Case(f"{name} generate", subject, _times(dsa.keygen))
        sign = _times(lambda d=dsa, s=private, m=texts: [d.sign(s, t, b"") for t in m])  # type: ignore[misc]
        yield Case(f"{name} sign, encoded key", subject, sign, len(texts))
        verify = _times(lambda d=dsa, p=public, g=signature: d.verify(p, bytes(32), g, b""))  # type: ignore[misc]
        yield Case(f"{name} verify, encoded key", subject, verify)


class PQClean:
    """PQClean's reference C in a process of its own. A context manager."""

    def __init__(self, python: str) -> None:
        program = Path(__file__).with_name("pqclean.py")
        self._process = subprocess.Popen(
            [python, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def cases(self) -> Iterator[Case]:
        """Yield its cases."""
        kem = ("generate", "encapsulate, encoded key", "decapsulate, encoded key")
        dsa = ("generate", "sign, encoded key", "verify, encoded key")
        for names, operations in ((KEMS, kem), (SIGNATURES, dsa)):
            for name in names:
                for what in operations:
                    yield Case(f"{name} {what}", "PQClean C", self._runner(f"{name} {what}"))

    def _runner(self, operation: str) -> Callable[[int], None]:
        def run(count: int) -> None:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            print(operation, count, sep="\t", file=self._process.stdin, flush=True)
            self._process.stdout.readline()

        return run


def here() -> Sequence[Case]:
    """Return the cases of all subjects that run in this process."""
    return [*native(), *openssl(), *rustcrypto()]


if __name__ == "__main__":
    sys.exit("run benchmarks/report.py")
