# SPDX-License-Identifier: Apache-2.0
"""Moving values from one key to another: two calls of the pipeline for a batch.

Plaintexts exist between the two calls and are released to nobody. Each call leaves one entry for
all its values, which says how many they are and binds the ciphertexts.
"""

from collections.abc import Iterable, Sequence

from attrs import field, frozen

from qpher_core import messages
from qpher_core.algorithms import ALGORITHMS
from qpher_core.calls import Effect, KeyCall, KeySelector, Runner
from qpher_core.errors import DecryptionFailed
from qpher_core.key_usage import MIGRATE_FROM, MIGRATE_TO
from qpher_core.models import KeyRef, KeyVersion, RequestContext
from qpher_core.operations import OPERATIONS
from qpher_core.protocols import KeyStore

__all__ = ["Moved", "Reencryptor", "Value"]


@frozen
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
        plain = [
            (value, plaintext)
            for value, plaintext in zip(values, opened, strict=True)
            if not isinstance(plaintext, DecryptionFailed)
        ]
        if not plain:
            return Moved([DecryptionFailed()] * len(values), None)
        done = self._pipeline.run(self._context, self._sealing(plain))
        sealed = iter(done.value)
        return Moved(
            [d if isinstance(d, DecryptionFailed) else next(sealed) for d in opened],
            done.common["key_version"],
        )

    def _opening(self, values: Sequence[Value]) -> KeyCall[Sequence[bytes | DecryptionFailed]]:
        def execute(key: KeyVersion) -> Effect[Sequence[bytes | DecryptionFailed]]:
            bound = _bindings(key.ref, [(value.header.kind, value.context) for value in values])
            items = [(b, value.data) for b, value in zip(bound, values, strict=True)]
            opened = messages.decrypt_all(self._keys.open_decapsulation(key), items)
            good = [
                value
                for value, result in zip(values, opened, strict=True)
                if not isinstance(result, DecryptionFailed)
            ]
            content = messages.digests(value.data for value in good)
            failed = _number(values) - _number(good)
            return Effect(opened, content, reason=self._reason(_number(good), failed))

        header = values[0].header
        return KeyCall(
            operation=OPERATIONS[MIGRATE_FROM],
            selector=KeySelector(self.target.name, ALGORITHMS[header.algorithm], header.version),
            context=_context_names(value.context for value in values),
            payload_bytes=sum(len(value.data) for value in values),
            accept_compromised=self.accept_compromised,
            execute=execute,
        )

    def _sealing(self, plain: Sequence[tuple[Value, bytes]]) -> KeyCall[Sequence[bytes]]:
        def execute(key: KeyVersion) -> Effect[Sequence[bytes]]:
            bound = _bindings(key.ref, [(v.header.kind, v.context) for v, _ in plain])
            opened = self._keys.open_encapsulation(key)
            fresh = iter(
                messages.encrypt_all(
                    opened,
                    [
                        (binding, plaintext)
                        for binding, (value, plaintext) in zip(bound, plain, strict=True)
                        if not value.deterministic
                    ],
                )
            )
            sealed = [
                messages.encrypt(opened, binding, plaintext, salt=self.salt)
                if value.deterministic
                else next(fresh)
                for binding, (value, plaintext) in zip(bound, plain, strict=True)
            ]
            reason = self._reason(_number(value for value, _ in plain), 0)
            return Effect(sealed, messages.digests(sealed), reason=reason)

        looked_up = any(value.deterministic for value, _ in plain)
        deterministic = frozenset({"deterministic"}) if looked_up else frozenset[str]()
        return KeyCall(
            operation=OPERATIONS[MIGRATE_TO],
            selector=self.target,
            context=_context_names(value.context for value, _ in plain),
            payload_bytes=sum(len(plaintext) for _, plaintext in plain),
            features=lambda: deterministic,
            execute=execute,
        )

    def _reason(self, number: int, failed: int) -> str:
        lost = f"{failed} not decrypted; " if failed else ""
        return f"{number} values; {lost}migration of {self.note}"


def _bindings(
    ref: KeyRef, rows: Sequence[tuple[messages.Kind, dict[str, str]]]
) -> list[messages.Binding]:
    """Return the binding of each value; values with the same context object share one."""
    made: dict[tuple[messages.Kind, int], messages.Binding] = {}
    return [
        made.get((kind, id(bound)))
        or made.setdefault((kind, id(bound)), messages.Binding(ref, kind, bound))
        for kind, bound in rows
    ]


def _number(values: Iterable[Value]) -> int:
    return sum(value.number for value in values)


def _context_names(contexts: Iterable[dict[str, str]]) -> dict[str, str]:
    """Return the names of the values' contexts, for policy; their values differ and are bound."""
    return {name: "" for bound in contexts for name in bound}
