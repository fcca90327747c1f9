# SPDX-License-Identifier: Apache-2.0
"""The service under load, a policy engine for it, and how both are made to fail."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar, Final

__all__ = ["Engine", "Policy", "Server", "cut", "memory"]

ROOT: Final = Path(__file__).parents[2]


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
    """``qpher-core serve`` with two workers, started again whenever it is gone."""

    def __init__(self, url: str, *policies: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._command = [
            *(sys.executable, "-c", "from qpher_core.cli.main import main; main()", "serve"),
            *("--store", url),
            *(word for policy in policies for word in ("--policy", policy)),
            *("--workers", "2", "--no-docs"),
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


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def memory(pids: list[int]) -> int:
    """Return the resident memory of processes, in KiB."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def cut(port: int, choose: random.Random) -> None:
    """Send a part of a request and hang up."""
    request = b"POST /api/v1/signature/sign HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n{"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(request[: choose.randint(1, len(request))])
    except OSError:
        return  # it is being started again
