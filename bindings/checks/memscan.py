# SPDX-License-Identifier: Apache-2.0
"""Looks for secrets in the memory of a process that used keys and closed them.

A child process reads seeds into memory of its own, opens keys, uses them, wipes what it was
given and what it got, and closes the keys. This process knows the seeds and computes the values
derived from them, and reads all the memory of the child: heap, key slots, stacks. Before the
keys are closed it must find seeds (so the search works); afterwards it must find none of:

  ML-KEM   d, z, the noise seed sigma, the message m, the shared secret, the rejection secret
  ML-DSA   xi, rho', K, and the private randomness of a deterministic signature

Every aligned-or-not occurrence of any eight-byte piece counts. Not searched: values that differ
in each build (NTT-domain vectors); ``docs/assurance.md`` says so.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

KEM_RANK = {"ML-KEM-512": 2, "ML-KEM-768": 3, "ML-KEM-1024": 4}
DSA_DIMENSIONS = {"ML-DSA-44": (4, 4), "ML-DSA-65": (6, 5), "ML-DSA-87": (8, 7)}
MESSAGE = b"memory scan"
PIECE = 8
# Pages of the kernel that show in every process and cannot be read this way.
KERNEL = ("[vvar", "[vsyscall")


# ---- The child: uses keys and waits twice to be looked at ------------------------------------


def read_exactly(size: int) -> bytearray:
    """``size`` bytes from standard input with no buffered copy in between."""
    data = bytearray(size)
    view, done = memoryview(data), 0
    while done < size:
        got = os.readv(0, [view[done:]])
        if got == 0:
            raise EOFError
        done += got
    return data


def pause() -> None:
    """Tell the parent that this is the moment, and wait until it has looked."""
    os.write(1, b".")
    os.read(0, 1)


def child(name: str) -> None:
    """Open, use, close."""
    sys.path.insert(0, os.environ["QPHER_NATIVE_PATH"])
    from qpher_native import MLDSA, MLKEM
    from qpher_native._native import lib

    wipe = lib.qpher_wipe
    if name in KEM_RANK:
        seed, message = read_exactly(64), read_exactly(32)
        key = MLKEM(name).from_seed(seed)
        wipe_bytearray(seed)
        encapsulation_key = key.encapsulation_key
        ciphertext, secret = encapsulation_key.encapsulate(message)
        wipe_bytearray(message)
        again = key.decapsulate(ciphertext)
        rejected = key.decapsulate(bytes([ciphertext[0] ^ 1]) + ciphertext[1:])
        wipe(secret, 32)
        wipe(again, 32)
        wipe(rejected, 32)
        pause()
        key.close()
        del encapsulation_key
        pause()
        return
    seed = read_exactly(32)
    signer = MLDSA(name).from_seed(seed)
    wipe_bytearray(seed)
    signature = signer.sign(MESSAGE, deterministic=True)
    assert signer.public_key.verify(MESSAGE, signature)
    pause()
    signer.close()
    pause()


def wipe_bytearray(data: bytearray) -> None:
    """Zero it in place."""
    data[:] = bytes(len(data))


# ---- The parent: knows the secrets and searches --------------------------------------------


def kem_secrets(name: str, seed: bytes, message: bytes) -> dict[str, bytes]:
    """What key generation derives from d, and the secrets of the exchange."""
    sys.path.insert(0, os.environ["QPHER_NATIVE_PATH"])
    from qpher_native import MLKEM

    d, z = seed[:32], seed[32:]
    found = {
        "d": d,
        "z": z,
        "m": message,
        "sigma": hashlib.sha3_512(d + bytes([KEM_RANK[name]])).digest()[32:],
    }
    with MLKEM(name).from_seed(seed) as key:
        encapsulation_key = key.encapsulation_key
        digest = hashlib.sha3_256(bytes(encapsulation_key)).digest()
        g = hashlib.sha3_512(message + digest).digest()
        ciphertext, secret = encapsulation_key.encapsulate(message)
        assert secret == g[:32]
        changed = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
        rejection = hashlib.shake_256(z + changed).digest(32)
        assert key.decapsulate(changed) == rejection
        unused_rejection = hashlib.shake_256(z + ciphertext).digest(32)
    return {
        **found,
        "shared secret": secret,
        "encryption randomness": g[32:],
        "rejection secret": rejection,
        "unused rejection secret": unused_rejection,
    }


def dsa_secrets(name: str, seed: bytes) -> dict[str, bytes]:
    """What key generation and deterministic signing derive from xi."""
    sys.path.insert(0, os.environ["QPHER_NATIVE_PATH"])
    from qpher_native import MLDSA

    expanded = hashlib.shake_256(seed + bytes(DSA_DIMENSIONS[name])).digest(128)
    with MLDSA(name).from_seed(seed) as key:
        tr = hashlib.shake_256(bytes(key.public_key)).digest(64)
    mu = hashlib.shake_256(tr + b"\0\0" + MESSAGE).digest(64)
    secret_key = expanded[96:]
    return {
        "xi": seed,
        "rho'": expanded[32:96],
        "K": secret_key,
        "rho''": hashlib.shake_256(secret_key + bytes(32) + mu).digest(64),
    }


def search(pid: int, needles: dict[str, bytes]) -> dict[str, list[str]]:
    """In which mappings of the process a piece of each needle occurs."""
    pieces = {
        secret[at : at + PIECE]: label
        for label, secret in needles.items()
        for at in range(0, len(secret) - PIECE + 1, PIECE)
    }
    pattern = re.compile(b"|".join(re.escape(piece) for piece in pieces))
    found: dict[str, list[str]] = {}
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            fields = line.split(maxsplit=5)
            start, end = (int(part, 16) for part in fields[0].split("-"))
            where = fields[5] if len(fields) == 6 else "anonymous"
            if "r" not in fields[1] or where.startswith(KERNEL):
                continue
            memory.seek(start)
            content = memory.read(end - start) or b""
            for match in pattern.finditer(content):
                place = f"{where} {start + match.start():#x}"
                found.setdefault(pieces[match.group()], []).append(place)
    return found


def scan(name: str) -> bool:
    """One parameter set: True when nothing is left."""
    seed = secrets.token_bytes(64 if name in KEM_RANK else 32)
    message = secrets.token_bytes(32) if name in KEM_RANK else b""
    needles = kem_secrets(name, seed, message) if name in KEM_RANK else dsa_secrets(name, seed)
    command = [sys.executable, __file__, name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(seed + message)
            process.stdin.flush()
            if process.stdout.read(1) != b".":
                raise RuntimeError("the child failed")
            before = search(process.pid, needles)
            process.stdin.write(b".")
            process.stdin.flush()
            if process.stdout.read(1) != b".":
                raise RuntimeError("the child failed")
            after = search(process.pid, needles)
        finally:
            process.kill()
    print(f"{name}: while open: {', '.join(sorted(before)) or 'nothing found'}", end="; ")
    print(f"after close: {after or 'nothing'}")
    if not before:
        print(f"{name}: the search found nothing while the key was open, so it proves nothing")
    return bool(before) and not after


def main() -> int:
    """Every parameter set; 0 when no secret is left anywhere."""
    if len(sys.argv) == 2:
        child(sys.argv[1])
        return 0
    os.environ.setdefault("QPHER_NATIVE_PATH", str(Path(__file__).resolve().parents[1]))
    results = [scan(name) for name in [*KEM_RANK, *DSA_DIMENSIONS]]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
