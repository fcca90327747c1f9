# SPDX-License-Identifier: Apache-2.0
"""The key encryption key in use: the store itself says which, for every process that opens it.

Each KEK that a store was ever sealed under has a version of the service key ``kek``. It holds no
key, only the seal of an empty seed: a check value that opens under that KEK alone. The active
version names the KEK that seals. One that was replaced is retired while records need it and
destroyed afterwards; its KEK never seals anything again.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from attrs import evolve

from qpher_core.errors import IntegrityError, ProtectorUnavailable, StateConflict
from qpher_core.lifecycle import KeyState
from qpher_core.models import SERVICE, KeyRecord, KeyRef, KeyVersion
from qpher_core.protocols import KeyRecordsWriter, Store, StoreWriter
from qpher_core.sealing import Sealer, Seed

__all__ = ["KEK_NAME", "Keks"]

KEK_NAME: Final = "kek"
_ALGORITHM: Final = "AES-256-GCM"
_ADDRESS: Final = (SERVICE, KEK_NAME, _ALGORITHM)


class Keks:
    """Tells and changes which KEK seals.

    Args:
        store: where the records are.
        sealer: makes and opens check values.
        first: returns the id of the KEK that seals a store that has none yet.
        clock: returns the time.
    """

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        *,
        first: Callable[[], str],
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._first = first
        self._clock = clock

    def current(self) -> str:
        """Return the id of the KEK that seals now. It can be another one a moment later."""
        record = self._store.service_keys.active(*_ADDRESS)
        return self._first() if record is None else record.kek_id

    def ready(self) -> str:
        """As :meth:`current`, once it can be had: a transaction that seals then waits for nothing.

        Raises:
            ProtectorUnavailable: it cannot be had.
        """
        kek_id = self.current()
        self._sealer.warm(SERVICE, kek_id)
        if self._store.service_keys.active(*_ADDRESS) is None:
            kek_id = self._store.commit(self._install, tenant_id=SERVICE)
        return kek_id

    def sealing(self, writer: StoreWriter) -> str:
        """Return the id of the KEK that seals in this transaction.

        Raises:
            ProtectorUnavailable: it cannot be had, or is not the one that it was.
        """
        record = writer.service_keys.active(*_ADDRESS)
        if record is None:
            raise ProtectorUnavailable("the record that names the KEK of this store is gone")
        self._check(record)
        return record.kek_id

    def change(self, writer: StoreWriter, kek_id: str) -> None:
        """Seal under another KEK from this transaction on.

        Raises:
            StateConflict: it was in use before and was replaced.
        """
        self._install(writer)
        former = None
        for record in _versions(writer.service_keys):
            if record.key.state is KeyState.ACTIVE:
                former = record
            elif record.kek_id == kek_id and record.key.state is KeyState.DESTROYED:
                raise StateConflict(f"the KEK {kek_id} was replaced and does not come back")
        if former is None or former.kek_id != kek_id:
            if former is not None:
                self._move(writer.service_keys, former, KeyState.RETIRED)
            self._insert(writer.service_keys, kek_id)

    def replaced(self) -> list[str]:
        """Return the ids of the KEKs that no record needs any more, in the order of their use."""
        current = self.current()
        gone = [r.kek_id for r in self._records() if r.key.state is KeyState.DESTROYED]
        return [kek_id for kek_id in dict.fromkeys(gone) if kek_id != current]

    def release(self, writer: StoreWriter, needed: frozenset[str]) -> list[str]:
        """Give up the replaced KEKs that are not in ``needed``; return the ids of all of them."""
        every = list(_versions(writer.service_keys))
        kept = needed.union(r.kek_id for r in every if r.key.state is KeyState.ACTIVE)
        for record in every:
            if record.key.state is KeyState.RETIRED and record.kek_id not in kept:
                self._move(writer.service_keys, record, KeyState.DESTROYED)
        return list(dict.fromkeys(r.kek_id for r in every if r.kek_id not in kept))

    def _install(self, writer: StoreWriter) -> str:
        """Name the first KEK, unless another process was faster."""
        if writer.service_keys.active(*_ADDRESS) is None:
            return self._insert(writer.service_keys, self._first())
        return self.sealing(writer)

    def _records(self) -> Iterator[KeyRecord]:
        yield from self._store.service_keys.find(SERVICE, name=KEK_NAME, algorithm=_ALGORITHM)

    def _insert(self, writer: KeyRecordsWriter, kek_id: str) -> str:
        ref = KeyRef(*_ADDRESS, writer.next_version(*_ADDRESS))
        now = self._clock()
        key = KeyVersion(ref, KeyState.ACTIVE, kek_id.encode(), now, now, "", 1)
        writer.insert(self._sealer.seal(key, Seed(b"", _ALGORITHM, key.public_key), kek_id))
        return kek_id

    def _move(self, writer: KeyRecordsWriter, record: KeyRecord, to: KeyState) -> None:
        before = record.key
        key = evolve(
            before, state=to, changed_at=self._clock(), reason="", revision=before.revision + 1
        )
        if to is KeyState.DESTROYED:
            moved = KeyRecord(key, record.kek_id, None)
        else:
            moved = self._sealer.reseal(record, key, record.kek_id)
        writer.replace(moved, revision=before.revision)

    def _check(self, record: KeyRecord) -> None:
        try:
            self._sealer.authenticate(record)
        except IntegrityError:
            raise ProtectorUnavailable(
                f"the protector does not give the KEK {record.kek_id} that sealed this store, or "
                "the record that names it was altered"
            ) from None


def _versions(writer: KeyRecordsWriter) -> Iterator[KeyRecord]:
    for version in range(1, writer.next_version(*_ADDRESS)):
        record = writer.get(KeyRef(*_ADDRESS, version))
        if record is not None:
            yield record
