# SPDX-License-Identifier: Apache-2.0
"""Moving values at a service elsewhere, through its batches.

Plaintexts come here, over the connection, and go back; each value has an entry of its own for
decrypting and for encrypting.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from attrs import frozen

from qpher_core.errors import DecryptionFailed, QpherError
from qpher_core.fields import MOST_KEYS
from qpher_core.messages import Kind
from qpher_core.migration.reencrypt import Moved, Reencryptor, Value
from qpher_core.results import EncryptResult
from qpher_core.session_batches import BatchKem
from qpher_core.session_fields import FieldKem

__all__ = ["RemoteReencryptor"]


@frozen
class RemoteReencryptor(Reencryptor):
    """Moves values by the calls that everyone has."""

    def move(self, values: Sequence[Value]) -> Moved:
        """Decrypt values of one key version and encrypt them under the target."""
        moved: list[bytes | DecryptionFailed] = []
        version: int | None = None
        for (kind, *_), group in groupby(
            values, lambda v: (v.header.kind, v.context, v.deterministic)
        ):
            move = {Kind.MESSAGE: self._messages, Kind.FIELD_KEY: self._field_keys}.get(
                kind, self._wrapped
            )
            for some in _portions(list(group)):
                part = move(some)
                moved += part.values
                version = part.version or version
        return Moved(moved, version)

    def _messages(self, values: Sequence[Value]) -> Moved:
        kem = BatchKem(self._pipeline, self._keys, self._context)
        header, bound = values[0].header, values[0].context
        opened = kem.decrypt_many(
            [value.data for value in values],
            header.version,
            header.algorithm,
            name=self.target.name,
            context=bound,
            accept_compromised=self.accept_compromised,
        )
        plain = [result.plaintext for result in opened if not isinstance(result, QpherError)]
        if not plain:
            return Moved([DecryptionFailed()] * len(values), None)
        target = self.target
        sealed = kem.encrypt_many(
            plain, target.version, target.algorithm.name, name=target.name, context=bound
        )
        results = [_raised(result) for result in sealed]
        following = iter(results)
        return Moved(
            [
                DecryptionFailed() if isinstance(o, QpherError) else next(following).ciphertext
                for o in opened
            ],
            results[0].key_version,
        )

    def _field_keys(self, values: Sequence[Value]) -> Moved:
        kem = FieldKem(self._pipeline, self._keys, self._context)
        first, target = values[0], self.target
        try:
            opened = kem.unwrap_field_keys(
                [value.data for value in values],
                first.header.version,
                first.header.algorithm,
                name=target.name,
                context=first.context,
                accept_compromised=self.accept_compromised,
            ).field_keys
        except DecryptionFailed:
            return Moved([DecryptionFailed()] * len(values), None)
        done = kem.wrap_field_keys(
            [key for key in opened if key is not None],
            target.version,
            target.algorithm.name,
            name=target.name,
            context=first.context,
            mode="deterministic" if first.deterministic else "standard",
            salt=self.salt if first.deterministic else None,
            values=sum(v.number for v, key in zip(values, opened, strict=True) if key is not None),
        )
        wrapped = iter(done.wrapped_keys)
        moved = [DecryptionFailed() if key is None else next(wrapped) for key in opened]
        return Moved(moved, done.key_version)

    def _wrapped(self, values: Sequence[Value]) -> Moved:
        kem = BatchKem(self._pipeline, self._keys, self._context)
        moved: list[bytes | DecryptionFailed] = []
        version: int | None = None
        for value in values:
            try:
                secret = self._unwrap(kem, value)
            except DecryptionFailed as error:
                moved.append(error)
                continue
            wrap = kem.wrap_file_key if value.header.kind is Kind.FILE_KEY else kem.wrap
            target = self.target
            wrapped = wrap(
                secret,
                target.version,
                target.algorithm.name,
                name=target.name,
                context=value.context,
            )
            moved.append(wrapped.wrapped_key)
            version = wrapped.key_version
        return Moved(moved, version)

    def _unwrap(self, kem: BatchKem, value: Value) -> bytes:
        header = value.header
        arguments: dict[str, Any] = {
            "key_version": header.version,
            "algorithm": header.algorithm,
            "name": self.target.name,
            "context": value.context,
            "accept_compromised": self.accept_compromised,
        }
        if header.kind is Kind.FILE_KEY:
            return kem.unwrap_file_key([value.data], **arguments).symmetric_key
        return kem.unwrap(value.data, **arguments).symmetric_key


def _portions(values: Sequence[Value]) -> Iterator[Sequence[Value]]:
    """Yield as many values at once as the service takes field keys."""
    return (values[start : start + MOST_KEYS] for start in range(0, len(values), MOST_KEYS))


def _raised(result: EncryptResult | QpherError) -> EncryptResult:
    if isinstance(result, QpherError):
        raise result
    return result
