# SPDX-License-Identifier: Apache-2.0
"""Migration of values, columns and files, on every backend."""

import base64
import hashlib
import math
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from qpher_core import MigrationProgress, SqlColumn
from qpher_core.errors import (
    NotFound,
    PermissionDenied,
    StateConflict,
    StoreUnavailable,
    ValidationError,
)
from qpher_core.field_values import FieldValue
from qpher_core.key_usage import MIGRATE_FROM, MIGRATE_TO
from qpher_core.migration.report import ItemId
from qpher_core.service import Qpher
from qpher_core.session import Session
from tests.contract.table import Provider

KEM, NEXT = "ML-KEM-768", "X-Wing"
CONTEXT = {"table": "cards"}


def boxes(session: Session, count: int, **arguments: Any) -> list[tuple[ItemId, bytes]]:
    """Return ciphertexts of ``value-<n>`` with their numbers."""
    return [
        (n, session.kem.encrypt(f"value-{n}".encode(), context=CONTEXT, **arguments).ciphertext)
        for n in range(count)
    ]


def check(session: Session, stored: dict[Any, bytes], algorithm: str, version: int) -> None:
    """Check that every value opens under one key version, with its context."""
    for n, value in stored.items():
        opened = session.kem.decrypt(value, version, algorithm, context=CONTEXT).plaintext
        assert opened == f"value-{n}".encode()


def test_values(session: Session) -> None:
    """Values of several versions go to another algorithm; a second run finds nothing to do."""
    session.keys.generate(KEM)
    old = boxes(session, 3)
    session.keys.rotate(KEM)
    old += [
        (n + 3, session.kem.encrypt(f"value-{n + 3}".encode(), context=CONTEXT).ciphertext)
        for n in range(2)
    ]
    session.keys.generate(NEXT)
    stored = dict(old)
    seen: list[MigrationProgress] = []
    report = session.migrate(
        old, to_algorithm=NEXT, context=CONTEXT, sink=stored.update, batch=2, progress=seen.append
    )
    assert (report.moved, report.already, report.failed, report.complete) == (5, 0, (), True)
    assert report.sources == {(KEM, 1): 3, (KEM, 2): 2}
    assert (report.algorithm, report.key_version, report.total) == (NEXT, 1, 5)
    assert [(p.done, p.total, p.failed) for p in seen] == [(2, 5, 0), (4, 5, 0), (5, 5, 0)]
    check(session, stored, NEXT, 1)
    again = session.migrate(
        list(stored.items()), to_algorithm=NEXT, context=CONTEXT, sink=lambda _: 1 / 0
    )
    assert (again.moved, again.already) == (0, 5)


def test_entries(session: Session) -> None:
    """A batch leaves an entry for each key, with the number of values and their digests."""
    if not session._migrator._pipeline.here:  # each value has entries of its own there
        return
    session.keys.generate(KEM)
    old = boxes(session, 3)
    session.keys.rotate(KEM)
    stored = dict(old)
    session.migrate(old, context=CONTEXT, sink=stored.update)
    opened, sealed = [entry.fields for entry in session.audit.entries()][-2:]
    digests = [
        b"".join(hashlib.sha256(v).digest() for v in values)
        for values in (dict(old).values(), stored.values())
    ]
    for entry, action, version, digest in (
        (opened, MIGRATE_FROM, 1, digests[0]),
        (sealed, MIGRATE_TO, 2, digests[1]),
    ):
        assert (entry["action"], entry["key"]["version"]) == (action, version)
        assert entry["reason"] == "3 values; migration of values"
        assert entry["content"] == hashlib.sha256(digest).hexdigest()


def test_kinds_and_contexts(session: Session) -> None:
    """Wrapped keys stay wrapped keys, and each item keeps the context of its own."""
    session.keys.generate(KEM)
    wrapped = session.kem.wrap(bytes(32), context={"id": "a"}).wrapped_key
    box = session.kem.encrypt(b"x", context={"id": "b"}).ciphertext
    session.keys.rotate(KEM)
    stored: dict[ItemId, bytes] = {}
    report = session.migrate(
        [("a", wrapped), ("b", box), ("c", box), ("n", None), ("other", b"not ours")],
        context=lambda item: {"id": str(item)},
        sink=stored.update,
    )
    assert session.kem.unwrap(stored["a"], 2, context={"id": "a"}).symmetric_key == bytes(32)
    assert session.kem.decrypt(stored["b"], 2, context={"id": "b"}).plaintext == b"x"
    assert (report.moved, report.ignored) == (2, 2)
    (failure,) = report.failed  # bound to another context
    assert (failure.item, failure.code) == ("c", "ERR_KEM_005")
    assert not report.complete


