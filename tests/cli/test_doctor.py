# SPDX-License-Identifier: Apache-2.0
"""``qpher-core doctor`` finds what is wrong, says what to do, and changes nothing."""

import contextlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import qpher_core
from qpher_core.asgi import create_app
from qpher_core.cli.main import main
from qpher_core.doctor.service import examine_service
from tests.failure.wire import dripping
from tests.http.server import serving

#: What depends on the machine that runs the tests.
MACHINE = {"versions", "primitives", "clock", "locked memory", "disk"}


@pytest.fixture(params=["sqlite", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a store with two key versions whose log is anchored."""
    target = f"{request.param}://{tmp_path / 'store'}"
    if request.param == "sqlite":
        target = f"sqlite:///{tmp_path / 'store'}"
    with qpher_core.open(target, anchors=_publishing(tmp_path)) as kms:
        acme = kms.tenants.create("acme")
        session = kms.session("acme", actor="test")
        session.keys.generate("ML-KEM-768")
        session.keys.rotate("ML-KEM-768")
        kms.anchors.publish(acme)
    shutil.copy2(tmp_path / "store.kek", tmp_path / "copy.kek")
    return target


def _publishing(folder: Path) -> qpher_core.AnchorSettings:
    return qpher_core.AnchorSettings(
        every_seconds=None, publishers=[f"file://{folder / 'published'}"]
    )


def _examine(url: str, *arguments: str, **environment: str) -> tuple[int, dict[str, str]]:
    """Return the exit status, and advice for what does not stand well, by check."""
    options = ["doctor", "--store", url, "--json", *arguments]
    result = CliRunner(env=environment).invoke(main, options)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    found = json.loads(result.stdout)
    assert all((row["standing"] == "ok") == (row["advice"] is None) for row in found)
    told = {row["check"]: row for row in found if row["check"] not in MACHINE}
    assert result.exit_code == any(row["standing"] == "problem" for row in found)
    return result.exit_code, {
        check: f"{row['standing']}: {row['found']}"
        for check, row in told.items()
        if row["standing"] != "ok"
    }


def _problem(url: str, check: str, *arguments: str) -> str:
    status, found = _examine(url, *arguments)
    assert status == 1
    assert found[check].startswith("problem: "), found
    return found[check]


def test_a_good_store_has_no_problem(url: str, tmp_path: Path) -> None:
    """All that can be said is that the backup of the KEK is on the same disk."""
    arguments = ("--kek-backup", f"{tmp_path}/copy.kek", "--published", f"{tmp_path}/published")
    status, found = _examine(url, *arguments)
    assert (status, set(found)) == (0, {"backup of the KEK"})
    assert "same disk" in found["backup of the KEK"]


def test_nothing_is_changed(url: str, tmp_path: Path) -> None:
    """The logs have the entries that they had before."""
    with qpher_core.open(url, anchors=_publishing(tmp_path)) as kms:
        before = [kms.audit.verify(tenant).head for tenant in ("acme", None)]
    _examine(url)
    with qpher_core.open(url, anchors=_publishing(tmp_path)) as kms:
        assert [kms.audit.verify(tenant).head for tenant in ("acme", None)] == before


def test_an_unmentioned_backup_is_a_warning(url: str) -> None:
    """Nobody knows of one."""
    status, found = _examine(url)
    assert (status, found["backup of the KEK"][:20]) == (0, "warning: not checked")


def test_a_backup_without_the_kek_in_use(url: str, tmp_path: Path) -> None:
    """A copy from before a renewal lacks the new one."""
    with qpher_core.open(url) as kms:
        kms.protector.use()
    found = _problem(url, "backup of the KEK", "--kek-backup", f"{tmp_path}/copy.kek")
    assert "copy.kek" in found
    assert "former" in _examine(url)[1]["key encryption key"]


def test_a_missing_kek_and_a_missing_store(url: str, tmp_path: Path) -> None:
    """Both are told as what keeps everything from working; no store is made."""
    (tmp_path / "store.kek").rename(tmp_path / "elsewhere.kek")
    assert "store.kek" in _problem(url, "store")
    assert "no store" in _problem(f"sqlite:///{tmp_path}/typo", "store")
    assert not (tmp_path / "typo").exists()


def test_a_store_that_others_may_read(url: str, tmp_path: Path) -> None:
    """The mode is told; a store of plain files does not even open."""
    path = tmp_path / "store"
    if path.is_dir():
        path.chmod(0o755)
        assert "0755" in _problem(url, "store")
    else:
        path.chmod(0o644)
        assert "0644" in _problem(url, "permissions")


def test_leftovers_are_told(url: str, tmp_path: Path) -> None:
    """A partial file of an hour ago belongs to no write that still goes on."""
    left = tmp_path / "store.kek.abc.new"
    left.write_bytes(b"")
    assert "leftovers" not in _examine(url)[1]
    past = time.time() - 4000
    os.utime(left, (past, past))
    assert str(left) in _examine(url)[1]["leftovers"]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return a database with a key and a published anchor."""
    path = tmp_path / "q.db"
    with qpher_core.open(f"sqlite:///{path}", anchors=_publishing(tmp_path)) as kms:
        acme = kms.tenants.create("acme")
        session = kms.session("acme", actor="test")
        session.keys.generate("ML-KEM-768")
        kms.anchors.publish(acme)
    return path


def _alter(path: Path, table: str, statement: str) -> None:
    """Do what someone with the file and a SQL prompt would do."""
    connection = sqlite3.connect(path)
    with connection:
        triggers = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", (table,)
        ).fetchall()
        for (name,) in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("PRAGMA foreign_keys = OFF")
        assert connection.execute(statement).rowcount > 0
    connection.close()


def test_a_lost_record(database: Path) -> None:
    """The log says that the key version was made, and it is gone."""
    _alter(database, "key_versions", "DELETE FROM key_versions")
    found = _problem(f"sqlite:///{database}", "records of acme")
    assert "1 lost, such as ML-KEM-768 key 'default' version 1" in found


def test_an_altered_log(database: Path) -> None:
    """The entry is named."""
    _alter(
        database,
        "audit_entries",
        "UPDATE audit_entries SET body = CAST(replace(CAST(body AS TEXT), '\"test\"', '\"eve\"')"
        " AS BLOB) WHERE seq = 1",
    )
    assert "entry 1" in _problem(f"sqlite:///{database}", "audit log of acme")


def test_a_store_that_is_older_than_its_published_anchor(database: Path, tmp_path: Path) -> None:
    """An old backup was restored: the published anchor tells."""
    shutil.copy2(database, tmp_path / "old.db")
    with qpher_core.open(f"sqlite:///{database}", anchors=_publishing(tmp_path)) as kms:
        kms.session("acme", actor="test").keys.rotate("ML-KEM-768")
        kms.anchors.publish(kms.tenants.get("acme"))
    shutil.copy2(tmp_path / "old.db", database)
    published = ("--published", f"{tmp_path}/published")
    _problem(f"sqlite:///{database}", "published anchor of acme", *published)


def test_anchors_that_were_never_published(database: Path, tmp_path: Path) -> None:
    """A folder without the log's file is a publisher that does not work."""
    published = ("--published", f"{tmp_path}/none")
    assert "No such file" in _problem(
        f"sqlite:///{database}", "published anchor of acme", *published
    )


def test_a_service_elsewhere(environment: dict[str, str]) -> None:
    """It looks at what can be seen from here; a wrong API key is a problem."""
    url = environment["QPHER_STORE"]
    if not url.startswith("http"):
        assert _examine(url)[0] == 0
        return
    assert _examine(url, **environment) == (0, {})
    wrong = {**environment, "QPHER_API_KEY": f"{environment['QPHER_API_KEY'][:-4]}0000"}
    assert _examine(url, **wrong)[0] == 1


@contextlib.contextmanager
def _telling(date: bytes, folder: Path) -> Iterator[dict[str, str]]:
    """Serve a store whose answers have a ``Date`` as given; yield the environment of a tenant."""
    with qpher_core.open(f"sqlite:///{folder}/q.db") as kms:
        kms.tenants.create("acme")
        _, secret = kms.api_keys.create("acme")
        service = create_app(kms)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            async def dated(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], (b"date", date)]
                await send(message)

            await service(scope, receive, dated)

        with serving(app, date_header=False) as base:
            yield {"QPHER_STORE": base, "QPHER_API_KEY": secret}


