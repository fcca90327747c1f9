# SPDX-License-Identifier: Apache-2.0
"""Killed while they encrypt or decrypt a file or change its header, processes leave whole files."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import qpher_core
from qpher_core.errors import DecryptionFailed
from qpher_core.file_header import FileHeader
from qpher_core.recipients import KeyRecipient
from qpher_core.session import Session

KILLS = int(os.environ.get("QPHER_CRASH_KILLS", "0")) // 2 or 4
KEM, NEXT = "ML-KEM-768", "ML-KEM-1024"
SIZE = 8_000_000

WORK = """
import itertools, sys, qpher_core
url, kind, place = sys.argv[1:]
with qpher_core.open(url) as kms:
    kem = kms.session("acme", actor="test").kem
    print("ready", flush=True)
    for turn in itertools.count():
        if kind == "write":
            kem.encrypt_file(place + "/plain", place + "/box")
            kem.decrypt_file(place + "/box", place + "/clear", 1)
        else:
            with open(place + "/box", "rb") as file:
                (wrapped,) = qpher_core.file_header.FileHeader.read(file).recipients
            header = qpher_core.messages.read_header(wrapped)
            new = "ML-KEM-1024" if header.algorithm == "ML-KEM-768" else "ML-KEM-768"
            to = [qpher_core.KeyRecipient(new)]
            assert kem.rewrap_file(place + "/box", 1, header.algorithm, to=to).in_place
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return a store with keys of two algorithms."""
    made = f"sqlite:///{tmp_path}/qpher.db"
    with qpher_core.open(made) as kms:
        kms.tenants.create("acme")
        for algorithm in (KEM, NEXT):
            kms.session("acme", actor="test").keys.generate(algorithm)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a plain file of 8 MB."""
    made = tmp_path / "files"
    made.mkdir()
    (made / "plain").write_bytes(os.urandom(SIZE))
    return made


def work_and_kill(url: str, kind: str, folder: Path, choose: random.Random) -> None:
    """Run the work and kill it somewhere."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORK, url, kind, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout as output:
        assert output.readline() == "ready\n"
        time.sleep(choose.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        assert output.read() == ""
    assert process.wait() == -signal.SIGKILL


def content(session: Session, box: Path, algorithm: str) -> bytes | None:
    """Return what a key makes of a file; None if it does not open it."""
    try:
        with session.kem.open_encrypted(box, 1, algorithm) as file:
            return file.read()
    except DecryptionFailed:
        return None


def test_files_appear_whole(url: str, folder: Path) -> None:
    """After each kill the encrypted file and the decrypted one are whole or not there at all."""
    choose = random.Random(3)
    names = {"plain", "box", "clear"}
    seen = {"box": 0, "clear": 0}
    plain = (folder / "plain").read_bytes()
    for _ in range(KILLS):
        for name in seen:
            (folder / name).unlink(missing_ok=True)
        work_and_kill(url, "write", folder, choose)
        left = {path.name for path in folder.iterdir()}
        # One that was complete and about to get its name says so, and holds what it is to hold.
        for stray in left - names:
            assert stray.endswith(".partial")
            (folder / stray).unlink()
        with qpher_core.open(url) as kms:
            session = kms.session("acme", actor="test")
            if "box" in left:
                assert content(session, folder / "box", KEM) == plain
        if "clear" in left:
            assert (folder / "clear").read_bytes() == plain
        for name in seen:
            seen[name] += name in left
    assert KILLS < 20 or 0 < seen["clear"] < KILLS  # the kills were in between


def test_headers_change_whole(url: str, folder: Path) -> None:
    """After each kill one of both keys opens the file, all of it, and its header changes again."""
    choose, box = random.Random(5), folder / "box"
    plain = (folder / "plain").read_bytes()
    with qpher_core.open(url) as kms:
        kms.session("acme", actor="test").kem.encrypt_file(folder / "plain", box)
    under_way = 0
    for _ in range(KILLS):
        work_and_kill(url, "rewrap", folder, choose)
        under_way += box.read_bytes()[5] != 0
        with qpher_core.open(url) as kms:
            session = kms.session("acme", actor="test")
            opened = {algorithm: content(session, box, algorithm) for algorithm in (KEM, NEXT)}
            assert sorted(opened.values(), key=bool) == [None, plain]
            (now,) = [algorithm for algorithm, clear in opened.items() if clear]
            session.kem.rewrap_file(box, 1, now, to=[KeyRecipient(KEM)])
            with box.open("rb") as file:
                assert len(FileHeader.read(file).recipients) == 1
            assert content(session, box, KEM) == plain
        assert {path.name for path in folder.iterdir()} == {"plain", "box"}
    assert KILLS < 20 or under_way  # some kills were in the middle of a change