def test_failures_are_of_items(session: Session) -> None:
    """What cannot be opened stays as it is, is reported with its reason, and stops nothing."""
    session.keys.generate(KEM)
    good, bad, lost, archived = boxes(session, 4)
    session.keys.rotate(KEM)
    archived = (3, session.kem.encrypt(b"value-3", context=CONTEXT).ciphertext)
    session.keys.rotate(KEM)
    session.keys.archive(KEM, 2)
    missing = lost[1][:7] + (99).to_bytes(4) + lost[1][11:]
    stored: dict[ItemId, bytes] = {}
    report = session.migrate(
        [good, (1, bad[1][:-1] + bytes([bad[1][-1] ^ 1])), (2, missing), archived],
        context=CONTEXT,
        sink=stored.update,
    )
    assert list(stored) == [0]
    assert [(f.item, f.code) for f in report.failed] == [
        (1, "ERR_KEM_005"),
        (2, "ERR_KMS_002"),
        (3, "ERR_KMS_003"),
    ]
    reasons = [entry.fields["reason"] for entry in session.audit.entries()]
    if session._migrator._pipeline.here:
        assert "1 values; 1 not decrypted; migration of values" in reasons


def test_compromised_keys(session: Session) -> None:
    """Values of a compromised key are moved only knowingly, and the entry says so."""
    session.keys.generate(KEM)
    old = boxes(session, 2)
    session.keys.rotate(KEM)
    session.keys.compromise(KEM, 1)
    stored = dict(old)
    refused = session.migrate(old, context=CONTEXT, sink=stored.update)
    assert {failure.code for failure in refused.failed} == {"ERR_KMS_003"}
    report = session.migrate(old, context=CONTEXT, sink=stored.update, accept_compromised=True)
    assert report.complete
    reasons = [entry.fields["reason"] for entry in session.audit.entries()]
    assert any(reason.endswith("accept_compromised") for reason in reasons)
    if session._migrator._pipeline.here:
        assert "2 values; migration of values; accept_compromised" in reasons


def test_dry_run(session: Session, tmp_path: Path) -> None:
    """A dry run counts, decrypts nothing, writes nothing and leaves no entry and no journal."""
    session.keys.generate(KEM)
    old = boxes(session, 3)
    session.keys.rotate(KEM)
    before = len([*session.audit.entries()])
    journal = tmp_path / "journal"
    report = session.migrate(old, context=CONTEXT, dry_run=True, journal=journal)
    assert (report.moved, report.sources, report.complete) == (3, {(KEM, 1): 3}, False)
    assert len([*session.audit.entries()]) == before
    assert not journal.exists()


def test_policy(service: Qpher, session: Session) -> None:
    """Who may not decrypt for a migration, or not use the new key, migrates nothing."""
    session.keys.generate(KEM)
    old = boxes(session, 2)
    session.keys.rotate(KEM)
    here = session._migrator._pipeline.here
    for action in (MIGRATE_FROM, MIGRATE_TO) if here else ("kem.decrypt", "kem.encrypt"):
        service.policies.set(
            f'[{{"rule": "deny", "actions": ["{action}"]}}]',
            tenant=str(session._context.tenant_id),
        )
        with pytest.raises(PermissionDenied):
            session.migrate(old, context=CONTEXT, sink=lambda _: 1 / 0)
        last = [*session.audit.entries()][-1].fields
        assert (last["action"], last["outcome"]) == (action, "denied")


