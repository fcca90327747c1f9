# SPDX-License-Identifier: Apache-2.0
"""A real Redis for the tests: started in a directory of its own, killed, frozen, started again."""

import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

import redis

__all__ = ["MISSING", "RedisServer"]

#: Why there is no server to be had, or None.
MISSING: Final = (
    None if shutil.which("redis-server") else "Redis is not installed (Debian: redis-server)"
)


class RedisServer:
    """One server that listens on a socket in a directory, and keeps nothing on disk.

    Attributes:
        url: where requests are counted, for ``rate_storage``.
    """

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "redis.sock"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis+unix://{self._socket}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._socket.unlink(missing_ok=True)
        command = ["redis-server", "--port", "0", "--unixsocket", str(self._socket)]
        self._process = subprocess.Popen(
            [*command, "--save", "", "--dir", str(self._folder)], stdout=subprocess.DEVNULL
        )
        for _ in range(600):
            try:
                with redis.Redis(unix_socket_path=str(self._socket)) as client:
                    client.ping()
            except redis.RedisError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError("redis-server did not start")

    def freeze(self) -> None:
        """Let it answer nothing more, with its connections open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it, as a crash would. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
