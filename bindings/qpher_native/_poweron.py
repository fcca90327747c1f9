# SPDX-License-Identifier: Apache-2.0
"""The power-on self-test: known answers for every algorithm, in a few milliseconds.

It runs once, when the package is imported. A build, a CPU or a memory that computes anything
else than the standards say gives an ImportError: no cryptography rather than wrong one.
"""

from __future__ import annotations

from ._buffers import output
from ._native import lib
from .mldsa import MLDSA
from .mlkem import MLKEM

# SHA3-256 over everything that a parameter set computes from the inputs below. The tests of the
# repository recompute these with an independent implementation.
SHA3_OF_EMPTY = "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a"
KEM_ANSWERS: dict[str, str] = {
    "ML-KEM-512": "27caaf1b606507374803b4f5fd404a17babb9b945bee802c8f5b4a038f8e010c",
    "ML-KEM-768": "b75c029b4ffb9dc38129e38fbdc4f893c581769c174e1a11b3f444da8ee23d01",
    "ML-KEM-1024": "3c2d524af3c8c8ea7af7b421b7ae6e4404e602474b3d7b0140691af249434ec8",
}
DSA_ANSWERS: dict[str, str] = {
    "ML-DSA-44": "b11849aa52ff1b8d39741255e2d18f03fbb67e5fa9ad36b3375bddeebfaa08b8",
    "ML-DSA-65": "19361ecadfad7fcf6473af5b2c8630300a582d9dbd068384d6912a8503f66a56",
    "ML-DSA-87": "4a450391c96159191b0463598c6cdcde23c2eab35db2787bd1abf2e7b75e036a",
}

KEM_SEED = bytes(range(64))
KEM_MESSAGE = bytes(range(64, 96))
DSA_SEED = bytes(range(32))
DSA_MESSAGE = b"power-on self-test"
DSA_CONTEXT = b"qpher"


def sha3_256(data: bytes) -> str:
    """The digest in hexadecimal, by the C core itself."""
    digest = output(32)
    lib.qpher_sha3_256(digest, data, len(data))
    return digest.hex()


def kem_answer(name: str) -> str:
    """Key generation, encapsulation, decapsulation and implicit rejection in one digest."""
    with MLKEM(name).from_seed(KEM_SEED) as dk:
        ek = dk.encapsulation_key
        ciphertext, secret = ek.encapsulate(KEM_MESSAGE)
        broken = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
        if dk.decapsulate(ciphertext) != secret:
            return "decapsulation does not invert encapsulation"
        return sha3_256(bytes(ek) + dk.expanded() + ciphertext + secret + dk.decapsulate(broken))


def dsa_answer(name: str) -> str:
    """Key generation and signing in one digest; verification must accept and refuse."""
    with MLDSA(name).from_seed(DSA_SEED) as sk:
        pk = sk.public_key
        signature = sk.sign(DSA_MESSAGE, context=DSA_CONTEXT, deterministic=True)
        broken = bytes([signature[0] ^ 1]) + signature[1:]
        if not pk.verify(DSA_MESSAGE, signature, context=DSA_CONTEXT):
            return "a signature does not verify"
        if pk.verify(DSA_MESSAGE, broken, context=DSA_CONTEXT):
            return "a broken signature verifies"
        return sha3_256(bytes(pk) + sk.expanded() + signature)


def failures() -> list[str]:
    """The names of the known answers that did not come out."""
    wrong = [name for name, answer in KEM_ANSWERS.items() if kem_answer(name) != answer]
    wrong += [name for name, answer in DSA_ANSWERS.items() if dsa_answer(name) != answer]
    return wrong if sha3_256(b"") == SHA3_OF_EMPTY else ["SHA3-256", *wrong]


def run() -> None:
    """Raise ImportError unless every known answer came out."""
    wrong = failures()
    if wrong:
        raise ImportError(
            f"the native core failed its power-on self-test ({', '.join(wrong)}) and is not used"
        )