def test_a_sink_that_fails(session: Session, tmp_path: Path) -> None:
    """A run that is cut short goes on where it was, and repeats at most one batch."""
    session.keys.generate(KEM)
    old = boxes(session, 7)
    session.keys.rotate(KEM)
    stored, handed = dict(old), []

    def sink(pairs: Sequence[tuple[ItemId, bytes]]) -> None:
        handed.append([item for item, _ in pairs])
        if len(handed) == 3:
            raise StoreUnavailable("full")
        stored.update(pairs)

    journal = tmp_path / "journal"
    arguments: dict[str, Any] = {"context": CONTEXT, "journal": journal, "batch": 2}
    with pytest.raises(StoreUnavailable):
        session.migrate(old, sink=sink, **arguments)
    with pytest.raises(ValidationError, match="another migration"):
        session.migrate(old, sink=sink, to_version=2, **arguments)
    report = session.migrate(old, sink=sink, **arguments)
    assert handed == [[0, 1], [2, 3], [4, 5], [4, 5], [6]]
    assert (report.moved, report.resumed, report.complete) == (7, True, True)
    check(session, stored, KEM, 2)
    assert not session.migrate(list(stored.items()), sink=sink, **arguments).resumed


def test_journals(session: Session, tmp_path: Path) -> None:
    """A file that is no journal is refused and stays; a journal serves one run at a time."""
    session.keys.generate(KEM)
    old = boxes(session, 2)
    session.keys.rotate(KEM)
    journal = tmp_path / "journal"
    for content in (b"a diary", b"a diary\n", b'{"finished": true}\n', b"[1]\n"):
        journal.write_bytes(content)
        with pytest.raises(ValidationError, match="not a journal"):
            session.migrate(old, context=CONTEXT, sink=lambda _: 1 / 0, journal=journal)
        assert journal.read_bytes() == content
    journal.unlink()

    def again(_: object) -> None:
        session.migrate(old, context=CONTEXT, sink=lambda _: 1 / 0, journal=journal)

    with pytest.raises(StateConflict, match="another process"):
        session.migrate(old, context=CONTEXT, sink=again, journal=journal)


def test_parameters(session: Session) -> None:
    """Wrong parameters are refused before anything is read."""
    session.keys.generate(KEM)
    for parameter, wrong in (
        ("algorithm", "ML-DSA-65"),
        ("batch", 0),
        ("threads", True),
        *(("rate", rate) for rate in (0, -1, "1", b"1", True, math.inf, math.nan)),
        ("journal", 7),
        ("sink", "print"),
        ("sink", None),
    ):
        name = {"algorithm": "to_algorithm"}.get(parameter, parameter)
        with pytest.raises(ValidationError) as caught:
            session.migrate([], **{"sink": print, name: wrong})
        assert caught.value.parameter == parameter
    with pytest.raises(ValidationError, match="sink"):
        session.migrate("somewhere", sink=print)
    with pytest.raises(ValidationError, match="source"):
        session.migrate(b"bytes")  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        session.migrate([(1, b"x")], to_algorithm=NEXT, sink=print)


def test_values_may_be_any_bytes(session: Session) -> None:
    """Bytearrays and memoryviews are moved like bytes, and what is given stays as it is."""
    session.keys.generate(KEM)
    old = boxes(session, 3)
    session.keys.rotate(KEM)
    stored: dict[ItemId, bytes] = {}
    wide = bytes(byte for value in old[2][1] for byte in (value, 0))
    given = [(0, bytearray(old[0][1])), (1, memoryview(old[1][1])), (2, memoryview(wide)[::2])]
    report = session.migrate(given, context=CONTEXT, sink=stored.update)
    assert (report.moved, report.complete) == (3, True)
    assert [bytes(value) for _, value in given] == [value for _, value in old]
    check(session, stored, KEM, 2)


@pytest.mark.parametrize("pair", [(2, "text"), (2, 7), (True, b"x"), (b"id", b"x"), 2, (1, b"", 3)])
def test_what_is_no_pair_stops_with_its_batch(session: Session, pair: object) -> None:
    """The error names the source; batches before stay moved, and of this one nothing is."""
    session.keys.generate(KEM)
    old = boxes(session, 2)
    session.keys.rotate(KEM)
    stored: dict[ItemId, bytes] = {}
    given: Any = [old[0], old[1], pair]
    with pytest.raises(ValidationError) as caught:
        session.migrate(given, context=CONTEXT, sink=stored.update, batch=3)
    assert (caught.value.parameter, stored) == ("source", {})
    with pytest.raises(ValidationError):
        session.migrate(given, context=CONTEXT, sink=stored.update, batch=1)
    assert 0 in stored


