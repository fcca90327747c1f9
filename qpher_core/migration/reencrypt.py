# SPDX-License-Identifier: Apache-2.0
"""Moving values from one key to another: two calls of the pipeline for a batch.

Plaintexts exist between the two calls and are released to nobody. Each call leaves one entry for
all its values, which says how many they are and binds the ciphertexts.
"""

from collections.abc import Iterable, Sequence

from attrs import define, field, frozen

from qpher_core import messages
from qpher_core.algorithms import ALGORITHMS
from qpher_core.calls import Effect, KeyCall, KeySelector, Runner
from qpher_core.errors import DecryptionFailed
from qpher_core.key_usage import MIGRATE_FROM, MIGRATE_TO
from qpher_core.models import KeyRef, KeyVersion, RequestContext
from qpher_core.operations import OPERATIONS
from qpher_core.protocols import KeyStore

__all__ = ["Moved", "Reencryptor", "Value"]


@define
class Value:
    """A ciphertext and what it is bound to beside its key.

    Attributes:
        deterministic: whether it is the key of a value in deterministic mode.
        number: how many values of a field have it as their key; else 1.
    """

    header: messages.Header
    context: dict[str, str] = field(repr=False)
    data: bytes = field(repr=False)
    deterministic: bool = False
    number: int = 1


@frozen
class Moved:
    """What moving a batch gave.

    Attributes:
        values: the new ciphertexts; an error in the place of one that cannot be decrypted.
        version: the key version that they are under; None if there are none.
    """

    values: Sequence[bytes | DecryptionFailed]
    version: int | None


@frozen
class Reencryptor:
    """Moves values within one tenant, between versions and algorithms of one key name.

    Attributes:
        target: the new key; without a version, the active one.
        note: what is migrated, for the audit entries.
        salt: what makes wrapped keys of deterministic values; None where there are none.
    """

    _pipeline: Runner
    _keys: KeyStore
    _context: RequestContext
    target: KeySelector
    note: str
    accept_compromised: bool
    salt: bytes | None = field(default=None, repr=False)

    def move(self, values: Sequence[Value]) -> Moved:
        """Decrypt values of one key version and encrypt them under the target."""
        opened = self._pipeline.run(self._context, self._opening(values)).value
        good = _good(values, opened)
        if not good:
            return Moved([DecryptionFailed()] * len(values), None)
        plaintexts = [p for p in opened if not isinstance(p, DecryptionFailed)]
        done = self._pipeline.run(self._context, self._sealing(good, plaintexts))
        sealed = iter(done.value)
        return Moved(
            [d if isinstance(d, DecryptionFailed) else next(sealed) for d in opened],
            done.common["key_version"],
        )

    def _opening(self, values: Sequence[Value]) -> KeyCall[Sequence[bytes | DecryptionFailed]]:
        def execute(key: KeyVersion) -> Effect[Sequence[bytes | DecryptionFailed]]:
            opened = messages.decrypt_all(
                self._keys.open_decapsulation(key),
                _bindings(key.ref, values),
                [value.data for value in values],
            )
            good = _good(values, opened)
            content = messages.digests(value.data for value in good)
            failed = _number(values) - _number(good)
            return Effect(opened, content, reason=self._reason(_number(good), failed))

        header = values[0].header
        return KeyCall(
            operation=OPERATIONS[MIGRATE_FROM],
            selector=KeySelector(self.target.name, ALGORITHMS[header.algorithm], header.version),
            context=_context_names(values),
            payload_bytes=sum(len(value.data) for value in values),
            accept_compromised=self.accept_compromised,
            execute=execute,
        )

    def _sealing(
        self, values: Sequence[Value], plaintexts: Sequence[bytes]
    ) -> KeyCall[Sequence[bytes]]:
        def execute(key: KeyVersion) -> Effect[Sequence[bytes]]:
            sealed = self._seal(key, values, plaintexts)
            return Effect(sealed, messages.digests(sealed), reason=self._reason(_number(values), 0))

        looked_up = any(value.deterministic for value in values)
        deterministic = frozenset({"deterministic"}) if looked_up else frozenset[str]()
        return KeyCall(
            operation=OPERATIONS[MIGRATE_TO],
            selector=self.target,
            context=_context_names(values),
            payload_bytes=sum(map(len, plaintexts)),
            features=lambda: deterministic,
            execute=execute,
        )

    def _seal(
        self, key: KeyVersion, values: Sequence[Value], plaintexts: Sequence[bytes]
    ) -> list[bytes]:
        opened, bound = self._keys.open_encapsulation(key), _bindings(key.ref, values)
        fresh = [n for n, value in enumerate(values) if not value.deterministic]
        made = iter(
            messages.encrypt_all(opened, [bound[n] for n in fresh], [plaintexts[n] for n in fresh])
        )
        return [
            messages.encrypt(opened, binding, plaintext, salt=self.salt)
            if value.deterministic
            else next(made)
            for binding, value, plaintext in zip(bound, values, plaintexts, strict=True)
        ]

    def _reason(self, number: int, failed: int) -> str:
        lost = f"{failed} not decrypted; " if failed else ""
        return f"{number} values; {lost}migration of {self.note}"


def _good(values: Sequence[Value], opened: Sequence[bytes | DecryptionFailed]) -> list[Value]:
    """Return the values that could be decrypted."""
    return [
        value
        for value, result in zip(values, opened, strict=True)
        if not isinstance(result, DecryptionFailed)
    ]


def _bindings(ref: KeyRef, values: Sequence[Value]) -> list[messages.Binding]:
    """Return the binding of each value; values with the same context object share one."""
    made: dict[tuple[messages.Kind, int], messages.Binding] = {}
    return [
        made.get((kind, id(bound)))
        or made.setdefault((kind, id(bound)), messages.Binding(ref, kind, bound))
        for kind, bound in ((value.header.kind, value.context) for value in values)
    ]


def _number(values: Iterable[Value]) -> int:
    return sum(value.number for value in values)


def _context_names(values: Iterable[Value]) -> dict[str, str]:
    """Return the names of the values' contexts, for policy; their values differ and are bound."""
    return {name: "" for value in values for name in value.context}
