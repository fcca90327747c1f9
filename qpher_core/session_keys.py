# SPDX-License-Identifier: Apache-2.0
"""``session.keys``: generating key versions and moving them through their states."""

import uuid
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from attrs import evolve, frozen

from qpher_core.algorithms import Algorithm, find
from qpher_core.calls import (
    Call,
    Change,
    Effect,
    KeyCall,
    KeyChanged,
    KeySelector,
    Overtaken,
    Result,
    Runner,
)
from qpher_core.errors import StateConflict, ValidationError
from qpher_core.key_evidence import KeyEvidence
from qpher_core.key_usage import LogUsage
from qpher_core.lifecycle import KeyState, restored
from qpher_core.models import ImportParameters, KeyVersion, RequestContext
from qpher_core.operations import OPERATIONS
from qpher_core.protocols import KeyStore, PreparedKey, StoreWriter
from qpher_core.results import RotateResult
from qpher_core.validation import check_bytes, check_count, check_name, check_text, check_version

__all__ = ["Keys", "rotation"]

_LONGEST_REASON = 1024


@frozen
class Keys:
    """Key versions of one tenant, addressed by name, algorithm and version.

    Every method raises ``ValidationError`` for bad parameters, ``NotFound`` for keys that do
    not exist or are another tenant's, ``StateConflict`` where the state table forbids it,
    ``PermissionDenied``, ``PolicyUnavailable``, ``AuditUnavailable`` and ``StoreUnavailable``.
    """

    _pipeline: Runner
    _keys: KeyStore
    _context: RequestContext
    _uses: LogUsage

    def generate(self, algorithm: str, *, name: str = "default") -> KeyVersion:
        """Generate a key version and make it active; one that was active is retired."""
        selector = _selector(name, algorithm)
        tenant_id, row = self._context.tenant_id, selector.algorithm
        return self._make(
            "generate", selector, lambda: self._keys.prepare(tenant_id, row.name), reason=""
        )

    def import_parameters(self) -> ImportParameters:
        """Return what a private key of one's own is wrapped with.

        ``qpher_core.wrap_private_key`` does that, also on a machine without a connection.
        """
        call = Call(
            operation=OPERATIONS["keys.import_parameters"],
            execute=lambda: Effect(self._keys.import_parameters(self._context.tenant_id)),
        )
        return self._pipeline.read(self._context, call)

    def import_key(self, algorithm: str, wrapped: bytes, *, name: str = "default") -> KeyVersion:
        """Store a private key that the caller brings, as :meth:`generate` stores a fresh one.

        It opens only for the tenant, name and algorithm that it was wrapped for, and is checked:
        its form (FIPS 203 section 7.3, FIPS 204), and that both its halves belong together.

        Raises:
            DecryptionFailed: it was wrapped for something else, or to a key that is gone.
            ValidationError: it is no valid private key of the algorithm.
            StateConflict: it is there already, as a version of this key.
        """
        selector = _selector(name, algorithm)
        tenant_id, row = self._context.tenant_id, selector.algorithm
        data = check_bytes(wrapped, "wrapped")

        def prepare() -> PreparedKey:
            prepared = self._keys.prepare_import(tenant_id, selector.name, row.name, data)
            for key in self._keys.find(tenant_id, name=selector.name, algorithm=row.name):
                _check_new(prepared, key)
            return prepared

        return self._make("import", selector, prepare, reason="imported", wrapped=data)

    def rotate(self, algorithm: str, *, name: str = "default") -> RotateResult:
        """Replace the active key version by a new one; the old one is retired."""
        done = self._pipeline.run(self._context, rotation(self._keys, _selector(name, algorithm)))
        new, old_version = done.value
        return RotateResult(
            public_key=new.public_key, old_key_version=old_version, key=new, **done.common
        )

    def suspend(
        self, algorithm: str, key_version: int, *, name: str = "default", reason: str = ""
    ) -> KeyVersion:
        """Stop protecting with an active key for now; processing goes on."""
        return self._move("suspend", KeyState.SUSPENDED, algorithm, key_version, name, reason)

    def resume(
        self, algorithm: str, key_version: int, *, name: str = "default", reason: str = ""
    ) -> KeyVersion:
        """Make a suspended key active again, if no other version is."""
        return self._move("resume", KeyState.ACTIVE, algorithm, key_version, name, reason)

    def retire(
        self,
        algorithm: str,
        key_version: int,
        *,
        name: str = "default",
        reason: str = "",
        force: bool = False,
    ) -> KeyVersion:
        """Stop protecting with a key for good; processing goes on.

        Warns (``KeyStillNeeded``) where that stops callers; not with ``force``.
        """
        return self._move(
            "retire", KeyState.RETIRED, algorithm, key_version, name, reason, force=force
        )

    def archive(
        self, algorithm: str, key_version: int, *, name: str = "default", reason: str = ""
    ) -> KeyVersion:
        """Stop every use of a retired or compromised key; it can be restored."""
        return self._move("archive", KeyState.ARCHIVED, algorithm, key_version, name, reason)

    def restore(
        self, algorithm: str, key_version: int, *, name: str = "default", reason: str = ""
    ) -> KeyVersion:
        """Make an archived key retired again, so that it can process.

        One that was ever compromised becomes compromised again.
        """
        return self._move("restore", None, algorithm, key_version, name, reason)

    def compromise(
        self, algorithm: str, key_version: int, *, name: str = "default", reason: str = ""
    ) -> KeyVersion:
        """Mark a key as compromised: it processes only with ``accept_compromised=True``."""
        return self._move("compromise", KeyState.COMPROMISED, algorithm, key_version, name, reason)

    def destroy(
        self,
        algorithm: str,
        key_version: int,
        *,
        name: str = "default",
        reason: str = "",
        force: bool = False,
    ) -> KeyVersion:
        """Erase the private key for good; the record and the public key stay.

        Warns (``KeyStillNeeded``) where something is known to depend on it; not with ``force``.

        Copies in backups of the store are not reached; the storage may keep the erased bytes
        until it reuses their place.
        """
        return self._move(
            "destroy", KeyState.DESTROYED, algorithm, key_version, name, reason, force=force
        )

    def evidence(self, algorithm: str, key_version: int, *, name: str = "default") -> KeyEvidence:
        """Return what is known to depend on a key version; it needs what reading the log needs.

        A service elsewhere hands over the log for it: ask seldom.
        """
        call = KeyCall(
            operation=OPERATIONS["audit.read"],
            selector=_selector(name, algorithm, check_version(key_version)),
            execute=lambda key: Effect(self._evidence(key)),
        )
        return self._pipeline.read(self._context, call)

    def get(self, algorithm: str, key_version: int, *, name: str = "default") -> KeyVersion:
        """Return one key version."""
        return self._read(_selector(name, algorithm, check_version(key_version)))

    def active(self, algorithm: str, *, name: str = "default") -> KeyVersion:
        """Return the active key version."""
        return self._read(_selector(name, algorithm))

    def list(
        self,
        algorithm: str | None = None,
        *,
        name: str | None = None,
        state: KeyState | str | None = None,
        after: KeyVersion | None = None,
        limit: int | None = None,
    ) -> Sequence[KeyVersion]:
        """Return the key versions that match, ordered by name, algorithm and version.

        Args:
            algorithm: only this algorithm.
            name: only this name.
            state: only this state.
            after: only what follows this key version: the last of the page before.
            limit: at most so many.
        """
        row = None if algorithm is None else find(algorithm).name
        wanted_name = None if name is None else check_name(name, "name")
        wanted_state = None if state is None else _state(state)
        last = None if after is None else after.ref
        if limit is not None:
            check_count(limit, "limit")
        call = Call(
            operation=OPERATIONS["keys.list"],
            execute=lambda: Effect(
                self._keys.find(
                    self._context.tenant_id,
                    name=wanted_name,
                    algorithm=row,
                    state=wanted_state,
                    after=last,
                    limit=limit,
                )
            ),
        )
        return self._pipeline.read(self._context, call)

    # --- how -----------------------------------------------------------------------------------

    def _make(
        self,
        action: str,
        selector: KeySelector,
        prepare: Callable[[], PreparedKey],
        *,
        reason: str,
        wrapped: bytes = b"",
    ) -> KeyVersion:
        """Add a key version; where one is active this is a rotation, and needs what one needs."""
        address = (self._context.tenant_id, selector.name, selector.algorithm.name)
        rotates = False

        def features() -> frozenset[str]:
            nonlocal rotates
            rotates = self._keys.active(*address) is not None
            return frozenset({"rotation"}) if rotates else frozenset()

        def execute() -> Change[KeyVersion]:
            prepared = prepare()

            def change(writer: StoreWriter) -> Effect[KeyVersion]:
                active = writer.keys.active(*address)
                if active is not None and not rotates:
                    raise KeyChanged
                if active is not None:
                    _check_new(prepared, active.key)
                old = active.key if active else None
                return _succeed(self._keys, writer, address[:2], prepared, old, reason)

            return change

        call = Call(
            operation=OPERATIONS[f"keys.{action}"],
            selector=selector,
            features=features,
            payload_bytes=len(wrapped),
            reason=reason,
            inputs={"wrapped": wrapped},
            execute=execute,
        )
        return self._received(self._pipeline.run(self._context, call))

    def _move(
        self,
        action: str,
        target: KeyState | None,
        algorithm: str,
        key_version: int,
        name: str,
        reason: str,
        *,
        force: bool = True,
    ) -> KeyVersion:
        """Move one key version to another state; without a target, to where it is restored."""
        selector = _selector(name, algorithm, check_version(key_version))
        text = check_text(reason, "reason", longest=_LONGEST_REASON, least=0)

        def execute(key: KeyVersion) -> Change[KeyVersion]:
            if not force and (needed := self._evidence(key).warning(action)) is not None:
                # past execute, run, _run, _execute, _move and the public method: the caller's line
                warnings.warn(needed, stacklevel=8)
            if target is not KeyState.DESTROYED:  # which works without the KEK as well
                self._keys.warm(key)

            def change(writer: StoreWriter) -> Effect[KeyVersion]:
                to = target or restored(compromised=key.compromised_at is not None)
                moved = self._keys.transition(writer, key, to, now=datetime.now(UTC), reason=text)
                return Effect(moved, moved.public_key, moved)

            return change

        call = KeyCall(
            operation=OPERATIONS[f"keys.{action}"], selector=selector, reason=text, execute=execute
        )
        return self._received(self._pipeline.run(self._context, call))

    def _received(self, done: Result[KeyVersion]) -> KeyVersion:
        """Return the key with the receipt of its change; an answer from elsewhere has it."""
        if not self._pipeline.here:
            return done.value
        return evolve(done.value, receipt=done.common["receipt"])

    def _evidence(self, key: KeyVersion) -> KeyEvidence:
        active = self._keys.active(key.ref.tenant_id, key.name, key.algorithm)
        successor = None if active is None or active.ref == key.ref else active.version
        return KeyEvidence(key, self._uses.of(key.ref), successor, datetime.now(UTC))

    def _read(self, selector: KeySelector) -> KeyVersion:
        call = KeyCall(operation=OPERATIONS["keys.get"], selector=selector, execute=Effect)
        return self._pipeline.read(self._context, call)