@pytest.fixture
def database(session: Session, tmp_path: Path) -> sqlite3.Connection:
    """Return a database with encrypted rows, one as base64, one empty."""
    session.keys.generate(KEM)
    database = sqlite3.connect(tmp_path / "app.db", check_same_thread=False)
    database.execute("CREATE TABLE cards (id INTEGER PRIMARY KEY, number)")
    rows: list[tuple[ItemId, Any]] = [*boxes(session, 25)]
    rows[7] = (7, base64.b64encode(bytes(rows[7][1])).decode())
    rows.append((99, None))
    database.executemany("INSERT INTO cards VALUES (?, ?)", rows)
    database.commit()
    session.keys.rotate(KEM)
    return database


def column(database: sqlite3.Connection) -> dict[int, Any]:
    """Return what is stored."""
    return dict(database.execute("SELECT id, number FROM cards WHERE number IS NOT NULL"))


def test_columns(session: Session, database: sqlite3.Connection, tmp_path: Path) -> None:
    """A column is migrated in place; text stays text."""
    source = SqlColumn(database, "cards", "id", "number")
    report = session.migrate(
        source, context=CONTEXT, batch=4, threads=3, journal=tmp_path / "journal"
    )
    assert (report.moved, report.ignored, report.complete) == (25, 1, True)
    stored = column(database)
    assert isinstance(stored[7], str)
    check(session, stored | {7: base64.b64decode(stored[7])}, KEM, 2)
    again = session.migrate(source, context=CONTEXT)
    assert (again.moved, again.already) == (0, 25)


def test_rows_that_change_meanwhile(session: Session, database: sqlite3.Connection) -> None:
    """What an application writes or removes while its row is migrated counts."""
    source = SqlColumn(database, "cards", "id", "number")

    def meddle(progress: MigrationProgress) -> None:
        if progress.done == 4:  # the next batches were read
            database.execute("UPDATE cards SET number = ? WHERE id = 5", (b"theirs",))
            database.execute("DELETE FROM cards WHERE id = 6")
            database.commit()

    report = session.migrate(source, context=CONTEXT, batch=4, progress=meddle)
    assert (report.moved, report.changed, report.complete) == (23, 2, False)
    stored = column(database)
    assert stored.pop(5) == b"theirs"
    assert 6 not in stored
    check(session, stored | {7: base64.b64decode(stored[7])}, KEM, 2)


def test_columns_that_cannot_be(database: sqlite3.Connection, session: Session) -> None:
    """Names that are none, and connections that commit each row, are refused."""
    for names in (("cards; --", "id", "number"), ("cards", "", "number"), ("cards", "id", "a b")):
        with pytest.raises(ValidationError):
            SqlColumn(database, *names)
    alone = sqlite3.connect(":memory:", isolation_level=None)
    with pytest.raises(ValidationError, match="autocommit"):
        session.migrate(SqlColumn(alone, "cards", "id", "number"))
    alone.close()


def test_folders(session: Session, tmp_path: Path) -> None:
    """Files are rewritten where they are; what is not ours stays; modes stay."""
    session.keys.generate(KEM)
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    content = bytes(range(256)) * 1000
    (tmp_path / "plain").write_bytes(content)
    session.kem.encrypt_file(tmp_path / "plain", folder / "deep" / "a.qph", context=CONTEXT)
    (folder / "deep" / "a.qph").chmod(0o640)
    (folder / "b").write_bytes(session.kem.encrypt(b"message", context=CONTEXT).ciphertext)
    (folder / "c.txt").write_bytes(b"a text")
    (folder / "link").symlink_to("b")
    session.keys.rotate(KEM)
    report = session.migrate(folder, context=CONTEXT, journal=folder / "journal")
    assert (report.moved, report.ignored, report.complete) == (2, 1, True)
    moved = folder / "deep" / "a.qph"
    assert moved.stat().st_mode & 0o777 == 0o640
    session.kem.decrypt_file(moved, tmp_path / "opened", 2, context=CONTEXT)
    assert (tmp_path / "opened").read_bytes() == content
    box = (folder / "b").read_bytes()
    assert session.kem.decrypt(box, 2, context=CONTEXT).plaintext == b"message"
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))
    assert names == ["b", "c.txt", "deep", "deep/a.qph", "journal", "link"]
    assert session.migrate(moved, context=CONTEXT).already == 1


