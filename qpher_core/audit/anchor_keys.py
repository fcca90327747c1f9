# SPDX-License-Identifier: Apache-2.0
"""The service's own keys that sign anchors. They belong to no tenant.

The key ``anchor`` signs notes; each version after the first is introduced by a statement that its
predecessor signed. The key ``cosigner`` adds the C2SP cosignature in ML-DSA-44; under the
profile ``cnsa2``, which does not admit that algorithm, it is left out.
"""

import json
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol, TypeVar

from qpher_core.audit.entry import digest
from qpher_core.audit.note import Note
from qpher_core.audit.trust import COSIGNER, STATEMENT
from qpher_core.audit.vkey import SIGNATURE_TYPES, NoteSigner, VerifierKey
from qpher_core.calls import Change, Effect, KeyChanged
from qpher_core.errors import StateConflict
from qpher_core.keystore import SealedKeyStore
from qpher_core.lifecycle import KeyState
from qpher_core.models import BY_ITSELF, SERVICE, KeyVersion, rfc3339
from qpher_core.operations import OPERATIONS, Operation
from qpher_core.protocols import Store, StoreWriter

__all__ = ["Administrator", "AnchorKeys"]

T = TypeVar("T")

_OPERATION: Final = OPERATIONS["anchors.rotate"]
_ANCHOR: Final = "anchor"
_COSIGNER: Final = "cosigner"
_COSIGNER_ALGORITHM: Final = "ML-DSA-44"
_AT_ONCE: Final = "the anchor key was rotated at the same moment; look again"


class Administrator(Protocol):
    """The part of the pipeline that the holder of the service uses."""

    def administer(
        self, operation: Operation, tenant_id: uuid.UUID, actor: str, change: Change[T]
    ) -> T:
        """Commit a change together with its audit entry."""


class AnchorKeys:
    """Makes, opens and rotates the anchor keys. Thread-safe."""

    def __init__(
        self,
        store: Store,
        keys: SealedKeyStore,
        pipeline: Administrator,
        *,
        service: str | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._keys = keys
        self._pipeline = pipeline
        self._service = service
        self._clock = clock

    @property
    def service(self) -> str:
        """Name of the service in origins and key names.

        The one that was chosen, or ``qpher-`` and the beginning of the digest of the first
        anchor key: it never changes, and no other service has it.
        """
        if self._service is None:
            first = self._current() if not (made := self._made()) else made[0]
            identifier = digest(first.public_key) or b""
            self._service = f"qpher-{identifier[:8].hex()}"
        return self._service

    def signers(self) -> list[NoteSigner]:
        """Return who signs the next anchor: the anchor key, then the cosigner.

        Raises:
            KeyChanged: the anchor key was rotated between looking it up and opening it.
        """
        current = self._current()
        if current.algorithm != self._wanted():
            current = self._rotate(current, BY_ITSELF)  # the profile of the service changed
        signers = [self._signer(self.service, current)]
        if current.algorithm != "ML-DSA-87":
            cosigner = self._active(_COSIGNER, _COSIGNER_ALGORITHM)
            signers.append(self._signer(f"{self.service}{COSIGNER}", cosigner))
        return signers

    def confirm(self, writer: StoreWriter, key: VerifierKey) -> None:
        """Raise ``KeyChanged`` if another key signs anchors by now."""
        active = writer.service_keys.active(SERVICE, _ANCHOR, key.type.algorithm)
        if active is None or active.key.public_key != key.public_key:
            raise KeyChanged

    def current(self) -> VerifierKey:
        """Return the public key that signs anchors now."""
        return self._verifier(self.service, self._current())

    def all(self) -> list[VerifierKey]:
        """Return every anchor key that ever was, oldest first, and then the cosigner's."""
        self._current()
        keys = [self._verifier(self.service, key) for key in self._made()]
        cosigners = self._keys.find(SERVICE, name=_COSIGNER)
        return keys + [self._verifier(f"{self.service}{COSIGNER}", key) for key in cosigners]

    def rotate(self, actor: str) -> VerifierKey:
        """Replace the anchor key; the old one signs a statement that names the new one.

        Without a key yet, the first one is made.
        """
        active = self._keys.find(SERVICE, name=_ANCHOR, state=KeyState.ACTIVE)
        if active:
            made = self._rotate(active[0], actor)
        else:
            made = self._active(_ANCHOR, self._wanted(), actor)
        return self._verifier(self.service, made)

    def _rotate(self, old: KeyVersion, actor: str) -> KeyVersion:
        service, now = self.service, self._clock()
        prepared = self._keys.prepare(SERVICE, self._wanted())
        new_key = VerifierKey(service, SIGNATURE_TYPES[prepared.algorithm], prepared.public_key)
        old_key = self._verifier(service, old)
        text = f"{STATEMENT}\nold {old_key}\nnew {new_key}\ntime {rfc3339(now)}\n"
        try:
            note = str(Note(text).signed(self._signer(service, old).sign(text)))
        except KeyChanged:
            raise StateConflict(_AT_ONCE) from None

        def change(writer: StoreWriter) -> Effect[KeyVersion]:
            if not self._keys.confirm(writer, old):
                raise StateConflict(_AT_ONCE)
            self._keys.transition(writer, old, KeyState.RETIRED, now=now, reason="rotated")
            added = self._keys.add(writer, SERVICE, _ANCHOR, prepared, now=now)
            writer.anchors.add_statement(note)
            return Effect(added, note.encode())

        return self._pipeline.administer(_OPERATION, SERVICE, actor, change)

    def _wanted(self) -> str:
        """Return the algorithm of the anchor key: what the service's own rules admit."""
        document = self._store.policies.get(None)
        rules = json.loads(document.rules) if document else []
        cnsa2 = any(rule.get("profile") == "cnsa2" for rule in rules if isinstance(rule, dict))
        return "ML-DSA-87" if cnsa2 else "ML-DSA-65"

    def _made(self) -> list[KeyVersion]:
        return sorted(self._keys.find(SERVICE, name=_ANCHOR), key=lambda key: key.created_at)

    def _current(self) -> KeyVersion:
        active = self._keys.find(SERVICE, name=_ANCHOR, state=KeyState.ACTIVE)
        return active[0] if active else self._active(_ANCHOR, self._wanted())

    def _active(self, name: str, algorithm: str, actor: str = BY_ITSELF) -> KeyVersion:
        """Return the active key; whoever needs the first one makes it."""
        key = self._keys.active(SERVICE, name, algorithm)
        if key is not None:
            return key
        prepared = self._keys.prepare(SERVICE, algorithm)

        def change(writer: StoreWriter) -> Effect[KeyVersion]:
            if writer.service_keys.active(SERVICE, name, algorithm) is not None:
                raise StateConflict("another process made the key at the same moment")
            now = self._clock()
            added = self._keys.add(writer, SERVICE, name, prepared, now=now)
            return Effect(added, added.public_key)

        try:
            return self._pipeline.administer(_OPERATION, SERVICE, actor, change)
        except StateConflict:
            return self._active(name, algorithm, actor)

    def _verifier(self, name: str, key: KeyVersion) -> VerifierKey:
        return VerifierKey(name, SIGNATURE_TYPES[key.algorithm], key.public_key)

    def _signer(self, name: str, key: KeyVersion) -> NoteSigner:
        return NoteSigner(self._verifier(name, key), self._keys.open_signing(key), time.time)
