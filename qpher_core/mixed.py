# SPDX-License-Identifier: Apache-2.0
"""Keys in one store, the audit log in another (docs/decisions/0005-mixed-stores.md).

A use of a key is one commit of the audit store. A change of keys is durable in the audit store
first, as its entries and an *intent*, and then in the key store, with the same intent as a mark
that the change was made. An intent without its mark is a change that never happened: before
anything else is recorded, an entry says so. So nothing is changed that the log does not tell, and
what the log tells is true or taken back by the next entry that anyone records.
"""

import contextlib
import itertools
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TypeVar, cast

from qpher_core.audit.entry import EntryDraft, KeyAddress, build_entry
from qpher_core.discovery import open_store as open_any
from qpher_core.errors import StoreUnavailable, ValidationError
from qpher_core.mixed_writers import MixedAnchors, MixedWriter, Recorder
from qpher_core.models import AuditEntry, Intent
from qpher_core.protocols import (
    AnchorRecords,
    ApiKeyRecords,
    AuditRecords,
    AuditRecordsWriter,
    IdempotencyRecords,
    IntentRecordsWriter,
    KeyRecords,
    Participant,
    ParticipantWriter,
    PolicyRecords,
    Store,
    StoreWriter,
    TenantDirectory,
)
from qpher_core.together import Recording, gathered

__all__ = ["MixedStore", "mix", "open_pair", "open_store", "record"]

T = TypeVar("T")

_KEYS: Final = "mixed:keys="
_AUDIT: Final = " audit="

_VOID: Final = "ERR_SERVICE_001: entry {} was not carried out: the key store did not commit"

#: Times that a change is begun, each after the audit store lost the one before.
_ATTEMPTS: Final = 10


class _Unsettled(Exception):  # noqa: N818 - a signal, not an error
    """Another change may be under way, or was cut short."""


class _Repeated(Exception):  # noqa: N818 - a signal, not an error
    """The audit store begins its transaction again: what is done in that of the keys must go."""


class MixedStore:
    """Implements ``Store`` over two others: keys, tenants and policies in one, the log in another.

    Either may be of any kind. While the audit store does not answer nothing is done at all.
    """

    def __init__(self, keys: Participant, audit: Participant) -> None:
        self._keys_store = keys
        self._audit_store = audit
        #: Changes go alone, and ahead of the stores' own locks: between processes those suffice.
        self._changing = threading.Lock()
        self._changer: int | None = None  # the thread that holds it; only it finds itself here
        #: Where readers of keys wait for commits, uses must not meet a change in mid-air.
        self._using = self._changing if keys.readers_wait else contextlib.nullcontext()
        self.keys: KeyRecords = keys.keys
        self.service_keys: KeyRecords = keys.service_keys
        self.tenants: TenantDirectory = keys.tenants
        self.policies: PolicyRecords = keys.policies
        self.api_keys: ApiKeyRecords = keys.api_keys
        self.idempotency: IdempotencyRecords = keys.idempotency
        self.audit: AuditRecords = audit.audit
        self.anchors: AnchorRecords = cast(
            "AnchorRecords", MixedAnchors(audit.anchors, keys.anchors)
        )

    def __repr__(self) -> str:
        return f"<MixedStore keys={self._keys_store!r} audit={self._audit_store!r}>"

    def settle(self) -> None:
        """Take back what a crash left unfinished, as the next commit would."""
        if self._keys_store.intents.all() or self._audit_store.intents.all():
            self.commit(lambda _: None)

    @property
    def default_protector(self) -> str:
        """That of the key store."""
        return self._keys_store.default_protector

    @property
    def local(self) -> bool:
        """Whether reading either waits for no network."""
        both = (self._keys_store, self._audit_store)
        return all(getattr(store, "local", False) for store in both)

    def commit(
        self,
        work: Callable[[StoreWriter], T],
        *,
        tenant_id: uuid.UUID | None = None,  # noqa: ARG002 - a change goes alone
    ) -> T:
        """Run ``work`` in a transaction of each store; the audit store commits first."""
        if self._changer == threading.get_ident():
            raise RuntimeError("work must not commit: it is inside a commit already")
        with self._changing:
            self._changer = threading.get_ident()
            try:
                return self._change(work)
            except StoreUnavailable:
                # What the log tells already is taken back at once, if that is possible.
                with contextlib.suppress(StoreUnavailable):
                    if self._audit_store.intents.all():
                        self._change(lambda _: None)
                raise
            finally:
                self._changer = None

    def record(self, work: Callable[[StoreWriter], T], *, tenant_id: uuid.UUID | None = None) -> T:
        """Run ``work``, which appends to the log and changes nothing else: one durable commit.

        Keys can change while it runs, but their change is in the log by then, as an intent.
        """

        def recording(audit: ParticipantWriter) -> T:
            if audit.intents.all():
                raise _Unsettled
            return work(cast("StoreWriter", Recorder(self._keys_store, audit)))

        try:
            with self._using:
                return self._audit_store.commit(recording, tenant_id=tenant_id)
        except _Unsettled:
            return self.commit(work)

    def close(self) -> None:
        """Close both stores."""
        self._keys_store.close()
        self._audit_store.close()

    def _change(self, work: Callable[[StoreWriter], T]) -> T:
        """Run ``work`` in a transaction of each store: new ones of both if that of the log is."""
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(_Repeated):
                return self._keys_store.commit(lambda keys: self._commit(keys, work))
        raise StoreUnavailable(f"the audit store lost {_ATTEMPTS} transactions one after another")

    def _commit(self, keys: ParticipantWriter, work: Callable[[StoreWriter], T]) -> T:
        """Run ``work`` inside a transaction of the key store; the log is durable on return."""
        runs = itertools.count()

        def inside(audit: ParticipantWriter) -> T:
            if next(runs):
                raise _Repeated
            self._settle(keys.intents, audit)
            writer = MixedWriter(keys, audit)
            value = work(cast("StoreWriter", writer))
            if writer.changed and writer.audit.entries:
                intent = Intent(uuid.uuid4(), tuple(writer.audit.entries))
                audit.intents.add(intent)
                keys.intents.add(intent)
            return value

        return self._audit_store.commit(inside)

    def _settle(self, marks: IntentRecordsWriter, audit: ParticipantWriter) -> None:
        """Take back what never happened. Whoever holds both locks is alone: none is under way."""
        made = {intent.id for intent in marks.all()}
        for intent in audit.intents.all():
            if intent.id not in made:
                for tenant_id, seq in intent.entries:
                    self._take_back(audit.audit, tenant_id, seq)
            audit.intents.remove(intent.id)
        for intent_id in made:
            marks.remove(intent_id)

    def _take_back(self, audit: AuditRecordsWriter, tenant_id: uuid.UUID, seq: int) -> None:
        """Append the entry that says that another one was not carried out."""
        for entry in self._audit_store.audit.read(tenant_id, start=seq, limit=1):
            size, head = audit.head(tenant_id)
            audit.append(
                build_entry(
                    _draft_of(entry, _VOID.format(seq)),
                    tenant_id=tenant_id,
                    seq=size,
                    prev_hash=head,
                    time=datetime.now(UTC),
                )
            )


