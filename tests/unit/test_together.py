# SPDX-License-Identifier: Apache-2.0
"""Recording together: one commit for several calls, and no call's failure is another's."""

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from qpher_backends.sqlite import open_store
from qpher_core.audit.entry import EntryDraft
from qpher_core.audit.log import StoredAuditLog
from qpher_core.errors import OutcomeUnknown, StoreUnavailable
from qpher_core.mixed import record
from qpher_core.models import AuditEntry
from qpher_core.protocols import Store, StoreWriter
from qpher_core.service import _now
from qpher_core.together import Recording, gathered, gathering, record_all

TENANT = uuid.UUID(int=7)


def appending(store: Store, actor: str) -> Callable[[StoreWriter], AuditEntry]:
    """Return work that appends one entry."""
    log = StoredAuditLog(store.audit, _now)
    draft = EntryDraft(actor, "kem.encrypt", None, "success", "", uuid.uuid4(), None, None)
    return lambda writer: log.append(writer.audit, TENANT, draft)


def actors(store: Store) -> list[str]:
    """Return who is in the log, in order."""
    return [entry.fields["actor"] for entry in store.audit.read(TENANT)]


def test_one_commit_for_all(tmp_path: Path) -> None:
    """Work of several calls is committed once, in order, and each has its own value."""
    store = open_store(f"sqlite:///{tmp_path}/q.db")
    commits = []

    def commit(work: Callable[[StoreWriter], object], **options: uuid.UUID | None) -> object:
        commits.append(options["tenant_id"])
        return store.commit(work, **options)

    recordings = [Recording(commit, appending(store, actor), TENANT) for actor in "abc"]  # type: ignore[arg-type]
    values = [outcome.get() for outcome in record_all(recordings)]
    assert [value.seq for value in values] == [0, 1, 2]
    assert commits == [TENANT]
    assert actors(store) == ["a", "b", "c"]
    store.close()


def test_who_fails_fails_alone(tmp_path: Path) -> None:
    """Work that raises leaves nothing behind and takes nothing from the others."""
    store = open_store(f"sqlite:///{tmp_path}/q.db")
    append = appending(store, "bad")

    def fail(writer: StoreWriter) -> None:
        append(writer)
        raise KeyError("not one of ours")

    works = [appending(store, "a"), fail, appending(store, "c")]
    first, bad, last = record_all([Recording(store.commit, work, TENANT) for work in works])
    assert (first.get().seq, last.get().seq) == (0, 1)
    with pytest.raises(KeyError):
        bad.get()
    assert actors(store) == ["a", "c"]
    store.close()


def test_a_lost_commit_is_everybodys() -> None:
    """If the store cannot commit, each call gets an error of its own, of the same kind."""

    def commit(_: object, **__: object) -> None:
        raise OutcomeUnknown("lost")

    outcomes = record_all([Recording(commit, lambda _: None, TENANT)] * 3)  # type: ignore[arg-type]
    errors = [outcome.error for outcome in outcomes]
    assert all(isinstance(error, OutcomeUnknown) for error in errors)
    assert len({id(error) for error in errors}) == 3


def test_only_a_gathering_thread_gathers(tmp_path: Path) -> None:
    """What is recorded goes to whoever gathers on the thread, and without one is committed."""
    store = open_store(f"sqlite:///{tmp_path}/q.db")
    asked: list[Recording] = []
    with gathering(asked.append):
        assert record(store, appending(store, "a"), tenant_id=TENANT) is None
    assert gathered() is None
    assert actors(store) == []
    assert record(store, appending(store, "b"), tenant_id=TENANT).seq == 0
    assert [outcome.get().seq for outcome in record_all(asked)] == [1]
    store.close()
    with pytest.raises(StoreUnavailable):
        record(store, appending(store, "c"), tenant_id=TENANT)
