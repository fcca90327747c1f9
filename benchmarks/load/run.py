# SPDX-License-Identifier: Apache-2.0
"""Load on the HTTP API with wrk, as ratios to a Starlette no-op POST of the same run.

Each operation is audited and durable. Both servers are uvicorn with one worker; they are measured
in turns, so that what else the machine does hits all alike. Beside them is the least that a durable
verification can be (``benchmarks.load.least``), which says what the rest of it costs.
"""

import argparse
import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import qpher_core

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]

#: Of uvicorn, what ``qpher-core serve`` sets, so that the no-op does no more for a request.
AS_SERVE: Final = (
    *("--no-access-log", "--no-server-header", "--no-proxy-headers"),
    *("--log-level", "critical"),
)
OPERATIONS: Final = ("signature/verify", "kem/encapsulate", "signature/sign")


def main() -> int:
    """Run the load and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--store", default="sqlite", choices=("sqlite", "file"))
    chosen = parser.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is missing (Debian: wrk)", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="qpher-load-") as name:
        folder = Path(name)
        url = f"sqlite:///{folder}/q.db" if chosen.store == "sqlite" else f"file://{folder}/store"
        key, bodies = _prepare(url, folder)
        os.environ["LOAD_DATABASE"] = str(folder / "least.db")
        noop = ["-m", "uvicorn", "benchmarks.load.noop:app", *AS_SERVE]
        least = ["-m", "uvicorn", "benchmarks.load.least:app", *AS_SERVE]
        serve = ["-c", "from qpher_core.cli.main import main; main()", "serve", "--store", url]
        with (
            _server(noop, 8771, "/noop") as base,
            _server(least, 8773, "/verify") as bare,
            _server(serve, 8772, "/health/live") as api,
        ):
            rows: dict[str, list[dict[str, Any]]] = {"no-op": [], "the least": []}
            body = bodies["signature/verify"]
            for _ in range(chosen.rounds):
                rows["no-op"].append(base.load("/noop", body, key, chosen))
                rows["the least"].append(bare.load("/verify", body, key, chosen))
                for operation in OPERATIONS:
                    found = api.load(f"/api/v1/{operation}", bodies[operation], key, chosen)
                    rows.setdefault(operation, []).append(found)
        recorded = _check(url, rows)
    return _report(rows, recorded, chosen)


def _prepare(url: str, folder: Path) -> tuple[str, dict[str, Path]]:
    """Make a store with keys; return an API key and a file with the body of each operation."""
    with qpher_core.open(url) as kms:
        kms.tenants.create("acme")
        acme = kms.session("acme", actor="load")
        acme.keys.generate("ML-DSA-65")
        acme.keys.generate("ML-KEM-768")
        message = base64.b64encode(bytes(range(32))).decode()
        signature = acme.signatures.sign(bytes(range(32))).signature
        documents = {
            "signature/verify": {
                "message": message,
                "signature": base64.b64encode(signature).decode(),
                "key_version": 1,
            },
            "kem/encapsulate": {"key_version": 1},
            "signature/sign": {"message": message, "key_version": 1},
        }
        files = {}
        for operation, document in documents.items():
            files[operation] = folder / (operation.replace("/", "-") + ".json")
            files[operation].write_text(json.dumps(document))
        return kms.api_keys.create("acme")[1], files


@dataclass
class _Server:
    """A server process."""

    url: str
    pid: int

    def load(self, path: str, body: Path, key: str, chosen: argparse.Namespace) -> dict[str, Any]:
        """Load it; return what wrk says, and the time of processor that each request took."""
        before = self._seconds()
        found = _wrk(self.url + path, body, key, chosen)
        return {**found, "cpu_us": (self._seconds() - before) / found["requests"] * 1e6}

    def _seconds(self) -> float:
        """Return the time of processor that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _server(command: list[str], port: int, probe: str) -> Iterator[_Server]:
    """Run a server with one worker until the end of the context."""
    process = subprocess.Popen([sys.executable, *command, "--port", str(port)], cwd=ROOT)
    base = f"http://127.0.0.1:{port}"
    try:
        _wait(base + probe)
        yield _Server(base, process.pid)
    finally:
        process.terminate()
        process.wait(60)


def _wait(url: str) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"nothing answers at {url}")


def _wrk(url: str, body: Path, key: str, chosen: argparse.Namespace) -> dict[str, Any]:
    done = subprocess.run(
        [
            *("wrk", "-t1", f"-c{chosen.connections}", f"-d{chosen.seconds}s", "--latency"),
            *("--timeout", "30s", "-s", str(HERE / "post.lua"), url),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "LOAD_BODY": str(body), "LOAD_KEY": key},
        check=True,
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    found: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
    return found


def _check(url: str, rows: dict[str, list[dict[str, Any]]]) -> int:
    """Verify the log, and that it has an entry for each answer; return how many there are."""
    answered = sum(row["requests"] for name in OPERATIONS for row in rows[name])
    with qpher_core.open(url) as kms:
        report = kms.audit.verify("acme")
    if not report.ok or report.entries < answered:
        raise SystemExit(f"the log does not have what was answered: {report}, {answered}")
    return report.entries


def _report(
    rows: dict[str, list[dict[str, Any]]], recorded: int, chosen: argparse.Namespace
) -> int:
    def rate(row: dict[str, Any]) -> float:
        return float(row["requests"] / row["seconds"])

    print(
        f"{chosen.connections} connections, {chosen.rounds} rounds of {chosen.seconds} s, "
        f"one worker, {chosen.store}; {recorded} audit entries, log verified"
    )
    print(
        f"{'operation':18} {'req/s':>8} {'ratio':>6} {'CPU µs':>7} {'p50 ms':>8} {'p99 ms':>8} "
        f"{'errors':>7}"
    )
    for name, found in rows.items():
        ratios = [rate(row) / rate(base) for row, base in zip(found, rows["no-op"], strict=True)]
        print(
            f"{name:18} {median(map(rate, found)):8.0f} {median(ratios):6.2f} "
            f"{median(row['cpu_us'] for row in found):7.1f} "
            f"{median(row['p50_ms'] for row in found):8.1f} "
            f"{median(row['p99_ms'] for row in found):8.1f} {sum(row['errors'] for row in found):7}"
        )
    return int(any(row["errors"] for found in rows.values() for row in found))


if __name__ == "__main__":
    sys.exit(main())