def test_rotation_meanwhile(session: Session) -> None:
    """Without a version the active one counts at each moment; nothing fails when it changes."""
    session.keys.generate(KEM)
    old = boxes(session, 6)
    session.keys.rotate(KEM)
    stored = dict(old)

    def rotate(progress: MigrationProgress) -> None:
        if progress.done == 2:
            session.keys.rotate(KEM)

    report = session.migrate(old, context=CONTEXT, sink=stored.update, batch=2, progress=rotate)
    assert (report.moved, report.key_version, report.failed) == (6, 3, ())
    report = session.migrate(list(stored.items()), context=CONTEXT, sink=stored.update)
    assert report.complete
    check(session, stored, KEM, 3)


def test_field_values_move_by_their_keys(session: Session) -> None:
    """Values that share a key share one again, keep their sealed part, and open as before."""
    session.keys.generate(KEM)
    field = session.kem.field(context=CONTEXT, remember=0)
    words = [f"value-{n}" for n in range(7)]
    stored = dict(enumerate(field.encrypt_many(words[:5]) + field.encrypt_many(words[5:])))
    old = dict(stored)
    session.keys.generate(NEXT)
    before = sum(1 for _ in session.audit.entries())
    report = session.migrate(
        list(old.items()), to_algorithm=NEXT, context=CONTEXT, sink=stored.update
    )
    assert (report.moved, report.sources, report.complete) == (7, {(KEM, 1): 7}, True)
    opened, sealed = [entry.fields for entry in session.audit.entries(start=before)]
    assert opened["key"]["algorithm"] == KEM
    assert sealed["key"]["algorithm"] == NEXT
    assert sealed["reason"].startswith("7 values; ")
    parts = [FieldValue.from_bytes(stored[n]) for n in range(7)]
    assert len({part.wrapped_key for part in parts}) == 2
    assert {part.header.algorithm for part in parts} == {NEXT}
    assert [part.sealed for part in parts] == [
        FieldValue.from_bytes(old[n]).sealed for n in range(7)
    ]
    assert field.decrypt_many([stored[n] for n in range(7)]) == words


def test_deterministic_field_values_stay_findable(session: Session, provider: Provider) -> None:
    """With the field's salt a moved value equals a new one; without it, it stays as it is."""
    if not provider.deterministic:
        return
    session.keys.generate(KEM)
    field = session.kem.field(context=CONTEXT, mode="deterministic", salt=bytes(32))
    stored = dict(enumerate(field.encrypt_many(["a", "b", "a"])))
    session.keys.rotate(KEM)
    refused = session.migrate(list(stored.items()), context=CONTEXT, sink=stored.update)
    assert [failure.item for failure in refused.failed] == [0, 1, 2]
    assert "salt" in refused.failed[0].problem
    report = session.migrate(
        list(stored.items()), context=CONTEXT, sink=stored.update, salt=bytes(32)
    )
    assert (report.moved, report.key_version) == (3, 2)
    assert stored == dict(enumerate(field.encrypt_many(["a", "b", "a"])))


def test_altered_field_values_are_failures(session: Session) -> None:
    """A value whose key does not open, or that was cut, is reported and stays as it is."""
    session.keys.generate(KEM)
    good, bad = session.kem.field(context=CONTEXT).encrypt_many(["good", "bad"])
    session.keys.rotate(KEM)
    changed = bytearray(bad)
    changed[500] ^= 1
    stored: dict[ItemId, bytes] = {}
    report = session.migrate(
        [(0, good), (1, bytes(changed)), (2, bad[:1150])], context=CONTEXT, sink=stored.update
    )
    assert list(stored) == [0]
    assert sorted(failure.item for failure in report.failed) == [1, 2]
    assert session.kem.field(context=CONTEXT).decrypt(stored[0]) == "good"
