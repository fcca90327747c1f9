# SPDX-License-Identifier: Apache-2.0
"""PQClean's reference C, as pqcrypto 0.4.0 packs it: a program that report.py runs beside itself.

It reads lines "operation calls" and answers with the seconds that so many calls took. Keys are
encoded ones: this interface has no opened keys.
"""

import importlib
import sys
import time
from collections.abc import Callable


def operations() -> dict[str, Callable[[], object]]:
    """Return every operation by its name in the report."""
    table: dict[str, Callable[[], object]] = {}
    for bits in (512, 768, 1024):
        kem = importlib.import_module(f"pqcrypto.kem.ml_kem_{bits}")
        public, private = kem.generate_keypair()
        ciphertext, _ = kem.encrypt(public)
        name = f"ML-KEM-{bits}"
        table[f"{name} generate"] = kem.generate_keypair
        table[f"{name} encapsulate, encoded key"] = lambda k=kem, p=public: k.encrypt(p)
        table[f"{name} decapsulate, encoded key"] = lambda k=kem, s=private, c=ciphertext: (
            k.decrypt(s, c)
        )
    for bits in (44, 65, 87):
        dsa = importlib.import_module(f"pqcrypto.sign.ml_dsa_{bits}")
        public, private = dsa.generate_keypair()
        signature = dsa.sign(private, bytes(32))
        name = f"ML-DSA-{bits}"
        table[f"{name} generate"] = dsa.generate_keypair
        table[f"{name} sign, encoded key"] = lambda d=dsa, s=private: d.sign(s, bytes(32))
        table[f"{name} verify, encoded key"] = lambda d=dsa, p=public, s=signature: d.verify(
            p, bytes(32), s
        )
    return table


def main() -> None:
    """Answer until the input ends."""
    table = operations()
    for line in sys.stdin:
        name, _, calls = line.strip().rpartition("\t")
        call = table[name]
        start = time.perf_counter()
        for _ in range(int(calls)):
            call()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
