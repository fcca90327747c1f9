# SPDX-License-Identifier: Apache-2.0
"""Anchoring: signing the state of a log so that it cannot change unnoticed from then on.

Anchors chain: each is shown to continue the one before it before it is signed. Any node may
anchor, at any time; the store's commit lets one of them win, and only what was committed is
published. So a crash at any moment leaves at worst an anchor that is published again.
"""

import contextlib
import functools
import logging
import queue
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from attrs import Attribute, field, frozen

from qpher_core.audit.anchor_keys import AnchorKeys
from qpher_core.audit.checkpoint import Checkpoint
from qpher_core.audit.inclusion import Inclusion
from qpher_core.audit.moving import begins_at, while_it_moves
from qpher_core.audit.note import Note, NoteSignature
from qpher_core.audit.problems import AuditIntegrityError, Problem
from qpher_core.audit.proof import LogProof
from qpher_core.audit.publishers import AnchorPublisher, open_publisher
from qpher_core.audit.records import StoredAnchor
from qpher_core.audit.tree import (
    Fetch,
    consistency_path,
    root_at,
    verify_consistency,
)
from qpher_core.audit.vkey import VerifierKey, verify_note
from qpher_core.audit.witness import Witness, cosign
from qpher_core.calls import KeyChanged
from qpher_core.errors import (
    IntegrityError,
    NotFound,
    QpherError,
    StateConflict,
    Unavailable,
    ValidationError,
)
from qpher_core.mixed import record
from qpher_core.models import AuditEntry
from qpher_core.protocols import Primitives, Store, StoreWriter
from qpher_core.validation import DAY, check_seconds, check_text, integer_from

__all__ = ["AnchorSettings", "AnchorThread", "Anchorer"]

T = TypeVar("T")
_Publisher = AnchorPublisher | str | Callable[[uuid.UUID, str], None]

_log: Final = logging.getLogger("qpher_core.anchors")

_LONGEST: Final = 366 * DAY
_LONGEST_NAME: Final = 200  # "/" and a tenant's id or "cosigner" follow; in all at most 255

_ATTEMPTS: Final = 3  # each after the anchor key was rotated meanwhile


def _or_none(_: object, attribute: "Attribute[Any]", value: object) -> None:
    if value is not None:
        check_seconds(value, attribute.name, longest=_LONGEST)


