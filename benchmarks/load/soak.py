# SPDX-License-Identifier: Apache-2.0
"""Many requests while things fail: ``make soak``.

Sixteen clients use a service with two workers. Meanwhile workers and the whole server are killed,
the server is stopped in order, the policy engine breaks or hangs, and connections are cut in the
middle of a request. At the end every answer that said yes is looked for in the audit log, every
key that was made under one idempotency key is one key, the log is verified, and the memory of the
workers that ran through the last part, in which only the other faults go on, is compared.
"""

import argparse
import base64
import http.client
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Final

from rich.progress import Progress

import qpher_core

ROOT: Final = Path(__file__).parents[2]
CLIENTS: Final = 16
SIGNATURE: Final = "ML-DSA-65"
MESSAGE: Final = base64.b64encode(bytes(32)).decode()

#: What part of the requests is made while processes are killed.
KILLING: Final = 0.6

#: Memory may grow by so much in the last part.
GROWTH: Final = 1.15


class Policy(BaseHTTPRequestHandler):
    """A policy engine that answers, breaks, hangs, or talks nonsense."""

    mode: ClassVar[str] = "allow"
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer a question."""
        self.rfile.read(int(self.headers["content-length"]))
        mode = Policy.mode
        if mode == "hang":
            time.sleep(3)
        answer = {"break": b"{}", "deny": b'{"allow": false}'}.get(mode, b'{"allow": true}')
        self.send_response(500 if mode == "fail" else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Engine(ThreadingHTTPServer):
    """Serves :class:`Policy`; that callers gave up on an answer is expected."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


