# SPDX-License-Identifier: Apache-2.0
"""PQClean's reference C, as pqcrypto 0.4.0 packs it: a program that report.py runs beside itself.

Its first line names the operations and how many of them a call is; then it reads lines "operation
calls" and answers with the seconds of processor time that so many calls took. Keys are encoded
ones: this interface has no opened keys.
"""

import importlib
import sys
import time
from collections.abc import Callable
from functools import partial
from types import ModuleType

from benchmarks.cctv import messages


def operations() -> dict[str, tuple[Callable[[], object], int]]:
    """Return every operation by its name in the report, and how many a call is."""
    table: dict[str, tuple[Callable[[], object], int]] = {}
    for bits in (512, 768, 1024):
        kem = importlib.import_module(f"pqcrypto.kem.ml_kem_{bits}")
        public, private = kem.generate_keypair()
        ciphertext, _ = kem.encrypt(public)
        name = f"ML-KEM-{bits}"
        table[f"{name} generate"] = kem.generate_keypair, 1
        table[f"{name} encapsulate, encoded key"] = partial(kem.encrypt, public), 1
        table[f"{name} decapsulate, encoded key"] = partial(kem.decrypt, private, ciphertext), 1
    for bits in (44, 65, 87):
        dsa = importlib.import_module(f"pqcrypto.sign.ml_dsa_{bits}")
        public, private = dsa.generate_keypair()
        signature = dsa.sign(private, bytes(32))
        name = f"ML-DSA-{bits}"
        texts = messages(name)
        table[f"{name} generate"] = dsa.generate_keypair, 1
        table[f"{name} sign, encoded key"] = partial(_sign, dsa, private, texts), len(texts)
        table[f"{name} verify, encoded key"] = partial(dsa.verify, public, bytes(32), signature), 1
    return table


def _sign(dsa: ModuleType, private: bytes, texts: list[bytes]) -> None:
    for text in texts:
        dsa.sign(private, text)


def main() -> None:
    """Answer until the input ends."""
    table = operations()
    print("\t".join(f"{name}={unit}" for name, (_, unit) in table.items()), flush=True)
    for line in sys.stdin:
        name, _, calls = line.strip().rpartition("\t")
        call, _unit = table[name]
        start = time.process_time()
        for _ in range(int(calls)):
            call()
        print(time.process_time() - start, flush=True)


if __name__ == "__main__":
    main()
