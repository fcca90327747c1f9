# SPDX-License-Identifier: Apache-2.0
"""A service that is killed while a session changes keys there."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import qpher_core
from qpher_core import OutcomeUnknown, RemoteSettings, Unavailable

KEM = "ML-KEM-768"
KILLS = 4


class Served:
    """``qpher-core serve`` in a process of its own, again and again on one port."""

    def __init__(self, store: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._port = listener.getsockname()[1]
        self._store = store
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        program = Path(sys.executable).with_name("qpher-core")
        command = [program, "serve", "--store", self._store, "--port", str(self._port)]
        # Not the settings of other tests: another protector would seal its keys.
        own = {name: v for name, v in os.environ.items() if not name.startswith("QPHER_")}
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=own)
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            try:
                if httpx.get(f"{self.url}/health/live").status_code == 200:
                    return
            except httpx.HTTPError:
                assert self._process.poll() is None
                time.sleep(0.02)
        raise RuntimeError("the service did not start")

    def kill(self) -> None:
        """Kill it, wherever it is."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Make a store with a tenant."""
    url = f"sqlite:///{tmp_path}/q.db"
    with qpher_core.open(url) as kms:
        kms.tenants.create("acme")
    return url


@pytest.fixture
def served(store: str) -> Iterator[Served]:
    """Serve it until the end of the test."""
    made = Served(store)
    made.start()
    yield made
    made.kill()


def test_what_was_acknowledged_is_there_and_nothing_twice(store: str, served: Served) -> None:
    """Each call that returned made one version; each that did not, one or none."""
    with qpher_core.open(store) as kms:
        api_key = kms.api_keys.create("acme")[1]
    settings = RemoteSettings(attempts=2, deadline=5)
    acknowledged, unknown, not_done = [], [], []
    with qpher_core.open(served.url, api_key=api_key, remote=settings) as service:
        session = service.session()
        for number in range(KILLS * 10):
            name = f"key {number}"
            killer = threading.Timer(0.002 * (number // 10), served.kill)
            if number % 10 == 9:
                killer.start()  # while the request may be anywhere on its way
            try:
                session.keys.generate(KEM, name=name)
                acknowledged.append(name)
            except OutcomeUnknown:
                unknown.append(name)
            except Unavailable:
                not_done.append(name)
            if number % 10 == 9:
                killer.join()
                served.start()
        found = [key.name for key in session.keys.list()]
    assert len(found) == len(set(found))  # never a second version
    assert set(acknowledged) <= set(found) <= {*acknowledged, *unknown}
    assert not set(not_done) & set(found)
    assert len(acknowledged) >= KILLS * 9
    with qpher_core.open(store) as kms:
        assert kms.audit.verify("acme").ok