class Server:
    """``qpher-core serve``, started again whenever it is gone."""

    def __init__(self, url: str, policy: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._command = [
            *(sys.executable, "-c", "from qpher_core.cli.main import main; main()", "serve"),
            *("--store", url),
            *("--policy", "rules:", "--policy", policy, "--workers", "2", "--no-docs"),
            *("--port", str(self.port)),
        ]
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, cwd=ROOT, stderr=subprocess.DEVNULL)

    def workers(self) -> list[int]:
        """Return the processes that answer requests."""
        path = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        children = [int(pid) for pid in path.read_text().split()]
        return [pid for pid in children if b"spawn_main" in _command_line(pid)]

    def kill_worker(self) -> None:
        """Kill one of the workers; the server makes another."""
        for pid in self.workers()[:1]:
            os.kill(pid, signal.SIGKILL)

    def restart(self, how: signal.Signals) -> None:
        """Stop or kill the server with its workers, and start it."""
        workers = self.workers()
        self._process.send_signal(how)
        if how is signal.SIGKILL:
            for pid in workers:
                os.kill(pid, how)
        self._process.wait(60)
        self._process = self._start()

    def stop(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait(60)


class Clients:
    """What the clients share: how much is to be done, and what was acknowledged."""

    def __init__(self, server: Server, api_key: str, signature: str, total: int) -> None:
        self._server = server
        self._headers = {"x-api-key": api_key, "content-type": "application/json"}
        self._signature = signature
        self._numbers = itertools.count()
        self._total = total
        self.done = 0
        self.statuses: Counter[str] = Counter()
        self.receipts: list[tuple[int, str]] = []
        self.made: dict[str, set[int]] = {}

    def run(self, seed: int) -> None:
        """Make requests until all are made."""
        choose, connection = random.Random(seed), None
        while (number := next(self._numbers)) < self._total:
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=30)
            try:
                self._request(connection, choose, number)
            except ConnectionRefusedError:  # it is being started again
                connection = None
                time.sleep(0.1)
                continue
            except (OSError, http.client.HTTPException) as error:
                self.statuses[type(error).__name__] += 1
                connection.close()
                connection = None
                time.sleep(0.02)
            self.done = number + 1
        if connection is not None:
            connection.close()

    def _request(
        self, connection: http.client.HTTPConnection, choose: random.Random, number: int
    ) -> None:
        kind, headers, made = choose.random(), dict(self._headers), None
        if kind < 0.45:
            path, body = "signature/sign", {"message": MESSAGE}
        elif kind < 0.7:
            path = "signature/verify"
            body = {"message": MESSAGE, "signature": self._signature, "key_version": 1}
        elif kind < 0.99:
            path, body = "kem/encapsulate", {}
        else:
            made = str(uuid.UUID(int=number // 500))  # several requests stand for one
            headers["idempotency-key"] = made
            path, body = "kms/keys/rotate", {"algorithm": SIGNATURE, "name": "rotated"}
        connection.request("POST", f"/api/v1/{path}", json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        self.statuses[str(answer.status)] += 1
        if answer.status not in {200, 201}:
            return
        data: dict[str, Any] = json.loads(text)["data"]
        if made is not None:
            self.made.setdefault(made, set()).add(data["key_version"])
        elif "receipt" in data:
            self.receipts.append((data["receipt"]["seq"], data["receipt"]["hash"]))


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _memory(pids: list[int]) -> int:
    """Return the resident memory of processes, in KiB."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def _cut(port: int, choose: random.Random) -> None:
    """Send a part of a request and hang up."""
    request = b"POST /api/v1/signature/sign HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n{"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(request[: choose.randint(1, len(request))])
    except OSError:
        return  # it is being started again


def _disturb(server: Server, clients: Clients, total: int) -> tuple[Counter[str], list[int]]:
    """Make things fail until all requests are made; return how often, and memory in between."""
    choose, faults, memory = random.Random(3), Counter[str](), list[int]()
    killing = ["worker", "kill", "stop"]
    while clients.done < total:
        time.sleep(choose.uniform(0.2, 1.2))
        early = clients.done < total * KILLING
        fault = choose.choice([*(killing if early else []), "policy", "policy", "cut", "cut"])
        faults[fault] += 1
        if fault == "worker":
            server.kill_worker()
        elif fault in {"kill", "stop"}:
            server.restart(signal.SIGKILL if fault == "kill" else signal.SIGTERM)
            time.sleep(3)
        elif fault == "policy":
            Policy.mode = choose.choice(["fail", "break", "deny", "hang"])
            time.sleep(0.1)
            Policy.mode = "allow"
        else:
            for _ in range(20):
                _cut(server.port, choose)
        if not early:
            memory.append(_memory(server.workers()))
    return faults, memory


def _judge(url: str, clients: Clients, memory: list[int]) -> list[str]:
    """Return what is wrong."""
    wrong = []
    with qpher_core.open(url) as kms:
        report = kms.audit.verify("acme")
        session = kms.session("acme", actor="soak")
        hashes = {entry.seq: entry.hash.hex() for entry in session.audit.entries()}
        versions = {key.version for key in session.keys.list(SIGNATURE, name="rotated")}
    if len(clients.receipts) < clients.done // 2:
        wrong.append("too little was acknowledged to tell anything")
    if not report.ok:
        wrong.append(f"the log is broken: {report}")
    lost = sum(hashes.get(seq) != digest for seq, digest in clients.receipts)
    if lost:
        wrong.append(f"{lost} acknowledged operations are not in the log")
    twice = [made for made in clients.made.values() if len(made) > 1]
    if twice or not set().union(*clients.made.values()) <= versions:
        wrong.append(f"rotations were repeated or lost: {twice}")
    tenth = max(1, len(memory) // 10)
    before, after = max(memory[:tenth], default=0), min(memory[-tenth:], default=0)
    print(f"memory of both workers in the last part: {before:,} KiB, at its end {after:,} KiB")
    if after > before * GROWTH:
        wrong.append("memory grew")
    return wrong


def main() -> int:
    """Run it and print what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200_000)
    total = parser.parse_args().requests
    engine = Engine(("127.0.0.1", 0), Policy)
    threading.Thread(target=engine.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/q.db"
        with qpher_core.open(url) as kms:
            kms.tenants.create("acme")
            acme = kms.session("acme", actor="soak")
            for algorithm, name in (
                (SIGNATURE, "default"),
                (SIGNATURE, "rotated"),
                ("ML-KEM-768", "default"),
            ):
                acme.keys.generate(algorithm, name=name)
            signature = base64.b64encode(acme.signatures.sign(bytes(32)).signature).decode()
            api_key = kms.api_keys.create("acme")[1]
        server = Server(url, f"http://127.0.0.1:{engine.server_port}/decide")
        clients = Clients(server, api_key, signature, total)
        threads = [threading.Thread(target=clients.run, args=(n,)) for n in range(CLIENTS)]
        start = time.monotonic()
        for thread in threads:
            thread.start()
        with Progress() as bar:
            task = bar.add_task("requests", total=total)
            watch = threading.Thread(target=_show, args=(bar, task, clients, total), daemon=True)
            watch.start()
            faults, memory = _disturb(server, clients, total)
            for thread in threads:
                thread.join()
        server.stop()
        print(f"{clients.done:,} requests in {time.monotonic() - start:.0f} s")
        print("faults: " + ", ".join(f"{name} {count}" for name, count in faults.items()))
        print("answers: " + ", ".join(f"{k} {n:,}" for k, n in clients.statuses.most_common()))
        print(f"acknowledged with a receipt: {len(clients.receipts):,}")
        wrong = _judge(url, clients, memory)
    engine.shutdown()
    print("\n".join(wrong) or "nothing acknowledged is lost; the log is whole")
    return int(bool(wrong))


def _show(bar: Progress, task: Any, clients: Clients, total: int) -> None:
    while clients.done < total:
        bar.update(task, completed=clients.done)
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