def _draft_of(entry: AuditEntry, reason: str) -> EntryDraft:
    fields = entry.fields
    key = fields["key"]
    return EntryDraft(
        actor=fields["actor"],
        action=fields["action"],
        key=None if key is None else KeyAddress(key["name"], key["algorithm"], key["version"]),
        outcome="failed",
        reason=reason,
        request_id=fields["request_id"],
        context=None if fields["context"] is None else bytes.fromhex(fields["context"]),
        content=None,
    )


def record(
    store: Store, work: Callable[[StoreWriter], T], *, tenant_id: uuid.UUID | None = None
) -> T:
    """Commit work that only appends to the log; with that of others, if the thread gathers it."""
    commit = store.record if isinstance(store, MixedStore) else store.commit
    gather = gathered()
    if gather is None:
        return commit(work, tenant_id=tenant_id)
    value: T = gather(Recording(commit, work, tenant_id))
    return value


def mix(keys: Store, audit: Store) -> MixedStore:
    """Return a store of two.

    Raises:
        ValidationError: one of them cannot take part, or both are the same.
    """
    for store, parameter in ((keys, "keys"), (audit, "audit")):
        if not hasattr(store, "intents"):
            raise ValidationError(
                f"the store of the {parameter} cannot be mixed with another: it keeps no intents",
                parameter=parameter,
            )
    both = cast("Participant", keys), cast("Participant", audit)
    if type(keys) is type(audit) and _are_one(*both):
        raise ValidationError(
            "audit must be another store than that of the keys, or be left out", parameter="audit"
        )
    return MixedStore(*both)


def _are_one(keys: Participant, audit: Participant) -> bool:
    """Return whether what one of two stores keeps is in the other.

    Such a commit would wait for itself. URLs and paths do not tell: there are links, relative
    paths, and several addresses of one server. A mark that a crash leaves here is of no change,
    and goes with the next one.
    """
    mark = Intent(uuid.uuid4(), ())
    keys.commit(lambda writer: writer.intents.add(mark))
    try:
        return any(intent.id == mark.id for intent in audit.intents.all())
    finally:
        keys.commit(lambda writer: writer.intents.remove(mark.id))


def open_pair(keys: str | Store, audit: str | Store, *, parameter: str) -> MixedStore:
    """Open two stores, or take ready-made ones, and return a store of both.

    Args:
        keys: where the keys are.
        audit: where the audit log is.
        parameter: the caller's name of ``keys``.

    Raises:
        ValidationError: as :func:`mix`, or a URL is none. Neither store stays open.
    """
    with contextlib.ExitStack() as opened:
        here = open_any(keys, parameter=parameter)
        opened.callback(here.close)
        there = open_any(audit, parameter="audit")
        opened.callback(there.close)
        mixed = mix(here, there)
        opened.pop_all()
    return mixed


def open_store(url: str) -> MixedStore:
    """Open ``mixed:keys=<URL> audit=<URL>``; the entry point."""
    keys_url, separator, audit_url = url.removeprefix(_KEYS).partition(_AUDIT)
    if not url.startswith(_KEYS) or not separator or _AUDIT in audit_url:
        raise ValidationError("url must be 'mixed:keys=<URL> audit=<URL>'", parameter="url")
    return open_pair(keys_url, audit_url, parameter="keys")
