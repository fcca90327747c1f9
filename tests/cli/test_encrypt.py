# SPDX-License-Identifier: Apache-2.0
"""``qpher-core encrypt``, ``decrypt`` and ``rewrap``: recipients, metadata, folders and pipes."""

import fcntl
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import qpher_core
from qpher_core.cli.main import main
from qpher_core.discovery import open_primitives
from qpher_core.public_keys import to_pem

#: A byte of the first copy of a header that is zero.
PADDING_AT = 4000
CONTENT = b"name,diagnosis\n" * 5000


@pytest.fixture
def run(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return a function that runs a command on the store, in a folder with a plain file."""
    monkeypatch.chdir(tmp_path)
    Path("plain").write_bytes(CONTENT)

    def runner(*arguments: str, given: bytes | None = None, store: bool = True) -> Result:
        env = environment if store else {}
        return CliRunner(env=env).invoke(main, list(arguments), input=given)

    for algorithm in ("ML-KEM-768", "ML-KEM-1024"):
        assert runner("keys", "generate", algorithm).exit_code == 0
    return runner


def test_several_recipients(run: Any) -> None:
    """Two own keys and the owner of a public key open the file; rewrapping keeps the others."""
    scheme, seed = open_primitives(None).kems["X-Wing"], bytes(range(32))
    Path("bob.pem").write_text(to_pem("X-Wing", scheme.open_seed(seed).encapsulation_key))
    done = run(
        "encrypt", "plain", "--to", "ML-KEM-1024", "--recipient", "bob.pem", "--metadata", "a=b"
    )
    assert done.exit_code == 0, done.output
    assert run("rewrap", "plain.qph", "--key-version", "1").exit_code == 0
    assert run("decrypt", "plain.qph", "-o", "again").exit_code == 0
    assert Path("again").read_bytes() == CONTENT
    assert qpher_core.decrypt_file("plain.qph", "bob", seed, "X-Wing") == {"a": "b"}
    assert Path("bob").read_bytes() == CONTENT


def test_without_a_store(run: Any) -> None:
    """With public keys alone no store is needed; the owner of one finds it in the header."""
    pem = run("keys", "public", "ML-KEM-768", "1")
    Path("key.pem").write_text(pem.stdout)
    assert run("keys", "rotate", "ML-KEM-768").exit_code == 0
    assert run("encrypt", "plain", "--recipient", "key.pem", store=False).exit_code == 0
    assert run("decrypt", "plain.qph", "-o", "again").exit_code == 0
    assert Path("again").read_bytes() == CONTENT
    for wrong in ((), ("--to", "ML-KEM-768"), ("--recipient", "plain")):
        done = run("encrypt", "plain", "-o", "new", *wrong, store=False)
        assert done.exit_code == 2
    assert not Path("new").exists()


def test_folders_become_one_file(run: Any) -> None:
    """A folder and a file go into one encrypted file, and come back in a new folder."""
    Path("in/deep").mkdir(parents=True)
    Path("in/deep/x").write_bytes(b"x")
    assert run("encrypt", "in", "plain", "-o", "box").exit_code == 0
    assert run("decrypt", "box", "-o", "one").exit_code == 2
    assert run("decrypt", "box", "--folder", "out").exit_code == 0
    assert Path("out/in/deep/x").read_bytes() == b"x"
    assert Path("out/plain").read_bytes() == CONTENT
    assert run("decrypt", "box", "--folder", "out").exit_code == 2


def test_pipes(run: Any) -> None:
    """Standard input to standard output and back, with a context."""
    box = run("encrypt", "-", "--context", "a=b", given=CONTENT)
    assert box.exit_code == 0
    clear = run("decrypt", "-", "--context", "a=b", given=box.stdout_bytes)
    assert clear.stdout_bytes == CONTENT
    assert run("decrypt", "-", given=box.stdout_bytes).exit_code == 6
    for version in ("one", "0", "-1", "²", "1" * 11, "9" * 5000):
        assert run("encrypt", "plain", "-o", "x", "--to", f"ML-KEM-768:{version}").exit_code == 2
    assert run("encrypt", "plain", "-o", "x", "--metadata", "a").exit_code == 2


def test_decrypt_waits_for_a_header_that_is_being_changed(run: Any) -> None:
    """A header that another process writes at the moment is read when it is whole."""
    assert run("encrypt", "plain").exit_code == 0
    with Path("plain.qph").open("r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(PADDING_AT)
        file.write(b"\x01")

        def whole() -> None:
            file.seek(PADDING_AT)
            file.write(b"\x00")
            fcntl.flock(file, fcntl.LOCK_UN)

        later = threading.Timer(1.0, whole)
        later.start()
        done = run("decrypt", "plain.qph", "-o", "again")
        later.join()
    assert done.exit_code == 0, done.output
    assert Path("again").read_bytes() == CONTENT


def test_a_pipe_among_several_files_is_refused(run: Any) -> None:
    """It is not waited for."""
    Path("in").mkdir()
    os.mkfifo("in/pipe")
    done = run("encrypt", "in", "-o", "box")
    assert (done.exit_code, "regular file" in done.stderr) == (2, True)
    assert not Path("box").exists()
