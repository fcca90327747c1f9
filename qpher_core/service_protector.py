# SPDX-License-Identifier: Apache-2.0
"""``kms.protector``: the key encryption keys, for the holder of the service."""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from qpher_core.calls import Effect
from qpher_core.errors import IntegrityError, StateConflict
from qpher_core.keks import KEK_NAME, Keks
from qpher_core.models import (
    OPERATOR,
    SERVICE,
    KeyRecord,
    KeyRef,
    ProtectorStatus,
    RequestContext,
    RewrapReport,
    canonical_json,
)
from qpher_core.operations import OPERATIONS
from qpher_core.pipeline import Pipeline
from qpher_core.protectors import Protectors
from qpher_core.protocols import KeyProtector, KeyRecords, Store, StoreWriter
from qpher_core.sealing import Sealer

__all__ = ["Protector"]

_PAGE: Final = 100  # records that are moved in one commit

#: Called with (records done, records in all).
Progress = Callable[[int, int], None]


class Protector:
    """The key encryption keys (KEKs) of a store, and moving its records from one to another."""

    def __init__(
        self,
        store: Store,
        pipeline: Pipeline,
        protectors: Protectors,
        sealer: Sealer,
        keks: Keks,
    ) -> None:
        self._store = store
        self._pipeline = pipeline
        self._protectors = protectors
        self._sealer = sealer
        self._keks = keks

    def status(self) -> ProtectorStatus:
        """Count the records under each KEK. It reads all of them."""
        counts = Counter(record.kek_id for page in self._pages() for record in page)
        return ProtectorStatus(self._keks.current(), dict(counts), tuple(self._keks.replaced()))

    def use(
        self, target: str | KeyProtector | None = None, *, actor: str | RequestContext = OPERATOR
    ) -> str:
        """Seal under another KEK from now on, in every process; return its id.

        Records move to it when their state changes, or with :meth:`rewrap`. Until no record
        needs the KEK before, the service opens only with both.

        Args:
            target: URL of a protector, which makes a KEK if it has none, or a ready-made one;
                without it, the first protector of the service makes a second KEK.
            actor: who does it, for the audit log.

        Raises:
            ProtectorUnavailable: the KEK cannot be had.
            StateConflict: this KEK was in use before and was replaced.
            ValidationError: the URL is not one, or the protector makes no second KEK.
        """
        if target is None:
            kek_id = self._protectors.renew()
        else:
            kek_id = self._protectors.add(target, create=True)
        self._sealer.warm(SERVICE, kek_id)

        def change(writer: StoreWriter) -> Effect[str]:
            self._keks.change(writer, kek_id)
            return Effect(kek_id, kek_id.encode())

        return self._pipeline.administer(OPERATIONS["protector.use"], SERVICE, actor, change)

    def rewrap(
        self,
        target: str | KeyProtector | None = None,
        *,
        progress: Progress | None = None,
        actor: str | RequestContext = OPERATOR,
    ) -> RewrapReport:
        """Seal every record under the KEK in use, the service's own keys included.

        The service goes on meanwhile, and so do others that hold both KEKs. What was moved stays
        moved: after an interruption the next call goes on with the rest. Afterwards the former
        KEKs seal nothing, and no key here needs them; backups of the store may, and for a day
        answers that are remembered for idempotency keys.

        Args:
            target: a KEK to use first, as for :meth:`use`.
            progress: called after each page of records.
            actor: who does it, for the audit log.

        Raises:
            ProtectorUnavailable: a KEK cannot be had; no record is lost.
            StateConflict: someone else chose another KEK meanwhile.
        """
        if target is not None:
            self.use(target, actor=actor)
        kek_id = self._keks.ready()
        total = 0
        if progress is not None:
            total = sum(len(_under_others(page, kek_id)) for page in self._pages())
        done, moved, damaged = 0, 0, list[KeyRef]()
        for page in self._pages(settled=True):
            stale = _under_others(page, kek_id)
            resealed = list(self._reseal(stale, kek_id, damaged))
            if resealed:
                moved += self._swap(resealed, kek_id)
            if stale:
                done += len(stale)
                if progress is not None:
                    progress(done, max(done, total))
        return self._finish(kek_id, moved, damaged, actor)

    # --- how -----------------------------------------------------------------------------------

    def _pages(self, *, settled: bool = False) -> Iterator[Sequence[KeyRecord]]:
        """Yield all sealed records, of the service and of every tenant, a page at a time.

        Args:
            settled: whether none may be missing that is still being made.
        """
        yield from self._pages_of(self._store.service_keys, SERVICE)
        for tenant in self._store.tenants.all():
            # Whoever began before the choice of the KEK may still seal under the former one:
            # commits for one tenant go one at a time, so after this one nobody does.
            if settled:
                self._store.commit(lambda _: None, tenant_id=tenant.id)
            yield from self._pages_of(self._store.keys, tenant.id)

    def _pages_of(self, records: KeyRecords, tenant_id: uuid.UUID) -> Iterator[Sequence[KeyRecord]]:
        after: KeyRef | None = None
        while found := records.find(tenant_id, after=after, limit=_PAGE):
            yield [r for r in found if r.sealed is not None and not _is_check_value(r.key.ref)]
            after = found[-1].key.ref

    def _reseal(
        self, stale: Sequence[KeyRecord], kek_id: str, damaged: list[KeyRef]
    ) -> Iterator[tuple[KeyRecord, KeyRecord]]:
        """Yield (record, the same under the new KEK); outside a commit, as KEKs may be far."""
        for record in stale:
            try:
                yield record, self._sealer.reseal(record, record.key, kek_id)
            except IntegrityError:
                damaged.append(record.key.ref)

    def _swap(self, resealed: Sequence[tuple[KeyRecord, KeyRecord]], kek_id: str) -> int:
        """Store what was sealed anew; a record that changed meanwhile was sealed anew by that."""
        tenant_id = resealed[0][0].key.ref.tenant_id

        def work(writer: StoreWriter) -> int:
            self._check_chosen(writer, kek_id)
            swapped = 0
            records = writer.service_keys if tenant_id == SERVICE else writer.keys
            for before, after in resealed:
                if records.get(before.key.ref) == before:
                    swapped += records.replace(after, revision=before.key.revision)
            return swapped

        return self._store.commit(work, tenant_id=tenant_id)

    def _check_chosen(self, writer: StoreWriter, kek_id: str) -> None:
        if self._keks.sealing(writer) != kek_id:
            raise StateConflict(f"another KEK than {kek_id} was chosen meanwhile")

    def _finish(
        self, kek_id: str, moved: int, damaged: Sequence[KeyRef], actor: str | RequestContext
    ) -> RewrapReport:
        own = (r.kek_id for page in self._pages_of(self._store.service_keys, SERVICE) for r in page)
        needed = self._store.keys.kek_ids() | frozenset(own)

        def change(writer: StoreWriter) -> Effect[RewrapReport]:
            self._check_chosen(writer, kek_id)  # or one may be needed again by now
            released = self._keks.release(writer, needed)
            report = RewrapReport(kek_id, moved, tuple(damaged), tuple(released))
            document = {
                "damaged": len(damaged),
                "kek": kek_id,
                "moved": moved,
                "replaced": list(released),
            }
            return Effect(report, canonical_json(document))

        return self._pipeline.administer(OPERATIONS["protector.rewrap"], SERVICE, actor, change)


def _under_others(page: Sequence[KeyRecord], kek_id: str) -> list[KeyRecord]:
    return [record for record in page if record.kek_id != kek_id]


def _is_check_value(ref: KeyRef) -> bool:
    return ref.tenant_id == SERVICE and ref.name == KEK_NAME
