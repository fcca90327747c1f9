# SPDX-License-Identifier: Apache-2.0
"""Examining a local store: its files, its key encryption keys, its logs, anchors and records."""

import shutil
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from attrs import frozen

from qpher_core.audit.problems import AuditIntegrityError
from qpher_core.audit.selection import EntryFilter
from qpher_core.discovery import open_protector
from qpher_core.doctor.finding import Finding, ok, problem, warning
from qpher_core.errors import NotFound, QpherError
from qpher_core.models import AuditReport, Tenant
from qpher_core.service import Qpher

__all__ = ["Examination", "examine_store"]

_FILE: Final = "file://"
_CHECK: Final = b"qpher-core check 1"

#: Leftovers of writes that were interrupted, once they are older than any write takes.
_LEFTOVERS: Final = ("*.new", "*.partial")
_LEFTOVER_AGE: Final = timedelta(hours=1)

_ANCHOR_AGE: Final = timedelta(hours=1)
_FUTURE: Final = timedelta(seconds=5)
_LEAST_FREE: Final = 0.05
_MAKES_KEYS: Final = ("keys.generate", "keys.rotate", "keys.import")


@frozen
class Examination:
    """What to examine, and what to compare it with.

    Attributes:
        place: the file or folder of the store, where it has one.
        protectors: URLs of the protectors that it is opened with; the store's own if empty.
        kek_backup: a copy of the file of key encryption keys.
        published: folder that anchors are published to.
        actor: whom audit log and policy know.
    """

    place: Path | None
    protectors: tuple[str, ...]
    kek_backup: Path | None
    published: Path | None
    actor: str

    @property
    def kek_file(self) -> Path | None:
        """The file of key encryption keys, where there is one."""
        if not self.protectors and self.place is not None:
            return self.place.with_name(f"{self.place.name}.kek")
        files = [u.removeprefix(_FILE) for u in self.protectors if u.startswith(_FILE)]
        return Path(files[0]) if files else None


def examine_store(kms: Qpher, what: Examination) -> Iterator[Finding]:
    """Yield what is found about an open store. It reads all of it."""
    for name, check in kms.checks().items():
        yield _answers(name, check)
    if what.place is not None:
        yield _permissions(what.place)
        yield _space(what.place)
        yield _leftovers(what.place)
    yield _kek(kms)
    yield _kek_backup(kms, what)
    for tenant in kms.tenants.list():
        report = kms.audit.verify(tenant.id)
        yield _log(tenant, report)
        yield _anchors(kms, tenant, report.entries)
        if what.published is not None:
            yield _published(kms, tenant, what.published)
        yield _records(kms, tenant, what.actor)
    yield _rotation(kms)


def _answers(name: str, check: Callable[[], object]) -> Finding:
    try:
        check()
    except QpherError as error:
        return problem(name, str(error), "no operation works until it answers")
    return ok(name, "answers")


def _permissions(place: Path) -> Finding:
    """Only the owner may read or write a store, and nobody else replace it."""
    found = [place, *_beside(place)] if place.is_file() else [place, *place.rglob("*")]
    others = [path for path in found if _mode(path) & (stat.S_IRWXG | stat.S_IRWXO)]
    above = _mode(place.parent)
    if above & stat.S_IWOTH and not above & stat.S_ISVTX:
        return problem("permissions", f"anyone may replace {place}", f"chmod o-w {place.parent}")
    if others:
        return problem(
            "permissions",
            f"{others[0]} has mode {stat.S_IMODE(_mode(others[0])):04o}"
            + (f", and {len(others) - 1} more" if len(others) > 1 else ""),
            f"chmod -R go-rwx {' '.join(map(str, dict.fromkeys(others[:3])))}",
        )
    return ok("permissions", "the owner's alone")


def _space(place: Path) -> Finding:
    usage = shutil.disk_usage(place if place.is_dir() else place.parent)
    free = usage.free / usage.total
    found = f"{free:.0%} of the disk is free"
    if free < _LEAST_FREE:
        return problem("disk", found, "make room: when the audit log is full, nothing is released")
    return ok("disk", found)


def _leftovers(place: Path) -> Finding:
    oldest = datetime.now(UTC) - _LEFTOVER_AGE
    folders = [place.parent.glob, *([place.rglob] if place.is_dir() else [])]
    found = sorted(
        {
            path
            for glob in folders
            for pattern in _LEFTOVERS
            for path in glob(pattern)
            if path.name.startswith(place.name) or place in path.parents
            if datetime.fromtimestamp(path.stat().st_mtime, UTC) < oldest
        }
    )
    if found:
        return warning(
            "leftovers",
            f"{len(found)} files of interrupted writes, such as {found[0]}",
            "remove them; nothing refers to them",
        )
    return ok("leftovers", "none")


def _kek(kms: Qpher) -> Finding:
    status = kms.protector.status()
    if status.pending:
        return warning(
            "key encryption key",
            f"{status.pending:,} records are under a former one",
            "run qpher-core protector rewrap",
        )
    return ok(
        "key encryption key", f"{status.kek_id} seals all {sum(status.records.values()):,} records"
    )


