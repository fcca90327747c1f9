# SPDX-License-Identifier: Apache-2.0
"""A database whose last writes were torn by a power failure, and old copies put back."""

import shutil
import sqlite3
import uuid
from pathlib import Path

import pytest

import qpher_core
from qpher_core import AnchorSettings, AuditIntegrityError, NotFound, Problem
from tests.contract.table import BACKENDS

KEM = "ML-KEM-768"


@pytest.fixture(scope="module")
def powerless(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], int]:
    """Return a copy of an open database, hashes of its entries, and the length of its log of 10."""
    folder = tmp_path_factory.mktemp("torn")
    with qpher_core.open(f"sqlite:///{folder}/q.db") as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="x")
        session.keys.generate(KEM)
        for _ in range(8):
            session.kem.encapsulate()
        sure = (folder / "q.db-wal").stat().st_size
        for _ in range(10):
            session.kem.encapsulate()
        hashes = [entry.hash.hex() for entry in session.audit.entries()]
        (folder / "copy").mkdir()
        for name in ("q.db", "q.db-wal", "q.db.kek"):
            shutil.copy(folder / name, folder / "copy" / name)
    return folder / "copy", hashes, sure


@pytest.mark.parametrize("how", ["cut", "zeroed", "flipped"])
@pytest.mark.parametrize("part", [0, 0.1, 0.37, 0.5, 0.83, 0.999])
def test_a_torn_write_leaves_whole_transactions(
    powerless: tuple[Path, list[str], int], tmp_path: Path, how: str, part: float
) -> None:
    """Whatever is torn, the log is a sound beginning of what it was, and goes on from there."""
    copy, hashes, sure = powerless
    folder = tmp_path / "store"
    shutil.copytree(copy, folder)
    wal = folder / "q.db-wal"
    data = bytearray(wal.read_bytes())
    place = sure + int((len(data) - sure - 1) * part)
    if how == "cut":
        del data[place:]
    elif how == "zeroed":
        data[place:] = bytes(len(data) - place)
    else:
        data[place] ^= 0x40
    wal.write_bytes(data)
    with qpher_core.open(f"sqlite:///{folder}/q.db") as kms:
        session = kms.session("acme", actor="x")
        kept = [entry.hash.hex() for entry in session.audit.entries()]
        assert kept == hashes[: len(kept)]
        assert len(kept) >= 10
        assert kms.audit.verify("acme").ok
        assert session.kem.encapsulate().receipt.seq == len(kept)
        assert kms.audit.verify("acme").ok


def test_a_torn_page_is_not_taken_for_a_log(
    powerless: tuple[Path, list[str], int], tmp_path: Path
) -> None:
    """Where pages of the database itself are damaged, opening, reading or verifying says so."""
    folder = tmp_path / "store"
    shutil.copytree(powerless[0], folder)
    database = sqlite3.connect(folder / "q.db")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (page,) = database.execute("PRAGMA page_size").fetchone()
    database.close()
    data = bytearray((folder / "q.db").read_bytes())
    found = data.find(b'"action":"kem.encapsulate"')
    start = found - found % page
    data[start + page // 2 : start + page] = bytes(page // 2)
    (folder / "q.db").write_bytes(data)
    url = f"sqlite:///{folder}/q.db"
    with qpher_core.open(url) as kms:
        report = kms.audit.verify("acme")
        assert report.bad_seq is not None


@pytest.mark.parametrize("backend", ["sqlite", "file", "sqlite+file", "file+sqlite"])
def test_an_old_backup_is_noticed_by_what_was_published(backend: str, tmp_path: Path) -> None:
    """A store put back as it was, alone or grown again, does not continue the last anchor."""
    folder = tmp_path / "store"
    folder.mkdir(mode=0o700)
    url = BACKENDS[backend].url(folder)
    settings = AnchorSettings(every_seconds=None, publishers=[f"file://{tmp_path}/published"])

    def work(times: int) -> uuid.UUID:
        with qpher_core.open(url, anchors=settings) as kms:
            session = kms.session("acme", actor="x")
            for _ in range(times):
                session.kem.encapsulate()
            tenant = kms.tenants.get("acme")
            kms.anchors.publish(tenant)
            return tenant.id

    with qpher_core.open(url, anchors=settings) as kms:
        kms.tenants.create("acme")
        kms.session("acme", actor="x").keys.generate(KEM)
        kms.anchors.publish(kms.tenants.get("acme"))
    shutil.copytree(folder, tmp_path / "backup")
    work(3)
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "backup", folder)
    for times, problem in ((0, Problem.ROLLED_BACK), (5, Problem.FORKED)):
        with pytest.raises(AuditIntegrityError) as raised:
            work(times)
        assert raised.value.problem is problem


def test_an_anchor_from_before_the_base_needs_the_segments(tmp_path: Path) -> None:
    """Against an anchor of what was moved out, the store alone cannot be held: it says so."""
    with qpher_core.open("memory:") as kms:
        tenant = kms.tenants.create("acme")
        old = kms.anchors.publish(tenant)
        kms.tenants.set_plan("acme", None)
        newer = kms.anchors.publish(tenant)
        kms.audit.move_out(tmp_path, "acme")
        kms.anchors.check(newer.note, tenant)
        with pytest.raises(NotFound, match="segments"):
            kms.anchors.check(old.note, tenant)
