# SPDX-License-Identifier: Apache-2.0
"""An encrypted field of an application: its values, one by one and many at once."""

import os
import threading
import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NoReturn, Protocol, TypeVar

from attrs import Attribute, field, frozen

from qpher_core.calls import KeySelector
from qpher_core.errors import AlgorithmUnavailable, DecryptionFailed, NotFound, ValidationError
from qpher_core.field_values import FIELD_KEY_BYTES, FieldValue, Secrets, Value, seal
from qpher_core.results import FieldKeysUnwrapResult, FieldKeysWrapResult
from qpher_core.validation import check_bytes, check_context

__all__ = ["MOST_KEYS", "Field", "FieldKeys", "FieldSettings"]

T = TypeVar("T")

#: Values of one call at most, as of every call on several items.
_MOST_VALUES: Final = 10_000
#: Field keys of one call, at a service over HTTP.
MOST_KEYS: Final = 1000
_LONGEST: Final = 86_400  # seconds
_KEPT: Final = 1024  # opened keys of a field

Row = Mapping[str, str] | None


def _seconds(_: object, attribute: "Attribute[float]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LONGEST:
        name = attribute.name
        raise ValidationError(f"{name} must be seconds, from 0 to {_LONGEST}", parameter=name)


@frozen(kw_only=True)
class FieldSettings:
    """What a field was asked for with; see ``session.kem.field``."""

    selector: KeySelector
    context: dict[str, str] = field(repr=False)
    salt: bytes | None = field(repr=False)
    remember: float = field(validator=_seconds)
    accept_compromised: bool


class FieldKeys(Protocol):
    """Wraps and unwraps field keys; ``session.kem``."""

    def wrap_field_keys(
        self,
        field_keys: Sequence[bytes],
        key_version: int | None = None,
        algorithm: str = ...,
        *,
        name: str = ...,
        context: Mapping[str, str] | None = None,
        mode: str = ...,
        salt: bytes | None = None,
        values: int | None = None,
    ) -> FieldKeysWrapResult:
        """Wrap keys."""

    def unwrap_field_keys(
        self,
        wrapped_keys: Sequence[bytes],
        key_version: int,
        algorithm: str = ...,
        *,
        name: str = ...,
        context: Mapping[str, str] | None = None,
        accept_compromised: bool = False,
    ) -> FieldKeysUnwrapResult:
        """Unwrap keys."""


class Field:
    """An encrypted field. Values are text or bytes, and come back as what they were.

    Every method raises ``ValidationError`` for bad parameters, ``NotFound``, ``StateConflict``,
    ``PermissionDenied`` and the ``Unavailable`` errors. Thread-safe; cannot be pickled.
    """

    def __init__(self, keys: FieldKeys, tenant_id: uuid.UUID, settings: FieldSettings) -> None:
        self._keys = keys
        self._settings = settings
        self._secrets = None if settings.salt is None else Secrets.of(settings.salt)
        self._scope = {"context": settings.context, "name": settings.selector.name,
                       "tenant": str(tenant_id)}  # fmt: skip
        self._opened = _OpenedKeys(settings.remember)

    def encrypt(self, value: Value, *, row: Row = None) -> bytes:
        """Encrypt one value.

        Args:
            value: text or bytes, of any length.
            row: what this value alone is bound to, such as the row's id; to be given again.
        """
        return self.encrypt_many([value], rows=[row])[0]

    def decrypt(self, value: bytes, *, row: Row = None) -> Value:
        """Return one value. Raises ``DecryptionFailed``, the same for every cause."""
        found = self.decrypt_many([value], rows=[row])[0]
        if isinstance(found, DecryptionFailed):
            raise found
        return found

    def encrypt_many(
        self, values: Sequence[Value], *, rows: Sequence[Row] | None = None
    ) -> list[bytes]:
        """Encrypt several values, at most 10,000, with one decision and one audit entry.

        They share one encapsulation and have a key each; any of them opens alone. In deterministic
        mode each different value has an encapsulation of its own, and 1,000 of them are one call.

        Args:
            values: text or bytes.
            rows: what each is bound to, in the same order.
        """
        checked = [_check_value(value, f"values[{n}]") for n, value in _numbered(values, "values")]
        bound = _check_rows(rows, len(checked))
        keys = self._field_keys(checked, bound)
        wrapped = self._wrap(Counter(keys))
        deterministic = self._secrets is not None
        return [
            seal(wrapped[key], key, value, row, deterministic=deterministic)
            for key, value, row in zip(keys, checked, bound, strict=True)
        ]

    def decrypt_many(
        self, values: Sequence[bytes], *, rows: Sequence[Row] | None = None
    ) -> list[Value | DecryptionFailed]:
        """Return several values; ``DecryptionFailed`` in the place of one that cannot be opened.

        Keys that are not remembered are opened with one decision and one audit entry for each
        key version, and for 1,000 keys.
        """
        checked = [check_bytes(value, f"values[{n}]") for n, value in _numbered(values, "values")]
        bound = _check_rows(rows, len(checked))
        parts = [_parts(value) for value in checked]
        keys = self._unwrap([part for part in parts if part is not None])
        return [
            DecryptionFailed() if part is None else _open(part, keys[part.wrapped_key], row)
            for part, row in zip(parts, bound, strict=True)
        ]

    def forget(self) -> None:
        """Forget the keys that were opened; the next call asks the service."""
        self._opened.clear()

    def __repr__(self) -> str:
        selector = self._settings.selector
        return f"<Field under the {selector.algorithm.name} key {selector.name!r}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Field holds keys and cannot be pickled")

    # --- how -----------------------------------------------------------------------------------

    def _field_keys(self, values: Sequence[Value], rows: Sequence[dict[str, str]]) -> list[bytes]:
        """Return the field key of each value: one for all, or one for each that differs."""
        if self._secrets is None:
            return [os.urandom(FIELD_KEY_BYTES)] * len(values)
        return [
            self._secrets.field_key({**self._scope, "row": row}, value)
            for value, row in zip(values, rows, strict=True)
        ]

    def _wrap(self, counts: Mapping[bytes, int]) -> dict[bytes, bytes]:
        """Return the wrapped form of field keys, which come with their numbers of values."""
        settings, secrets = self._settings, self._secrets
        wrapped: dict[bytes, bytes] = {}
        for keys in _parcels(list(counts)):
            done = self._keys.wrap_field_keys(
                keys,
                settings.selector.version,
                settings.selector.algorithm.name,
                name=settings.selector.name,
                context=settings.context,
                mode="standard" if secrets is None else "deterministic",
                salt=None if secrets is None else secrets.keys,
                values=sum(counts[key] for key in keys),
            )
            wrapped.update(zip(keys, done.wrapped_keys, strict=True))
        return wrapped

    def _unwrap(self, parts: Sequence[FieldValue]) -> dict[bytes, bytes | None]:
        """Return the field keys of values, by wrapped key; None for one that does not open."""
        found: dict[bytes, bytes | None] = {}
        missing: dict[tuple[str, int], dict[bytes, None]] = {}
        for part in parts:
            known = self._opened.get(part.wrapped_key)
            if known is not None:
                found[part.wrapped_key] = known
            else:
                key = part.header.algorithm, part.header.version
                missing.setdefault(key, {})[part.wrapped_key] = None
        for (algorithm, version), wrapped in missing.items():
            for parcel in _parcels(list(wrapped)):
                found.update(self._ask(algorithm, version, parcel))
        return found

    def _ask(
        self, algorithm: str, version: int, wrapped: Sequence[bytes]
    ) -> dict[bytes, bytes | None]:
        try:
            keys = self._keys.unwrap_field_keys(
                wrapped,
                version,
                algorithm,
                name=self._settings.selector.name,
                context=self._settings.context,
                accept_compromised=self._settings.accept_compromised,
            ).field_keys
        except (DecryptionFailed, NotFound, AlgorithmUnavailable):  # a header may be altered
            keys = (None,) * len(wrapped)
        opened = dict(zip(wrapped, keys, strict=True))
        self._opened.add({message: key for message, key in opened.items() if key is not None})
        return opened


