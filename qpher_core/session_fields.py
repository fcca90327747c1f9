# SPDX-License-Identifier: Apache-2.0
"""Keys of encrypted fields: many values under one encapsulation, one policy decision, one entry.

Values are encrypted where the caller is (:class:`~qpher_core.fields.Field`); only their keys come
here, and with a service elsewhere only they cross the network.
"""

from collections.abc import Mapping, Sequence

from qpher_core import messages
from qpher_core.algorithms import DEFAULT_KEM
from qpher_core.calls import Effect, KeyCall
from qpher_core.errors import DecryptionFailed, ValidationError
from qpher_core.field_values import FIELD_KEY_BYTES
from qpher_core.fields import Field, FieldSettings
from qpher_core.models import KeyVersion
from qpher_core.operations import OPERATIONS
from qpher_core.results import FieldKeysUnwrapResult, FieldKeysWrapResult
from qpher_core.session_batches import MOST_ITEMS, BatchKem, all_bytes
from qpher_core.session_kem import check_mode, kem_selector
from qpher_core.validation import check_context, check_version

__all__ = ["FieldKem"]


class FieldKem(BatchKem):
    """KEM operations of one tenant, encrypted fields of applications included."""

    def field(
        self,
        key_version: int | None = None,
        algorithm: str = DEFAULT_KEM,
        *,
        name: str = "default",
        context: Mapping[str, str] | None = None,
        mode: str = "standard",
        salt: bytes | None = None,
        remember: float = 60.0,
        accept_compromised: bool = False,
    ) -> Field:
        """Return an encrypted field of an application, such as a column (docs/fields.md).

        Args:
            key_version: under which new values are encrypted; the active one, at each moment,
                where none is given. Values open under the version that they name.
            algorithm: a KEM, for new values.
            name: key name.
            context: what all values of the field are bound to, such as table and column.
            mode: ``standard``, or ``deterministic``: equal values of equal rows are equal
                encrypted and can be looked up, which shows everyone that they are equal.
            salt: with deterministic mode, a secret of at least 32 bytes; always the same.
            remember: seconds for which a key that was opened opens further values without
                asking the service; 0 to ask for every call.
            accept_compromised: whether values of compromised keys are opened.
        """
        settings = FieldSettings(
            selector=kem_selector(name, algorithm, key_version),
            context=check_context(context),
            salt=check_mode(mode, salt),
            remember=remember,
            accept_compromised=accept_compromised,
        )
        return Field(self, self._context.tenant_id, settings)

    def wrap_field_keys(
        self,
        field_keys: Sequence[bytes],
        key_version: int | None = None,
        algorithm: str = DEFAULT_KEM,
        *,
        name: str = "default",
        context: Mapping[str, str] | None = None,
        mode: str = "standard",
        salt: bytes | None = None,
        values: int | None = None,
    ) -> FieldKeysWrapResult:
        """Wrap keys of encrypted fields, 32 bytes each; one audit entry for all.

        Args:
            field_keys: the keys, at most 10,000.
            key_version: key version, from 1; the active one where none is given.
            algorithm: a KEM.
            name: key name.
            context: text that must be given again to unwrap them.
            mode: ``standard``, or ``deterministic``: an equal key gives an equal wrapped key.
            salt: with deterministic mode, a secret of at least 32 bytes.
            values: how many values they are for, as the entry says; one for each if left out.
        """
        keys = all_bytes(field_keys, "field_keys", sizes=(FIELD_KEY_BYTES,))
        bound, secret = check_context(context), check_mode(mode, salt)
        reason = f"{_check_values(values, len(keys))} values; field keys: {len(keys)}"

        def execute(key: KeyVersion) -> Effect[list[bytes]]:
            binding = messages.Binding(key.ref, messages.Kind.FIELD_KEY, bound)
            opened = self._keys.open_encapsulation(key)
            if secret is None:
                wrapped = messages.encrypt_all(opened, [binding] * len(keys), keys)
            else:
                wrapped = [messages.encrypt(opened, binding, k, salt=secret) for k in keys]
            return Effect(wrapped, messages.digests(wrapped), reason=reason)

        call = KeyCall(
            operation=OPERATIONS["kem.encrypt_field"],
            selector=kem_selector(name, algorithm, key_version),
            context=bound,
            payload_bytes=FIELD_KEY_BYTES * len(keys),
            features=lambda: frozenset() if secret is None else frozenset({"deterministic"}),
            inputs={
                "field_keys": keys,
                "mode": mode,
                "salt": secret,
                "values": values,
                "context": bound,
            },
            execute=execute,
        )
        done = self._pipeline.run(self._context, call)
        return FieldKeysWrapResult(wrapped_keys=tuple(done.value), **done.common)

    def unwrap_field_keys(
        self,
        wrapped_keys: Sequence[bytes],
        key_version: int,
        algorithm: str = DEFAULT_KEM,
        *,
        name: str = "default",
        context: Mapping[str, str] | None = None,
        accept_compromised: bool = False,
    ) -> FieldKeysUnwrapResult:
        """Unwrap keys of encrypted fields; one audit entry for all.

        Raises:
            DecryptionFailed: none of them can be opened.
        """
        data = all_bytes(wrapped_keys, "wrapped_keys")
        bound = check_context(context)

        def execute(key: KeyVersion) -> Effect[list[bytes | None]]:
            binding = messages.Binding(key.ref, messages.Kind.FIELD_KEY, bound)
            opened = messages.decrypt_all(
                self._keys.open_decapsulation(key), [binding] * len(data), data
            )
            keys = [None if isinstance(k, DecryptionFailed) else k for k in opened]
            good = [item for item, k in zip(data, keys, strict=True) if k is not None]
            if not good:
                raise DecryptionFailed
            lost = len(data) - len(good)
            reason = f"{len(good)} values; field keys" + (f"; {lost} not opened" if lost else "")
            return Effect(keys, messages.digests(good), reason=reason)

        call = KeyCall(
            operation=OPERATIONS["kem.decrypt_field"],
            selector=kem_selector(name, algorithm, check_version(key_version)),
            context=bound,
            payload_bytes=sum(map(len, data)),
            accept_compromised=accept_compromised,
            inputs={"wrapped_keys": data, "context": bound},
            execute=execute,
        )
        done = self._pipeline.run(self._context, call)
        return FieldKeysUnwrapResult(field_keys=tuple(done.value), **done.common)


def _check_values(values: object, keys: int) -> int:
    if values is None:
        return keys
    if isinstance(values, bool) or not isinstance(values, int) or not keys <= values <= MOST_ITEMS:
        raise ValidationError(f"values must be from {keys} to {MOST_ITEMS}", parameter="values")
    return values
