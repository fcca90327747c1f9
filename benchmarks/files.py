# SPDX-License-Identifier: Apache-2.0
"""Encrypted files beside AES-256-GCM alone over the same bytes, and beside age.

The bare side reads, encrypts in pieces of a megabyte with pyca's AESGCM into buffers that it keeps,
writes and forces to disk, and so does ours; age does not force. Both sides take turns on the same
files, and ratios are the medians of the turns' own.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import qpher_core
from qpher_core.recipients import KeyRecipient
from qpher_core.session import Session

PIECE, TAG = 1 << 20, 16
CIPHER = AESGCM(bytes(range(32)))

Step = Callable[[], object]


def bare(source: Path, target: Path, *, decrypting: bool) -> None:
    """Encrypt or decrypt with AES-256-GCM and nothing else."""
    read = PIECE + TAG * decrypting
    given, made = memoryview(bytearray(read)), memoryview(bytearray(PIECE + TAG))
    work = CIPHER.decrypt_into if decrypting else CIPHER.encrypt_into
    counter = 0
    with source.open("rb", buffering=0) as reading, target.open("wb", buffering=0) as writing:
        while count := reading.readinto(given):
            size = count - TAG if decrypting else count + TAG
            work(counter.to_bytes(12), given[:count], None, made[:size])
            writing.write(made[:size])
            counter += 1
        os.fsync(writing.fileno())


def fill(path: Path, size: int) -> None:
    """Write random bytes."""
    block = os.urandom(PIECE)
    with path.open("wb") as file:
        for _ in range(size // PIECE):
            file.write(block)


def turns(steps: dict[str, tuple[Path, Step]], rounds: int) -> dict[str, list[float]]:
    """Run the steps in turns, each into a new file; return the seconds of each."""
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, (target, step) in steps.items():
            target.unlink(missing_ok=True)
            os.sync()
            began = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def age_steps(folder: Path, plain: Path) -> dict[str, tuple[Path, Step]]:
    """Return age's own steps, where it is installed."""
    if shutil.which("age") is None:
        return {}
    identity, box, clear = folder / "age.key", folder / "age.box", folder / "age.clear"
    subprocess.run(["age-keygen", "-o", identity], check=True, capture_output=True)
    public = subprocess.run(["age-keygen", "-y", identity], check=True, capture_output=True)
    to = public.stdout.decode().strip()

    def encrypt() -> None:
        subprocess.run(["age", "-r", to, "-o", box, plain], check=True)

    def decrypt() -> None:
        subprocess.run(["age", "-d", "-i", identity, "-o", clear, box], check=True)

    return {"age encrypt": (box, encrypt), "age decrypt": (clear, decrypt)}


def compare(session: Session, folder: Path, size: int, rounds: int) -> None:
    """Print the ratios on one file."""
    plain, box, clear = folder / "plain", folder / "box", folder / "clear"
    fill(plain, size)
    kem = session.kem
    steps: dict[str, tuple[Path, Step]] = {
        "bare encrypt": (folder / "bare", lambda: bare(plain, folder / "bare", decrypting=False)),
        "encrypt": (box, lambda: kem.encrypt_file(plain, box)),
        "bare decrypt": (clear, lambda: bare(folder / "bare", clear, decrypting=True)),
        "decrypt": (clear, lambda: kem.decrypt_file(box, clear, 1)),
    }
    seconds = turns({**steps, **age_steps(folder, plain)}, rounds)
    for name, each in seconds.items():
        print(f"{name:14} {median(each):7.3f} s  {size / median(each) / 1e6:8,.0f} MB/s")
    for ours in ("encrypt", "decrypt"):
        for other in ("bare", "age"):
            if theirs := seconds.get(f"{other} {ours}"):
                ratio = median(b / a for a, b in zip(seconds[ours], theirs, strict=True))
                print(f"{ours} beside {other}: {ratio:.2f} of its throughput")


def large(url: str, session: Session, folder: Path, size: int) -> None:
    """Print the memory of the command line on a large file, and how long its header takes."""
    plain, box = folder / "plain", folder / "large.qph"
    fill(plain, size)
    for name, arguments in (
        ("encrypt", [str(plain), "-o", str(box)]),
        ("decrypt", [str(box), "-o", str(folder / "clear"), "--force"]),
    ):
        command = [sys.executable, "-m", "benchmarks.files", "--cli", name, *arguments]
        ended = subprocess.run([*command, "--store", url, "--tenant", "acme"], check=True,
                               capture_output=True, text=True)  # fmt: skip
        print(f"{name} of {size / 1e9:.1f} GB: {ended.stderr.split()[-1]} kB of memory at most")
        (folder / "clear").unlink(missing_ok=True)
    plain.unlink()
    seconds = []
    for turn in range(11):
        now, to = ("ML-KEM-768", "ML-KEM-1024")[:: -1 if turn % 2 else 1]
        began = time.perf_counter()
        done = session.kem.rewrap_file(box, 1, now, to=[KeyRecipient(to)])
        seconds.append(time.perf_counter() - began)
        if not done.in_place:
            raise RuntimeError("the header was not changed in place")
    print(f"rewrap of {size / 1e9:.1f} GB: {median(seconds) * 1000:.1f} ms in the median, "
          f"{max(seconds) * 1000:.1f} ms at most")  # fmt: skip


def main() -> None:
    """Run what the options say."""
    if sys.argv[1:2] == ["--cli"]:
        from qpher_core.cli.main import main as command  # noqa: PLC0415 - the child alone

        try:
            command(sys.argv[2:])
        finally:  # of this program alone: what getrusage tells has the parent's share in it
            status = Path("/proc/self/status").read_text()
            print(status.partition("VmHWM:")[2].split()[0], file=sys.stderr)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=int, default=1_000 << 20, help="of the file compared")
    parser.add_argument("--large", type=int, default=2_000 << 20, help="of the large one")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="where the files are made")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        url = f"sqlite:///{folder}/qpher.db"
        with qpher_core.open(url) as kms:
            kms.tenants.create("acme")
            session = kms.session("acme", actor="bench")
            for algorithm in ("ML-KEM-768", "ML-KEM-1024"):
                session.keys.generate(algorithm)
            if options.bytes:
                compare(session, folder, options.bytes, options.rounds)
            for path in folder.glob("[abc]*"):
                path.unlink()
            if options.large:
                large(url, session, folder, options.large)


if __name__ == "__main__":
    main()