class _OpenedKeys:
    """Field keys that were opened of late, by wrapped key; the oldest give way. Thread-safe."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._keys: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()

    def get(self, wrapped: bytes) -> bytes | None:
        """Return the key, if it was opened recently enough."""
        with self._lock:
            key, until = self._keys.get(wrapped, (None, 0.0))
            return key if time.monotonic() < until else None

    def add(self, keys: Mapping[bytes, bytes]) -> None:
        """Keep keys for a while."""
        if not self._seconds:
            return
        until = time.monotonic() + self._seconds
        with self._lock:
            for wrapped, key in keys.items():
                self._keys.pop(wrapped, None)
                self._keys[wrapped] = key, until
            while self._keys and (len(self._keys) > _KEPT or self._oldest() <= time.monotonic()):
                self._keys.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._keys.clear()

    def _oldest(self) -> float:
        return next(iter(self._keys.values()))[1]


def _open(part: FieldValue, key: bytes | None, row: dict[str, str]) -> Value | DecryptionFailed:
    if key is None:
        return DecryptionFailed()
    try:
        return part.open(key, row)
    except DecryptionFailed as error:
        return error


def _parts(value: bytes) -> FieldValue | None:
    try:
        return FieldValue.from_bytes(value)
    except DecryptionFailed:
        return None


def _parcels(keys: list[bytes]) -> Iterator[list[bytes]]:
    return (keys[start : start + MOST_KEYS] for start in range(0, len(keys), MOST_KEYS))


def _numbered(values: Sequence[T], parameter: str) -> "enumerate[T]":
    if not isinstance(values, Sequence) or isinstance(values, str | bytes | bytearray | memoryview):
        raise ValidationError(f"{parameter} must be a sequence", parameter=parameter)
    if not 1 <= len(values) <= _MOST_VALUES:
        raise ValidationError(
            f"{parameter} must have 1 to {_MOST_VALUES} items", parameter=parameter
        )
    return enumerate(values)


def _check_value(value: object, parameter: str) -> Value:
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise ValidationError(
                f"{parameter} must not contain lone surrogates", parameter=parameter
            )
        return value
    if not isinstance(value, bytes | bytearray | memoryview):
        raise ValidationError(f"{parameter} must be text or bytes", parameter=parameter)
    return bytes(value)


def _check_rows(rows: Sequence[Row] | None, count: int) -> list[dict[str, str]]:
    if rows is None:
        return [{}] * count
    checked = [check_context(row, f"rows[{n}]") for n, row in _numbered(rows, "rows")]
    if len(checked) != count:
        raise ValidationError(f"rows must have {count} items", parameter="rows")
    return checked