@pytest.mark.parametrize(
    "date",
    [
        b"",
        b"tomorrow",
        b"Thu, 01 Jan 99999 00:00:00 GMT",
        b"Thu, 01 Jan 2026 00:00:00 +" + b"9" * 99,
    ],
)
def test_a_date_that_is_none_is_a_finding(tmp_path: Path, date: bytes) -> None:
    """A service that tells no time, or a malformed one, is examined all the same."""
    with _telling(date, tmp_path) as environment:
        status, found = _examine(environment["QPHER_STORE"], **environment)
    assert (status, found) == (0, {"clocks": "warning: the service does not tell its time"})


@pytest.mark.parametrize(
    "date", [b"Thu, 01 Jan 1970 00:00:00 GMT", b"Thu, 01 Jan 1970 00:00:00 -0000"]
)
def test_clocks_that_are_apart_are_a_finding(tmp_path: Path, date: bytes) -> None:
    """Also where the time has no zone, which is UTC."""
    with _telling(date, tmp_path) as environment:
        _, found = _examine(environment["QPHER_STORE"], **environment)
    assert found["clocks"].startswith("warning: ")
    assert found["clocks"].endswith("seconds apart")


def test_an_answer_that_is_no_http_is_a_finding() -> None:
    """Something else at the service's address is told, before the session is used."""
    with (
        qpher_core.open("memory:") as kms,
        dripping(b"nonsense\r\n", b"x") as url,
    ):
        kms.tenants.create("acme")
        _, clocks, *_ = examine_service(url, kms.session("acme", actor="x"), ca=None)
    assert (clocks.check, clocks.standing) == ("clocks", "problem")
    assert "no answer from" in clocks.found