def _kek_backup(kms: Qpher, what: Examination) -> Finding:
    """Open the copy as a protector would, and see that it gives every KEK that is needed."""
    check, file = "backup of the KEK", what.kek_file
    if file is None and what.kek_backup is None:
        return ok(check, "the protector keeps it; see to its own backup")
    if what.kek_backup is None:
        return warning(
            check,
            f"not checked: without {file} every key is lost",
            "copy it to another place, and name the copy with --kek-backup",
        )
    status = kms.protector.status()
    needed = {status.kek_id, *(kek for kek, count in status.records.items() if count)}
    try:
        copy = open_protector(f"{_FILE}{what.kek_backup.absolute()}", create=False)
        for kek_id in sorted(needed):
            copy.derive(kek_id, _CHECK)
        copy.close()
    except QpherError as error:
        return problem(check, str(error), f"copy {file} again")
    if file is not None and what.kek_backup.stat().st_dev == file.stat().st_dev:
        return warning(
            check, "complete, but on the same disk as the original", "keep one elsewhere"
        )
    return ok(check, "complete")


def _log(tenant: Tenant, report: AuditReport) -> Finding:
    check = f"audit log of {tenant.name}"
    if not report.ok:
        return problem(
            check,
            f"entry {report.bad_seq}: {report.problem}",
            "keep a copy of the store; compare with a backup and with published anchors",
        )
    return ok(check, f"{report.entries:,} entries, all sound")


def _anchors(kms: Qpher, tenant: Tenant, entries: int) -> Finding:
    check = f"anchors of {tenant.name}"
    anchor = kms.anchors.latest(tenant)
    now = datetime.now(UTC)
    advice = "keep a service running, or run qpher-core audit export now and then"
    if anchor is None:
        return warning(check, f"none, over {entries:,} entries", advice)
    if anchor.time > now + _FUTURE:
        return problem(
            check,
            f"the last one is of {anchor.time:%Y-%m-%d %H:%M} UTC, which is yet to come",
            "the clock was set back: set it right",
        )
    missing = entries - anchor.size
    if missing and now - anchor.time > _ANCHOR_AGE:
        return warning(
            check, f"{missing:,} entries since {anchor.time:%Y-%m-%d %H:%M} UTC have none", advice
        )
    return ok(check, f"the last one covers {anchor.size:,} of {entries:,} entries")


def _published(kms: Qpher, tenant: Tenant, folder: Path) -> Finding:
    """See that what was published is a state that the log had, and a recent one."""
    check = f"published anchor of {tenant.name}"
    path = folder / f"{tenant.id}.checkpoint"
    try:
        note = path.read_text(encoding="utf-8")
        kms.anchors.check(note, tenant)
    except OSError as error:
        return problem(check, f"{path}: {error.strerror}", "is the publisher configured?")
    except NotFound as error:
        return problem(check, str(error), "see docs/guide.md, When anchors stop")
    except (AuditIntegrityError, UnicodeDecodeError) as error:
        return problem(
            check, str(error), "the store is older than what was published, or was altered"
        )
    latest = kms.anchors.latest(tenant)
    if latest is not None and latest.note.splitlines()[:4] != note.splitlines()[:4]:
        return warning(check, "behind the store's last anchor", "publish again, or wait a minute")
    return ok(check, "the store's last anchor")


def _records(kms: Qpher, tenant: Tenant, actor: str) -> Finding:
    """Compare the key versions with those that the log says were made: none ever goes away."""
    session = kms.session(tenant.id, actor=actor)
    have = {(key.name, key.algorithm, key.version) for key in session.keys.list()}
    made = {
        (entry.fields["key"]["name"], entry.fields["key"]["algorithm"],
         entry.fields["key"]["version"])
        for action in _MAKES_KEYS
        for entry in session.audit.entries(where=EntryFilter(action=action, outcome="success"))
    }  # fmt: skip
    lost = sorted(made - have)
    check = f"records of {tenant.name}"
    if lost:
        name, algorithm, version = lost[0]
        return problem(
            check,
            f"{len(lost)} lost, such as {algorithm} key {name!r} version {version}",
            "restore them from a backup of the store",
        )
    return ok(check, f"all {len(have):,} key versions are there")


def _rotation(kms: Qpher) -> Finding:
    report = kms.maintain(dry_run=True)
    if report.unread:
        found = report.unread[0]
        return problem(
            "rotation",
            f"the schedule of {len(report.unread)} tenants is unknown, such as that of "
            f"{found.tenant}: {found.problem}",
            "restore their rules, keys and log from a backup of the store",
        )
    late = [key for key in report.keys if key.due == "overdue"]
    if late:
        return warning("rotation", f"{len(late)} keys are overdue", "run qpher-core maintain")
    return ok("rotation", f"{len(report.keys)} keys have a rule, none is overdue")


def _mode(path: Path) -> int:
    return path.lstat().st_mode


def _beside(place: Path) -> Iterator[Path]:
    """Yield the files of a database beside it: its log, and the default key encryption keys."""
    for suffix in ("-wal", "-shm", ".kek"):
        path = place.with_name(place.name + suffix)
        if path.exists():
            yield path