def rotation(
    keys: KeyStore, selector: KeySelector, *, only: int | None = None, reason: str = ""
) -> KeyCall[tuple[KeyVersion, int]]:
    """Return the call that replaces the active version; its value is (new, number of the old).

    Args:
        keys: where the key is.
        selector: the key; without a version.
        only: the version that is to be replaced; ``Overtaken`` if another is active by now.
        reason: for the audit entry and the new version.
    """

    def execute(old: KeyVersion) -> Change[tuple[KeyVersion, int]]:
        if only is not None and old.version != only:
            raise Overtaken
        prepared = keys.prepare(old.ref.tenant_id, old.algorithm)

        def change(writer: StoreWriter) -> Effect[tuple[KeyVersion, int]]:
            address = (old.ref.tenant_id, old.name)
            added = _succeed(keys, writer, address, prepared, old, reason)
            return Effect((added.value, old.version), added.content, added.key)

        return change

    return KeyCall(
        operation=OPERATIONS["keys.rotate"], selector=selector, reason=reason, execute=execute
    )


def _succeed(
    keys: KeyStore,
    writer: StoreWriter,
    address: tuple[uuid.UUID, str],
    prepared: PreparedKey,
    old: KeyVersion | None,
    reason: str,
) -> Effect[KeyVersion]:
    """Retire the old version, if there is one, and add the prepared one."""
    now = datetime.now(UTC)
    if old is not None:
        keys.transition(writer, old, KeyState.RETIRED, now=now, reason="replaced by a new version")
    new = keys.add(writer, *address, prepared, now=now, reason=reason)
    return Effect(new, new.public_key, new)


def _check_new(prepared: PreparedKey, key: KeyVersion) -> None:
    """Refuse a key that is there already: its versions would not stand for anything."""
    if prepared.public_key == key.public_key:
        raise StateConflict(f"this private key is there already, as {key.ref}")


def _selector(name: str, algorithm: str, version: int | None = None) -> KeySelector:
    row: Algorithm = find(algorithm)
    return KeySelector(check_name(name, "name"), row, version)


def _state(value: KeyState | str) -> KeyState:
    try:
        return KeyState(value)
    except ValueError:
        raise ValidationError(
            f"state must be one of: {', '.join(KeyState)}", parameter="state"
        ) from None
