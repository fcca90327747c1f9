# SPDX-License-Identifier: Apache-2.0
"""``qpher-core serve`` as a process of its own: it stops under load and loses nothing."""

import base64
import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from attrs import define, field
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization

import qpher_core
from qpher_core import RateLimited, RemoteSettings
from qpher_core.cli.main import main
from qpher_core.models import Receipt
from tests.failure.test_remote_tls import certificate
from tests.http.server import client
from tests.redis_server import MISSING, RedisServer

CLIENTS = 8
BEFORE_STOP = 40  # answers that have come when the service is told to stop


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@define
class Served:
    """A serving process, and its base URL."""

    process: subprocess.Popen[bytes]
    base: str

    def wait(self, trusted: ssl.SSLContext | None = None) -> None:
        """Wait until it answers."""
        verify = trusted or ssl.create_default_context()
        ends = time.monotonic() + 120
        while self.process.poll() is None and time.monotonic() < ends:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.base}/health/ready", verify=verify).status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError("the service did not start")


def serve(
    url: str, *options: str, folder: Path | None = None, stderr: int = subprocess.DEVNULL
) -> Served:
    """Start a service over a store, as the installed command does, in a folder."""
    port = free_port()
    main = "from qpher_core.cli.main import main; main()"
    # -P: as for an installed command, the folder is no place that modules are looked for in.
    command = [sys.executable, "-P", "-c", main, "serve", "--store", url, "--port", str(port)]
    # Not the settings of other tests: another protector would seal its keys.
    own = {name: value for name, value in os.environ.items() if not name.startswith("QPHER_")}
    process = subprocess.Popen([*command, *options], stderr=stderr, env=own, cwd=folder)
    scheme = "https" if "--ssl-certfile" in options else "http"
    return Served(process, f"{scheme}://127.0.0.1:{port}")


@pytest.fixture
def store(tmp_path: Path) -> tuple[str, str]:
    """Make a store with a tenant and its keys; return its URL and an API key."""
    url = f"sqlite:///{tmp_path}/q.db"
    with qpher_core.open(url) as kms:
        kms.tenants.create("acme")
        for algorithm in ("ML-DSA-65", "ML-KEM-768"):
            kms.session("acme", actor="test").keys.generate(algorithm)
        return url, kms.api_keys.create("acme")[1]


@define
class Load:
    """Clients that ask without a pause until their connection is refused or cut."""

    base: str
    api_key: str
    answered: list[tuple[int, Any]] = field(factory=list)
    cut: list[str] = field(factory=list)
    enough: threading.Semaphore = field(factory=lambda: threading.Semaphore(0))

    def run(self, number: int) -> None:
        """Sign, rotate keys of one's own, or sign a batch, again and again."""
        message = base64.b64encode(b"message").decode()
        calls = (
            ("/signature/sign", {"message": message}),
            ("/kms/keys/generate", {"algorithm": "Kyber768", "name": f"client-{number}"}),
            ("/batch/sign", {"messages": [message] * 100}),
        )
        with client(self.base, self.api_key) as http:
            while True:
                path, body = calls[len(self.answered) % len(calls)]
                request_id = str(uuid.uuid4())
                try:
                    answer = http.post(path, json=body, headers={"x-request-id": request_id})
                except httpx.TransportError:
                    self.cut.append(request_id)
                    return
                self.answered.append((answer.status_code, answer.json()))
                self.enough.release()


