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
        table[f"{name} encapsulate, encoded key"] = lambda k=kem, p=public: k.encrypt(p), 1
        table[f"{name} decapsulate, encoded key"] = (
            lambda k=kem, s=private, c=ciphertext: k.decrypt(s, c),
            1,
        )
    for bits in (44, 65, 87):
        dsa = importlib.import_module(f"pqcrypto.sign.ml_dsa_{bits}")
        public, private = dsa.generate_keypair()
        signature = dsa.sign(private, bytes(32))
        name = f"ML-DSA-{bits}"
        texts = messages(name)
        table[f"{name} generate"] = dsa.generate_keypair, 1
        table[f"{name} sign, encoded key"] = (
            lambda d=dsa, s=private, m=texts: [d.sign(s, text) for text in m],
            len(texts),
        )
        table[f"{name} verify, encoded key"] = (
            lambda d=dsa, p=public, s=signature: d.verify(p, bytes(32), s),
            1,
        )
    return table


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
