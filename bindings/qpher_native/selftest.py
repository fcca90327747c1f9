# SPDX-License-Identifier: Apache-2.0
"""``python -m qpher_native.selftest [--all]``: known and accumulated answers of the C core.

It takes a few seconds; ``--all`` goes through every code path of this CPU, not only the one in
use. Accumulated answers: a SHAKE128 stream drives thousands of operations, and one published
digest over all their results must come out.
"""

from __future__ import annotations

import hashlib
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

from cryptography.hazmat.primitives.hashes import SHAKE128, XOFHash

from . import _cpu, _poweron
from ._native import lib
from .mldsa import MLDSA
from .mlkem import MLKEM

# ML-KEM-768: Go's crypto/mlkem; the other two: PQClean, kyber-py and CIRCL agree on them.
KEM_CASES = 10_000
KEM_ACCUMULATED = {
    "ML-KEM-512": "e0112db334d4240ca6feed5b0beab1318925edd4ff7d840c2ebe6d61971fc14c",
    "ML-KEM-768": "8a518cc63da366322a8e7a818c7a0d63483cb3528d34a4cf42f35d5ad73f22fc",
    "ML-KEM-1024": "f1a3925c9cf8538bb104c56efb2f5ecb74cc3df25087460b73f6c873e96bcb6a",
}
DSA_CASES = 100
DSA_ACCUMULATED = {
    "ML-DSA-44": "d51148e1f9f4fa1a723a6cf42e25f2a99eb5c1b378b3d2dbbd561b1203beeae4",
    "ML-DSA-65": "8358a1843220194417cadbc2651295cd8fc65125b5a5c1a239a16dc8b57ca199",
    "ML-DSA-87": "8c3ad714777622b8f21ce31bb35f71394f23bc0fcf3c78ace5d608990f3b061b",
}


def stream(case_bytes: int, cases: int) -> Iterator[bytes]:
    """Cases from SHAKE128 of nothing, the generator of the accumulated tests."""
    generator = XOFHash(SHAKE128(digest_size=sys.maxsize))
    generator.update(b"")
    for _ in range(cases):
        yield generator.squeeze(case_bytes)


def kem_accumulated(name: str, cases: int) -> str:
    """The digest over ek, c, K and the K of a random ciphertext, of ``cases`` cases."""
    kem, total = MLKEM(name), hashlib.shake_128()
    for case in stream(96 + kem.ciphertext_bytes, cases):
        with kem.from_seed(case[:64]) as dk:
            ek = dk.encapsulation_key
            ciphertext, secret = ek.encapsulate(case[64:96])
            if dk.decapsulate(ciphertext) != secret:
                return "the shared secrets differ"
            total.update(bytes(ek) + ciphertext + secret + dk.decapsulate(case[96:]))
    return total.digest(32).hex()


def dsa_accumulated(name: str, cases: int) -> str:
    """The CCTV digest over ``cases`` key generations and deterministic signatures."""
    dsa, total = MLDSA(name), hashlib.shake_128()
    for seed in stream(32, cases):
        with dsa.from_seed(seed) as sk:
            total.update(bytes(sk.public_key))
            total.update(sk.sign(b"", deterministic=True))
    return total.digest(32).hex()


def kem_agrees(name: str, digest: str) -> bool:
    """Whether the accumulated answer of ML-KEM comes out."""
    return kem_accumulated(name, KEM_CASES) == digest


def dsa_agrees(name: str, digest: str) -> bool:
    """Whether the accumulated answer of ML-DSA comes out."""
    return dsa_accumulated(name, DSA_CASES) == digest


def kem_round_trips(name: str, cases: int = 50) -> bool:
    """Fresh keys: secrets agree, and a changed ciphertext gives an unrelated one."""
    kem = MLKEM(name)
    for _ in range(cases):
        with kem.generate() as dk:
            ciphertext, secret = dk.encapsulation_key.encapsulate()
            at = secrets.randbelow(len(ciphertext))
            changed = ciphertext[:at] + bytes([ciphertext[at] ^ 1]) + ciphertext[at + 1 :]
            if dk.decapsulate(ciphertext) != secret or dk.decapsulate(changed) == secret:
                return False
    return True


def dsa_round_trips(name: str, cases: int = 10) -> bool:
    """Fresh keys: a hedged signature verifies, and none does for another message or context."""
    dsa = MLDSA(name)
    for _ in range(cases):
        with dsa.generate() as sk:
            pk, message = sk.public_key, secrets.token_bytes(100)
            signature = sk.sign(message, context=b"a")
            if not pk.verify(message, signature, context=b"a"):
                return False
            if pk.verify(message, signature) or pk.verify(message[1:], signature, context=b"a"):
                return False
    return True


def checks() -> Iterator[tuple[str, Callable[[], bool]]]:
    """Every check of one code path, with the words that the report uses for it."""
    yield "known answers, all parameter sets", lambda: not _poweron.failures()
    for name, digest in KEM_ACCUMULATED.items():
        yield f"{name}: {KEM_CASES} accumulated", partial(kem_agrees, name, digest)
        yield f"{name}: fresh keys", partial(kem_round_trips, name)
    for name, digest in DSA_ACCUMULATED.items():
        yield f"{name}: {DSA_CASES} accumulated", partial(dsa_agrees, name, digest)
        yield f"{name}: fresh keys", partial(dsa_round_trips, name)


def main(arguments: list[str]) -> int:
    """Run everything on the path in use, or on all that this CPU has; the number of failures."""
    if arguments not in ([], ["--all"]):
        print("usage: python -m qpher_native.selftest [--all]", file=sys.stderr)
        return 2
    failed = 0
    before = lib.qpher_cpu_path()
    for path in range(lib.qpher_cpu_best() + 1) if arguments else [before]:
        lib.qpher_init(path)
        for name, check in checks():
            start = time.perf_counter()
            good = check()
            failed += not good
            seconds = time.perf_counter() - start
            verdict = "ok" if good else "FAILED"
            print(f"{_cpu.PATHS[path]:<9} {name:<36} {verdict:<6} {seconds:6.2f} s", flush=True)
    lib.qpher_init(before)
    print(f"{failed} checks FAILED" if failed else "all checks passed")
    return failed


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