@pytest.mark.parametrize(
    ("workers", "how"),
    [("1", signal.SIGTERM), ("2", signal.SIGTERM), ("2", signal.SIGINT)],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_service_that_stops_under_load_finishes_what_it_began(
    store: tuple[str, str], workers: str, how: signal.Signals
) -> None:
    """All that is in the log was answered, and all that was answered is in the log."""
    url, api_key = store
    served = serve(url, "--workers", workers)
    load = Load(served.base, api_key)
    threads = [threading.Thread(target=load.run, args=(number,)) for number in range(CLIENTS)]
    try:
        served.wait()
        for thread in threads:
            thread.start()
        for _ in range(BEFORE_STOP):
            assert load.enough.acquire(timeout=60)
        served.process.send_signal(how)
        assert served.process.wait(60) in {0, -how}
        for thread in threads:
            thread.join(60)
    finally:
        served.process.kill()
        served.process.wait()
    assert {status for status, _ in load.answered} <= {200, 201}
    assert len(load.cut) == CLIENTS
    with qpher_core.open(url) as kms:
        assert kms.audit.verify("acme").ok
        tenant_id = kms.tenants.get("acme").id
        logged = {
            entry.fields["request_id"]
            for entry in kms._store.audit.read(tenant_id)
            if str(entry.fields["actor"]).startswith("key:")
        }
        receipts = [
            Receipt(tenant_id, given["seq"], bytes.fromhex(given["hash"]))
            for _, answer in load.answered
            for given in _receipts(answer["data"])
        ]
        assert all(kms.audit.has(receipt) for receipt in receipts)
    assert logged == {answer["request_id"] for _, answer in load.answered}
    assert not logged & set(load.cut)


def _receipts(data: Any) -> Iterator[dict[str, Any]]:
    """Yield the receipts in an answer."""
    for item in data.get("items", ()):
        yield item["result"]["receipt"]
    if "receipt" in data:
        yield data["receipt"]


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_workers_share_rates_and_tls(store: tuple[str, str], tmp_path: Path) -> None:
    """Over TLS, with two workers that count in one Redis, a session gets exactly its rate."""
    url, api_key = store
    cert, key = certificate(tmp_path, "127.0.0.1")
    redis_server = RedisServer(tmp_path)
    redis_server.start()
    served = serve(
        url,
        *("--workers", "2", "--ssl-certfile", str(cert), "--ssl-keyfile", str(key)),
        *("--key-rate", "20/hour", "--rate-storage", redis_server.url),
    )
    trusted = ssl.create_default_context(cafile=str(cert))
    headers = {"x-api-key": api_key}
    with qpher_core.open(url) as kms:
        tenant_id = kms.tenants.get("acme").id
    settings = RemoteSettings(ca=trusted, attempts=1, tenant_id=tenant_id)
    try:
        served.wait(trusted)
        statuses = [
            httpx.get(f"{served.base}/api/v1/kms/keys", headers=headers, verify=trusted).status_code
            for _ in range(19)
        ]
        with qpher_core.open(served.base, api_key=api_key, remote=settings) as service:
            session = service.session()
            assert session.signatures.sign(b"m").signature
            with pytest.raises(RateLimited):
                session.signatures.sign(b"m")
    finally:
        served.process.terminate()
        served.process.wait(60)
        redis_server.kill()
    assert statuses == [200] * 19


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_says_where_it_serves(store: tuple[str, str], workers: str) -> None:
    """Whoever leaves the port to the system, or starts it by hand, is told the address."""
    served = serve(store[0], "--port", "0", "--workers", workers, stderr=subprocess.PIPE)
    assert served.process.stderr is not None
    try:
        told = (re.search(rb"running on (http://\S+)", line) for line in served.process.stderr)
        served.base = next(found[1].decode() for found in told if found)
        served.wait()
    finally:
        served.process.terminate()
        served.process.communicate(timeout=60)


def test_a_service_that_cannot_start_says_so(tmp_path: Path) -> None:
    """A store that cannot be opened ends the command with an error, whatever the workers."""
    (tmp_path / "q.db").write_bytes(b"no database" * 100)
    for workers in ("1", "2"):
        served = serve(f"sqlite:///{tmp_path}/q.db", "--workers", workers)
        assert served.process.wait(60) == 8


def _refused(*options: str) -> tuple[int, str]:
    answer = CliRunner().invoke(main, ["serve", *options])
    return answer.exit_code, answer.output


def test_a_mistyped_store_is_not_made(tmp_path: Path) -> None:
    """A service over a new, empty store would refuse every API key: the name is told instead."""
    for url in (f"sqlite:///{tmp_path}/q.db", f"file://{tmp_path}/store"):
        status, told = _refused("--store", url)
        assert (status, "there is no store at" in told) == (3, True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_in_use_is_told_in_one_line(store: tuple[str, str], workers: str) -> None:
    """The port is tried before the service is opened, whoever would listen later."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        status, told = _refused("--store", store[0], "--port", port, "--workers", workers)
    assert status == 2
    assert told == f"qpher-core: cannot listen on 127.0.0.1 port {port}: Address already in use\n"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--host", "no such host"), "--host 'no such host' is no address"),
        (("--host", "192.0.2.1"), "cannot listen on 192.0.2.1 port 8000: Cannot assign"),
        (("--uds", "/no/such/folder/socket"), "--uds must be in a folder that exists"),
    ],
    ids=lambda value: value[0],
)
def test_what_cannot_be_listened_on_is_told(
    store: tuple[str, str], options: tuple[str, ...], told: str
) -> None:
    """An address of another machine, or a socket in no folder, is a mistake of the command line."""
    status, output = _refused("--store", store[0], *options)
    assert (status, output.count("\n"), told in output) == (2, 1, True)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_nothing_is_imported_from_where_it_is_started(
    store: tuple[str, str], tmp_path: Path, workers: str
) -> None:
    """A file in the current folder that is named as a module is not run."""
    folder, ran = tmp_path / "folder", tmp_path / "ran"
    folder.mkdir()
    for name in ("httptools", "uvloop", "websockets", "qpher_backends"):
        (folder / f"{name}.py").write_text(f"open({str(ran)!r}, 'w').close()", encoding="utf-8")
    served = serve(store[0], "--workers", workers, folder=folder)
    try:
        served.wait()
    finally:
        served.process.terminate()
        served.process.wait(60)
    assert not ran.exists()


@pytest.mark.parametrize("option", ["--ssl-ca-certs", "--ssl-keyfile"])
def test_without_a_certificate_there_is_no_service(tmp_path: Path, option: str) -> None:
    """Options of TLS that would be without effect are refused: nothing is served in the clear."""
    file = tmp_path / "file.pem"
    file.touch()
    store = f"sqlite:///{tmp_path}/q.db"
    answer = CliRunner().invoke(main, ["serve", "--store", store, option, str(file)])
    assert (answer.exit_code, f"{option} needs --ssl-certfile" in answer.output) == (2, True)
    assert list(tmp_path.iterdir()) == [file]


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, str]:
    """Make a certificate; return the files of it, of its key encrypted, and of others."""
    cert, key = certificate(tmp_path, "127.0.0.1")
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    sealed, nothing, other = (tmp_path / name for name in ("sealed", "nothing", "other"))
    sealed.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    nothing.write_bytes(b"nothing")
    other.mkdir()
    files = {"cert": cert, "sealed": sealed, "nothing": nothing}
    return {name: str(path) for name, path in files.items()} | {
        "other": str(certificate(other, "127.0.0.1")[1])
    }


@pytest.mark.parametrize(
    ("cert", "key", "password", "told"),
    [
        ("nothing", "sealed", "secret", "cannot be used"),
        ("cert", "other", None, "cannot be used"),
        ("cert", "nothing", None, "cannot be used"),
        ("cert", "sealed", None, "QPHER_SSL_KEYFILE_PASSWORD"),
        ("cert", "sealed", "wrong", "cannot be used"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_told_once(
    tls: dict[str, str], cert: str, key: str, password: str | None, told: str
) -> None:
    """Workers that could not use it would be started again and again; nobody is asked to type."""
    options = ["--ssl-certfile", tls[cert], "--ssl-keyfile", tls[key]]
    environment = {"QPHER_SSL_KEYFILE_PASSWORD": password}
    command = ["serve", "--store", "memory:", "--workers", "2", *options]
    answer = CliRunner().invoke(main, command, env=environment)
    assert (answer.exit_code, told in answer.output) == (2, True)


def test_the_key_of_a_certificate_may_be_encrypted(
    store: tuple[str, str], tls: dict[str, str]
) -> None:
    """Its password opens it."""
    options = ["--ssl-certfile", tls["cert"], "--ssl-keyfile", tls["sealed"]]
    served = serve(store[0], *options, "--ssl-keyfile-password", "secret", "--workers", "2")
    try:
        served.wait(ssl.create_default_context(cafile=tls["cert"]))
    finally:
        served.process.terminate()
        served.process.wait(60)