def _several(value: Iterable[T], name: str) -> tuple[T, ...]:
    """Return a tuple; one text is not taken for many."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValidationError(f"{name} must be a list", parameter=name)
    return tuple(value)


def _publishers(value: Iterable[_Publisher]) -> tuple[_Publisher, ...]:
    return _several(value, "publishers")


def _witnesses(value: Iterable[Witness]) -> tuple[Witness, ...]:
    return _several(value, "witnesses")


def _name_or_none(_: object, attribute: "Attribute[Any]", value: object) -> None:
    """Refuse what cannot begin the names in signed notes and cosignatures."""
    if value is None:
        return
    text = check_text(value, attribute.name, longest=_LONGEST_NAME)
    if "+" in text or any(map(str.isspace, text)) or len(text.encode()) > _LONGEST_NAME:
        raise ValidationError(
            f"{attribute.name} must have no spaces and no plus sign, and at most "
            f"{_LONGEST_NAME} bytes",
            parameter=attribute.name,
        )


def _are_witnesses(_: object, attribute: "Attribute[Any]", value: Sequence[object]) -> None:
    if not all(isinstance(one, Witness) for one in value):
        raise ValidationError(
            f"{attribute.name} must be a list of Witness", parameter=attribute.name
        )


@frozen(kw_only=True)
class AnchorSettings:
    """When and where anchors are made.

    Attributes:
        every_entries: a log that grew by so many entries is anchored.
        every_seconds: every log that grew at all is anchored so often; None for no background
            thread: anchors are then made on request only.
        service: name of the service in origins and key names, such as ``kms.example.com``;
            one that follows from the first anchor key where none is given.
        publishers: ``file:///folder``, ``https://…`` or functions ``f(tenant_id, note)``.
        witnesses: who cosigns each anchor before it is stored.

    Raises:
        ValidationError: a number is out of range, a list is none, or a name cannot be one.
    """

    every_entries: int = field(default=1000, validator=integer_from(1))
    every_seconds: float | None = field(default=60.0, validator=_or_none)
    service: str | None = field(default=None, validator=_name_or_none)
    publishers: Sequence[_Publisher] = field(default=(), converter=_publishers)
    witnesses: Sequence[Witness] = field(default=(), converter=_witnesses, validator=_are_witnesses)


class Anchorer:
    """Makes, stores and publishes anchors, and proofs from them. Thread-safe."""

    def __init__(
        self,
        store: Store,
        keys: AnchorKeys,
        primitives: Primitives,
        settings: AnchorSettings,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self.keys = keys
        self._store = store
        self._primitives = primitives
        self._publishers = [open_publisher(target) for target in settings.publishers]
        self._witnesses = settings.witnesses
        self._clock = clock
        self._inclusion = Inclusion()
        self._published: dict[tuple[uuid.UUID, int], int] = {}
        self._publishing = threading.Lock()

    def anchor(self, tenant_id: uuid.UUID) -> StoredAnchor:
        """Anchor a log as it is now, publish the anchor, and return it.

        A log that has not grown since its last anchor keeps that one.

        Raises:
            NotFound: the log is empty; or what was published is of entries that were moved out
                since, and cannot be compared. Nothing is stored.
            AuditIntegrityError: ``rolled-back`` or ``forked``: the log does not continue what
                was anchored, published or witnessed before. Nothing is stored.
            Unavailable: a publisher that can tell its last anchor, or a required witness, does
                not answer.
            StateConflict: the anchor key is rotated again and again at the same moment.
        """
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(KeyChanged):
                return while_it_moves(self._store.audit, tenant_id, lambda: self._anchor(tenant_id))
        raise StateConflict("the anchor key is rotated again and again; anchor later")

    def _anchor(self, tenant_id: uuid.UUID) -> StoredAnchor:
        signers = self.keys.signers()
        latest = self._store.anchors.latest(tenant_id)
        earlier = [publisher.latest(tenant_id) for publisher in self._publishers]
        if latest is not None:
            earlier.append(latest.note)
        state = self._store.audit.state(tenant_id)  # after them: other nodes anchor meanwhile
        if state.size == 0 and not any(earlier):
            raise NotFound("an empty log has no anchor")
        checkpoint = Checkpoint.of(self.keys.service, tenant_id, state)
        for kept in earlier:
            self._check_continues(tenant_id, kept, checkpoint)
        if latest is None or latest.size < state.size:
            lines = [signer.sign(checkpoint.text) for signer in signers]
            note = Note(checkpoint.text).signed(*lines)
            note = note.signed(*self._cosignatures(tenant_id, note, latest.size if latest else 0))
            made = StoredAnchor(tenant_id, state.size, self._clock(), str(note))
            latest = self._keep(made, signers[0].key)
        self._publish(latest)
        return latest

    def published(self, anchor: StoredAnchor) -> bool:
        """Return whether an anchor, or a later one, went to every publisher."""
        places = [(anchor.tenant_id, number) for number in range(len(self._publishers))]
        return all(self._published.get(place, 0) >= anchor.size for place in places)

    def covering(self, tenant_id: uuid.UUID, seq: int) -> StoredAnchor:
        """Return an anchor that covers an entry: the first that does, or a new one."""
        found = self._store.anchors.covering(tenant_id, seq + 1)
        if found is None and seq < self._store.audit.state(tenant_id).size:
            found = self.anchor(tenant_id)
        if found is None or found.size <= seq:
            raise NotFound("the log has no such entry")
        return found

    def proof(self, entry: AuditEntry) -> LogProof:
        """Return the proof that an anchor covers an entry.

        Raises:
            NotFound: the entry was moved out meanwhile.
            AuditIntegrityError: the stored tree does not lead from the entry to the anchor.
        """
        try:
            anchor = self.covering(entry.tenant_id, entry.seq)
            return self._inclusion.proof(entry, anchor, self._fetch(entry.tenant_id))
        except IntegrityError:
            if entry.seq < begins_at(self._store.audit, entry.tenant_id):
                raise NotFound(
                    f"audit entry {entry.seq} was moved out meanwhile", parameter="receipt"
                ) from None
            raise

    def consistency(self, tenant_id: uuid.UUID, first: int, second: int) -> list[bytes]:
        """Return the proof that the log of ``first`` entries is a prefix of that of ``second``.

        Raises:
            Unavailable: the log begins behind ``first``.
        """
        base = self._store.audit.base(tenant_id)
        if base is not None and 0 < first < base.size:
            raise Unavailable(f"no proof from {first} entries: those before {base.size} moved out")
        return consistency_path(first, second, self._fetch(tenant_id))

    def check(self, note: str, tenant_id: uuid.UUID) -> Checkpoint:
        """Return the checkpoint of an anchor of ours, its signature and origin verified."""
        parsed = Note.parse(note)
        verify_note(parsed, self.keys.all(), primitives=self._primitives)
        checkpoint = Checkpoint.parse(parsed.text)
        if checkpoint.tenant_id != tenant_id:
            raise AuditIntegrityError(Problem.BAD_ANCHOR, "an anchor belongs to another log")
        return checkpoint

    def first_bad(self, tenant_id: uuid.UUID, start: int, size: int) -> tuple[int, str] | None:
        """Return the first stored anchor that is not of the stored tree, or None.

        Args:
            tenant_id: whose log.
            start: where the log begins in the store.
            size: number of entries, whose tree is sound.

        Returns:
            (last entry that the anchor covers, or the first that is gone; what is wrong).
        """
        fetch = self._fetch(tenant_id)
        for anchor in self._store.anchors.read(tenant_id, start=max(start, 1)):
            try:
                checkpoint = self.check(anchor.note, tenant_id)
            except AuditIntegrityError as error:
                return anchor.size - 1, str(error)
            if anchor.size > size:
                return self._beyond(anchor)
            if (checkpoint.size, checkpoint.root) != (anchor.size, root_at(anchor.size, fetch)):
                return anchor.size - 1, f"{Problem.REWRITTEN}: the entries are not those anchored"
        return None

    def _beyond(self, anchor: StoredAnchor) -> tuple[int, str] | None:
        """Tell an anchor of entries that are gone from one that was made meanwhile."""
        now = self._store.audit.state(anchor.tenant_id).size  # read after the anchor
        if anchor.size <= now:
            return None
        return now, f"{Problem.ROLLED_BACK}: {anchor.size} entries were anchored, not {now}"

    def check_state(self, tenant_id: uuid.UUID, note: str) -> None:
        """Check that the log, as it is now, continues an anchor that was kept elsewhere.

        Raises:
            AuditIntegrityError: ``rolled-back`` or ``forked``.
            NotFound: the anchor is of entries that were moved out since.
        """

        def check() -> None:
            state = self._store.audit.state(tenant_id)
            checkpoint = Checkpoint.of(self.keys.service, tenant_id, state)
            self._check_continues(tenant_id, note, checkpoint)

        while_it_moves(self._store.audit, tenant_id, check)

    def _check_continues(self, tenant_id: uuid.UUID, earlier: str | None, now: Checkpoint) -> None:
        if earlier is None:
            return
        before = self.check(earlier, tenant_id)
        if before.origin != now.origin:
            raise AuditIntegrityError(
                Problem.BAD_ANCHOR, f"the service was called {before.origin!r} before"
            )
        if before.size > now.size:
            raise AuditIntegrityError(
                Problem.ROLLED_BACK,
                f"the log has {now.size} entries, but {before.size} were anchored: an old "
                "backup was restored, or its end was cut off",
            )
        base = self._store.audit.base(tenant_id)
        if base is not None and 0 < before.size < base.size:
            raise NotFound(
                f"the anchor at {before.size} cannot be compared: the first {base.size} entries "
                "were moved out; qpher-core audit verify compares it, with their segments, an "
                "export and --last-anchor (docs/guide.md, When anchors stop)"
            )
        fetch = self._fetch(tenant_id)
        path = consistency_path(before.size, now.size, fetch)
        if before.size and root_at(before.size, fetch) != before.root:
            path = []  # what is stored is another history: no proof leads from the anchor
        if not verify_consistency(before.size, now.size, before.root, now.root, path):
            raise AuditIntegrityError(
                Problem.FORKED, f"the log does not continue its anchor at {before.size} entries"
            )

    def _cosignatures(self, tenant_id: uuid.UUID, note: Note, latest: int) -> list[NoteSignature]:
        """Return what the witnesses sign; one that is not required may be out of reach."""
        consistency = functools.partial(self.consistency, tenant_id)
        lines: list[NoteSignature] = []
        for witness in self._witnesses:
            try:
                lines += cosign(witness, note, latest, consistency, self._primitives)
            except Unavailable as error:
                if witness.required:
                    raise
                _log.warning("an anchor goes without a cosignature: %s", error)
        return lines

    def _keep(self, anchor: StoredAnchor, key: VerifierKey) -> StoredAnchor:
        def work(writer: StoreWriter) -> StoredAnchor:
            # Else it could come after one by the successor, as if made with a key of former times.
            self.keys.confirm(writer, key)
            latest = writer.anchors.latest(anchor.tenant_id)
            if latest is not None and latest.size >= anchor.size:
                return latest  # another node was faster; ours is never seen by anyone
            writer.anchors.insert(anchor)
            return anchor

        return record(self._store, work, tenant_id=anchor.tenant_id)

    def _publish(self, anchor: StoredAnchor) -> None:
        """Publish an anchor where it is not; what fails is tried again with the next anchor."""
        newest: StoredAnchor | None = anchor
        with self._publishing:
            while newest is not None and self._publish_one(newest):
                # Another node may have published a newer one meanwhile, which ours replaced.
                newest = self._store.anchors.latest(anchor.tenant_id)

    def _publish_one(self, anchor: StoredAnchor) -> bool:
        """Return whether it went to a publisher."""
        went = False
        for number, publisher in enumerate(self._publishers):
            place = (anchor.tenant_id, number)
            if self._published.get(place, 0) >= anchor.size:
                continue
            try:
                if not _covers(publisher.latest(anchor.tenant_id), anchor.size):
                    publisher.publish(anchor.tenant_id, anchor.note)
                    went = True
                self._published[place] = anchor.size
            except Unavailable as error:
                _log.warning("an anchor is stored but not published: %s", error)
        return went

    def _fetch(self, tenant_id: uuid.UUID) -> Fetch:
        return lambda wanted: self._store.audit.subtrees(tenant_id, wanted)


def _covers(note: str | None, size: int) -> bool:
    """Return whether another node published an anchor of at least this size meanwhile."""
    return note is not None and Checkpoint.parse(Note.parse(note).text).size >= size


class AnchorThread:
    """Anchors in the background: logs that grew by N entries at once, others every T seconds."""

    def __init__(self, store: Store, anchorer: Anchorer, settings: AnchorSettings) -> None:
        self._store = store
        self._anchorer = anchorer
        self._every = settings.every_entries
        self._seconds = settings.every_seconds
        # Unlike an event, it has no lock that a signal could leave held in the thread that commits.
        self._grown: queue.SimpleQueue[uuid.UUID | None] = queue.SimpleQueue()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start, unless the settings want no thread."""
        if self._seconds is not None:
            self._thread = threading.Thread(target=self._run, name="qpher-anchors", daemon=True)
            self._thread.start()

    def appended(self, tenant_id: uuid.UUID, seq: int) -> None:
        """Take notice of an entry; cheap, as every append calls it."""
        if (seq + 1) % self._every == 0:
            self._grown.put(tenant_id)

    def stop(self) -> None:
        """Stop and wait for an anchor under way. Idempotent."""
        self._stopped = True
        self._grown.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped:
            grown = self._wait()
            self._anchor(grown)

    def _wait(self) -> Sequence[uuid.UUID] | None:
        """Return the logs that grew by enough, or None for all of them once the time is over."""
        try:
            first = self._grown.get(timeout=self._seconds)
        except queue.Empty:
            return None
        further = [self._grown.get_nowait() for _ in range(self._grown.qsize())]
        return list({tenant_id for tenant_id in (first, *further) if tenant_id is not None})

    def _anchor(self, tenants: Sequence[uuid.UUID] | None) -> None:
        try:
            for tenant_id in self._store.anchors.logs() if tenants is None else tenants:
                if self._stopped:
                    return
                self._anchor_one(tenant_id)
        except QpherError as error:
            _log.warning("anchoring was put off: %s", error)

    def _anchor_one(self, tenant_id: uuid.UUID) -> None:
        try:
            self._anchorer.anchor(tenant_id)
        except (AuditIntegrityError, NotFound) as error:  # it stays so until somebody mends it
            _log.critical("the log of tenant %s is not anchored: %s", tenant_id, error)
        except QpherError as error:
            _log.warning("anchoring the log of tenant %s was put off: %s", tenant_id, error)
        except Exception as error:  # noqa: BLE001 - whatever a publisher raises, others go on
            # Without its text, which could hold anything.
            why = type(error).__name__
            _log.critical("the log of tenant %s is not anchored: unexpected %s", tenant_id, why)
