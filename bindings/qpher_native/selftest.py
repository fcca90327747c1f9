# SPDX-License-Identifier: Apache-2.0
"""``python -m qpher_native.selftest [--all]``: known and accumulated answers of the C core.

It takes a few seconds and needs nothing but the package; ``--all`` goes through every code path
of this CPU, not only the one in use. The accumulated answers are made as those
of C2SP/CCTV: a SHAKE128 stream drives thousands of operations, and one digest over all their
results must come out.
"""

from __future__ import annotations

import hashlib
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

from . import _cpu, _poweron
from ._native import lib
from .mldsa import MLDSA
from .mlkem import MLKEM

# The published digests of ML-KEM (8459…, f7db…, 47ac…) are of the draft of FIPS 203, which hashed d
# without k; this core gives them too when that byte is left out (tests/native does so).
KEM_CASES = 10_000
KEM_ACCUMULATED = {
    "ML-KEM-512": "705dcffc87f4e67e35a09dcaa31772e86f3341bd3ccf1e78a5fef99ae6a35a13",
    "ML-KEM-768": "f959d18d3d1180121433bf0e05f11e7908cf9d03edc150b2b07cb90bef5bc1c1",
    "ML-KEM-1024": "e3bf82b013307b2e9d47dde791ff6dfc82e694e6382404abdb948b908b75bad5",
}
DSA_CASES = 100
DSA_ACCUMULATED = {
    "ML-DSA-44": "d51148e1f9f4fa1a723a6cf42e25f2a99eb5c1b378b3d2dbbd561b1203beeae4",
    "ML-DSA-65": "8358a1843220194417cadbc2651295cd8fc65125b5a5c1a239a16dc8b57ca199",
    "ML-DSA-87": "8c3ad714777622b8f21ce31bb35f71394f23bc0fcf3c78ace5d608990f3b061b",
}
CIPHERTEXT_BYTES = {"ML-KEM-512": 768, "ML-KEM-768": 1088, "ML-KEM-1024": 1568}


def stream(size: int) -> bytes:
    """The first bytes of SHAKE128 of nothing: the generator of the accumulated tests."""
    return hashlib.shake_128(b"").digest(size)


def kem_accumulated(name: str, cases: int) -> str:
    """The CCTV digest over ``cases`` key generations, encapsulations and rejections."""
    kem, total, size = MLKEM(name), hashlib.shake_128(), CIPHERTEXT_BYTES[name]
    random = stream(cases * (96 + size))
    for at in range(0, len(random), 96 + size):
        with kem.from_seed(random[at : at + 64]) as dk:
            ek = dk.encapsulation_key
            total.update(bytes(ek) + dk.expanded())
            for part in ek.encapsulate(random[at + 64 : at + 96]):
                total.update(part)
            total.update(dk.decapsulate(random[at + 96 : at + 96 + size]))
    return total.digest(32).hex()


def dsa_accumulated(name: str, cases: int) -> str:
    """The CCTV digest over ``cases`` key generations and deterministic signatures."""
    dsa, total = MLDSA(name), hashlib.shake_128()
    random = stream(cases * 32)
    for at in range(0, len(random), 32):
        with dsa.from_seed(random[at : at + 32]) as sk:
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
