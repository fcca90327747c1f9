# SPDX-License-Identifier: Apache-2.0
"""Each way in which a directory of files stops being writable or being itself."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

import qpher_core
from qpher_backends.filesystem import FileStore, gate, open_store
from qpher_core import AuditUnavailable, StoreUnavailable, Unavailable
from tests.contract.table import BACKENDS
from tests.world import CALLS, KEM, RECORDED, make_goods, snapshot

NOBODY = 65534
BY_HAND = qpher_core.AnchorSettings(every_seconds=None)


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Another process holds the lock."""
    handle = os.open(root / "lock", os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def _moved(path: Path) -> Iterator[None]:
    kept = path.rename(path.with_name(f"{path.name}.kept"))
    yield
    if path.is_dir():
        shutil.rmtree(path)
    kept.rename(path)


def _unlinked(name: str) -> Callable[[Path], AbstractContextManager[None]]:
    return lambda root: _moved(_find(root, name))


def _replaced(name: str) -> Callable[[Path], AbstractContextManager[None]]:
    @contextmanager
    def run(root: Path) -> Iterator[None]:
        path = _find(root, name)
        with _moved(path):
            kept = path.with_name(f"{path.name}.kept")
            if kept.is_dir():
                shutil.copytree(kept, path)
            else:
                shutil.copy(kept, path)
            yield

    return run


@contextmanager
def _cut(root: Path) -> Iterator[None]:
    """The segment that grows has lost its end."""
    path = _find(root, "segment")
    before = path.read_bytes()
    os.truncate(path, len(before) - 10)
    yield
    path.write_bytes(before)


def _find(root: Path, name: str) -> Path:
    if name == "segment":
        logs = [path for path in root.glob("audit/*/*.jsonl") if path.stat().st_size]
        return max(logs, key=lambda path: path.stat().st_size)  # the tenant's, not the service's
    return root / name


BREAKS: dict[str, Callable[[Path], AbstractContextManager[None]]] = {
    "locked": _locked,
    "directory unlinked": _unlinked("."),
    "directory replaced": _replaced("."),
    "lock unlinked": _unlinked("lock"),
    "lock replaced": _replaced("lock"),
    "journal unlinked": _unlinked("journal"),
    "journal replaced": _replaced("journal"),
    "segment unlinked": _unlinked("segment"),
    "segment replaced": _replaced("segment"),
    "segment cut": _cut,
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the store goes; nobody waits long for its lock."""
    monkeypatch.setattr(gate, "_BUSY_SECONDS", 0.02)
    return tmp_path / "store"


@pytest.mark.parametrize("how", BREAKS)
def test_nothing_happens_without_its_record(root: Path, how: str) -> None:
    """While the log cannot record, every operation is refused and undone; later all work."""
    with qpher_core.open(f"file://{root}", anchors=BY_HAND) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="tester")
        goods = make_goods(session)
        before = snapshot(kms)
        with BREAKS[how](root):
            for action in RECORDED:
                with pytest.raises(Unavailable):
                    CALLS[action](session, goods)
        assert snapshot(kms) == before
        for call in CALLS.values():
            call(session, goods)
        assert kms.audit.verify("acme").ok
        assert kms.audit.verify().ok
    with qpher_core.open(f"file://{root}") as kms:
        assert kms.audit.verify("acme").ok


def test_public_reads_go_on(root: Path) -> None:
    """Reads of public data wait for nobody: they work while another process holds the lock."""
    with qpher_core.open(f"file://{root}", anchors=BY_HAND) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="tester")
        key = session.keys.generate(KEM)
        with _locked(root):
            assert session.keys.get(KEM, 1) == key
            assert session.audit.verify().ok
            with pytest.raises(AuditUnavailable):
                session.kem.encrypt(b"m")


@pytest.mark.parametrize("name", [".", "lock", "journal"])
def test_what_others_may_enter_does_not_open(root: Path, name: str) -> None:
    """A directory or file with permissions for others is refused with its mode."""
    open_store(f"file://{root}").close()
    (root / name).chmod(0o755)
    with pytest.raises(StoreUnavailable, match="0755"):
        open_store(f"file://{root}")


def test_everything_belongs_to_its_owner_alone(root: Path) -> None:
    """Whatever the umask, directories have mode 0700 and files 0600."""
    before = os.umask(0)
    try:
        with qpher_core.open(f"file://{root}", anchors=BY_HAND) as kms:
            kms.tenants.create("acme")
            make_goods(kms.session("acme", actor="tester"))
            kms.anchors.publish(kms.tenants.get("acme"))
            kms.policies.set('[{"rule":"plan"}]', tenant="acme")
            found = [root, *root.rglob("*")]
            assert len(found) > 40
            for path in found:
                assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    finally:
        os.umask(before)


def test_a_directory_of_something_else_is_left_alone(root: Path) -> None:
    """A directory that holds other files, or a newer format, is refused and not changed."""
    root.mkdir(mode=0o700)
    (root / "letter.txt").write_text("dear")
    (root / "letter.txt").chmod(0o600)
    with pytest.raises(StoreUnavailable, match="not empty"):
        open_store(f"file://{root}")
    (root / "letter.txt").unlink()
    open_store(f"file://{root}").close()
    (root / "format").write_text("qpher-files/2\n")
    with pytest.raises(StoreUnavailable, match="format"):
        open_store(f"file://{root}")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
@pytest.mark.parametrize("changed", [(".", 0o500), ("lock", 0o400), ("journal", 0o400)])
def test_a_place_that_cannot_be_written_does_not_open(
    tmp_path: Path, changed: tuple[str, int]
) -> None:
    """A store whose directory, lock or journal cannot be written is StoreUnavailable."""
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    root = tmp_path / "store"
    with qpher_core.open(f"file://{root}", anchors=BY_HAND) as kms:
        kms.tenants.create("acme")
    if changed[0] == ".":
        (root / "lock").unlink()  # which must be made, and cannot be
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    for path in (root, *root.rglob("*"), tmp_path / "store.kek"):
        os.chown(path, NOBODY, NOBODY)
    (root / changed[0]).chmod(changed[1])
    script = (
        "import os, sys\n"
        "from qpher_backends.filesystem import open_store\n"
        "from qpher_core import StoreUnavailable\n"
        "os.setuid(65534)\n"
        "try: open_store(sys.argv[1])\n"
        "except StoreUnavailable as error: print('refused', error)"
    )
    command = [sys.executable, "-c", script, f"file://{root}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("refused")
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_a_journal_damaged_in_its_middle_does_not_open(tmp_path: Path) -> None:
    """A flipped bit before the journal's end is an error, not an end; nothing is cut off."""
    url = BACKENDS["file"].url(tmp_path)
    with qpher_core.open(url, anchors=BY_HAND) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="tester")
        session.keys.generate(KEM)
        journal = tmp_path / "store" / "journal"
        content = bytearray(journal.read_bytes())
        assert content.count(b"\ncommit ") > 1
    content[200] ^= 1
    journal.write_bytes(content)
    with pytest.raises(qpher_core.IntegrityError, match="journal"):
        open_store(url)
    assert journal.read_bytes() == content


@pytest.mark.parametrize("kept", [1, 40, 200])
def test_a_journal_that_ends_in_half_a_record_is_repaired(tmp_path: Path, kept: int) -> None:
    """What was being written when the power went is forgotten; what was acknowledged is there."""
    url = BACKENDS["file"].url(tmp_path)
    with qpher_core.open(url, anchors=BY_HAND) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="tester")
        session.keys.generate(KEM)
        receipt = session.kem.encrypt(b"m").receipt
        root = tmp_path / "store"
        journal = (root / "journal").read_bytes()
        files = {path: path.read_bytes() for path in root.glob("audit/*/*") if path.is_file()}
    last = journal.rindex(b"\ncommit ") + 1
    (root / "journal").write_bytes(journal + journal[last : last + kept])
    for path, content in files.items():  # nothing of the last commits had reached the files
        path.write_bytes(content[: len(content) // 2] if path.name != "head" else content)
    with qpher_core.open(url, anchors=BY_HAND) as kms:
        assert kms.audit.has(receipt)
        assert kms.audit.verify("acme").ok
        assert (root / "journal").stat().st_size == 0


def test_a_destroyed_seed_is_in_no_file(tmp_path: Path) -> None:
    """Once a key is destroyed no file of the store, the journal included, has its sealed seed."""
    with qpher_core.open(BACKENDS["file"].url(tmp_path), anchors=BY_HAND) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="tester")
        key = session.keys.generate(KEM)
        path = next((tmp_path / "store" / "keys").rglob("0000000001.json"))
        sealed = path.read_text().partition('"sealed": "')[2][:60].encode()
        assert [p for p in (tmp_path / "store").rglob("journal") if sealed in p.read_bytes()]
        session.keys.compromise(KEM, key.version)
        session.keys.destroy(KEM, key.version)
        files = [p for p in (tmp_path / "store").rglob("*") if p.is_file()]
        assert not [p for p in files if sealed in p.read_bytes()]


def test_a_filesystem_without_locks_is_unavailable(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of locking is AuditUnavailable, and later all works."""
    with qpher_core.open(f"file://{root}", anchors=BY_HAND) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="tester")
        with monkeypatch.context() as patch:

            def refuses(*_: object) -> None:
                raise OSError(37, "No locks available")

            patch.setattr("qpher_backends.filesystem.gate.Gate._try_lock", refuses)
            with pytest.raises(AuditUnavailable, match="No locks"):
                session.keys.generate(KEM)
        assert session.keys.generate(KEM).version == 1


def test_a_journal_that_cannot_be_cut_may_count(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a disk fails and then refuses everything, the error says that nobody knows."""
    with qpher_core.open(f"file://{root}", anchors=BY_HAND) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="tester")
        session.keys.generate(KEM)
        with monkeypatch.context() as patch:

            def fails(*_: object) -> None:
                raise OSError(5, "Input/output error")

            patch.setattr(os, "fdatasync", fails)
            patch.setattr(os, "ftruncate", fails)
            with pytest.raises(AuditUnavailable, match="may count"):
                session.keys.rotate(KEM)
        assert session.kem.encrypt(b"m").key_version == 2
        told = [entry.fields["action"] for entry in session.audit.entries()]
        assert told[-2:] == ["keys.rotate", "kem.encrypt"]


@pytest.mark.parametrize("tenants", [1, 12])
def test_a_directory_behind_a_link_is_a_store(root: Path, tenants: int) -> None:
    """A store whose path is a symbolic link empties its journal, and opens again."""
    place = root.with_name("place")
    place.mkdir(mode=0o700)
    root.symlink_to(place)
    names = [f"tenant-{number:02d}" for number in range(tenants)]
    with qpher_core.open(f"file://{root}", anchors=BY_HAND) as kms:
        for name in names:
            kms.tenants.create(name)
    assert (place / "journal").stat().st_size == 0
    with qpher_core.open(f"file://{root}", anchors=BY_HAND) as kms:
        assert [tenant.name for tenant in kms.tenants.list()] == names


def test_what_the_disk_refuses_after_the_commit_is_made_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that is in the journal counts, even if the files cannot take it at that moment."""
    store = FileStore(tmp_path / "store")
    with qpher_core.open(store, anchors=BY_HAND) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="tester")
        session.keys.generate(KEM)
        with monkeypatch.context() as patch:

            def fails(*_: object) -> None:
                raise OSError(28, "No space left on device")

            patch.setattr("qpher_backends.filesystem.commit.apply", fails)
            receipt = session.kem.encrypt(b"m").receipt
            with pytest.raises(Unavailable):
                session.kem.encrypt(b"m")
            with pytest.raises(Unavailable):
                session.keys.get(KEM, 1)
        assert kms.audit.has(receipt)
        assert kms.audit.verify("acme").entries == receipt.seq + 1
        session.kem.encrypt(b"m")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_file_system_that_takes_no_folders_is_told() -> None:
    """Where no directory can be made, the store is unavailable, and says which place it was."""
    for place in ("/proc/store", "/proc/no/such/store"):
        with pytest.raises(StoreUnavailable, match="/proc/"):
            open_store(f"file://{place}")
