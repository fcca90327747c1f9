# SPDX-License-Identifier: Apache-2.0
"""Runs a session's calls in the pipeline of a service elsewhere.

A session checks its parameters and builds calls; this sends what they say to the endpoint of their
operation. Authentication, policy, key state, execution and the audit entry are the service's. Reads
need no row here: they ask the remote key store or audit log, which the service checks alike.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar, cast
from uuid import UUID

from attrs import field, frozen

from qpher_backends.remote.answers import algorithm_of, common_of, key_version
from qpher_backends.remote.batch_parts import run_in_parts
from qpher_backends.remote.failures import error_of
from qpher_backends.remote.keystore import RemoteKeyStore
from qpher_backends.remote.link import Link, endpoint_of, expect
from qpher_core.calls import Call, Common, Effect, Item, KeyCall, Request
from qpher_core.errors import QpherError
from qpher_core.models import RequestContext

__all__ = ["RemoteRunner"]

T = TypeVar("T")

_SECRET_BYTES: Final = 32


@frozen
class _Answered(Generic[T]):
    """What a call gave. Answers about a key's state have no receipt, and so nothing in common."""

    value: T = field(repr=False)
    _common: Common | None

    @property
    def common(self) -> Common:
        """Members for the result that the caller gets."""
        if self._common is None:
            raise TypeError("the answer has no receipt")
        return self._common


def _encapsulated(answer: Any) -> tuple[bytes, bytes]:
    size = algorithm_of(answer.algorithm).output_bytes
    expect(len(answer.kem_ciphertext) == size, "a KEM ciphertext has another length")
    expect(len(answer.shared_secret) == _SECRET_BYTES, "a shared secret has another length")
    return answer.kem_ciphertext, answer.shared_secret


def _decapsulated(answer: Any) -> bytes:
    expect(len(answer.shared_secret) == _SECRET_BYTES, "a shared secret has another length")
    return cast("bytes", answer.shared_secret)


def _signature(answer: Any) -> bytes:
    longest = algorithm_of(answer.algorithm).output_bytes
    expect(0 < len(answer.signature) <= longest, "a signature has another length")
    return cast("bytes", answer.signature)


def _file_key(answer: Any) -> bytes:
    expect(len(answer.file_key) == _SECRET_BYTES, "a file key has another length")
    return cast("bytes", answer.file_key)


def _field_keys(answer: Any) -> list[bytes | None]:
    sizes = {len(key) for key in answer.field_keys if key is not None}
    expect(sizes == {_SECRET_BYTES}, "a field key has another length")
    return list(answer.field_keys)


#: Operation to endpoint, and to what of the answer is the call's value.
_OPERATIONS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = MappingProxyType(
    {
        "kem.encrypt": ("/kem/encrypt", attrgetter("ciphertext")),
        "kem.decrypt": ("/kem/decrypt", attrgetter("plaintext")),
        "kem.encapsulate": ("/kem/encapsulate", _encapsulated),
        "kem.decapsulate": ("/kem/decapsulate", _decapsulated),
        "kem.wrap": ("/kem/key/wrap", attrgetter("wrapped_key")),
        "kem.unwrap": ("/kem/key/unwrap", attrgetter("symmetric_key")),
        "kem.encrypt_file": ("/kem/file-key/wrap", attrgetter("wrapped_key")),
        "kem.decrypt_file": ("/kem/file-key/unwrap", _file_key),
        "kem.encrypt_field": ("/kem/field-keys/wrap", attrgetter("wrapped_keys")),
        "kem.decrypt_field": ("/kem/field-keys/unwrap", _field_keys),
        "signatures.sign": ("/signature/sign", _signature),
        "signatures.verify": ("/signature/verify", attrgetter("valid")),
        "signatures.sign_hash": ("/signature/sign-hash", _signature),
        "signatures.verify_hash": ("/signature/verify-hash", attrgetter("valid")),
    }
)

#: The same, for several items.
_BATCHES: Final = MappingProxyType(
    {
        action: f"/batch/{action.partition('.')[2]}"
        for action in (
            *("kem.encrypt", "kem.decrypt", "kem.encapsulate", "kem.decapsulate"),
            *("signatures.sign", "signatures.verify"),
        )
    }
)


@frozen
class RemoteRunner:
    """Implements ``Runner`` over a connection. Thread-safe."""

    _link: Link
    _keys: RemoteKeyStore

    @property
    def here(self) -> bool:
        """Return False: calls are executed by the service."""
        return False

    def run(self, context: RequestContext, call: Call[T] | KeyCall[T]) -> _Answered[T]:
        """Run one call at the service."""
        action = call.operation.action
        if action.startswith("keys."):
            return self._change_key(context, call)
        path, value = _OPERATIONS[action]

        def read(answer: Any, request_id: UUID) -> _Answered[T]:
            common = common_of(answer, context.tenant_id, request_id)
            _check_key(call, common)
            given = call.inputs.get("hash_algorithm")
            expect(given is None or answer.hash_algorithm == given, "it is about another hash")
            found = value(answer)
            expect(not isinstance(found, list) or len(found) == _items(call), "items are missing")
            return _Answered(found, common)

        return self._link.call("POST", path, read, body=_body(path, call))

    def run_many(
        self, context: RequestContext, call: KeyCall[Sequence[Item[T]]]
    ) -> list[_Answered[T] | QpherError]:
        """Run one call on several items at the service, in as many parts as that takes.

        One that is refused raises; what the parts before it did is in the service's log.
        """
        return run_in_parts(call, lambda part: self._run_part(context, part))

    def _run_part(
        self, context: RequestContext, call: KeyCall[Sequence[Item[T]]]
    ) -> list[_Answered[T] | QpherError]:
        action = call.operation.action
        path, (_, value) = _BATCHES[action], _OPERATIONS[action]
        count = call.inputs.get("count") or _items(call)

        def item_of(item: Any, request_id: UUID) -> _Answered[T] | QpherError:
            expect((item.result is None) != (item.error is None), "an item is not one of two")
            if item.error is not None:
                return error_of(item.error)
            common = common_of(item.result, context.tenant_id, request_id)
            _check_key(call, common)
            return _Answered(value(item.result), common)

        def read(answer: Any, request_id: UUID) -> list[_Answered[T] | QpherError]:
            expect(len(answer.items) == count, "the number of items differs")
            return [item_of(item, request_id) for item in answer.items]

        return self._link.call("POST", path, read, body=_body(path, call))

    def read(self, context: RequestContext, call: Call[T] | KeyCall[T]) -> T:
        """Run one call that releases only public data."""
        if isinstance(call, KeyCall):
            outcome = call.execute(self._keys.resolve(call.selector))
        else:
            outcome = call.execute()
        if not isinstance(outcome, Effect):
            raise TypeError(f"{call.operation.action} must not change anything")
        return outcome.value

    def _change_key(self, context: RequestContext, call: Request) -> _Answered[Any]:
        action = call.operation.action
        path = f"/kms/keys/{action.partition('.')[2]}"

        def read(answer: Any, request_id: UUID) -> _Answered[Any]:
            if action != "keys.rotate":
                key = key_version(answer, context.tenant_id)
                _check_address(call, key.name, key.algorithm, key.version)
                return _Answered(key, None)
            key = key_version(answer.key, context.tenant_id)
            _check_address(call, key.name, key.algorithm, answer.key_version)
            expect(answer.public_key == key.public_key, "the public keys differ")
            common = common_of(answer, context.tenant_id, request_id)
            return _Answered((key, answer.old_key_version), common)

        return self._link.call("POST", path, read, body=_body(path, call))


def _items(call: Request) -> int:
    """Return how many items a call is about."""
    return max(len(items) for items in call.inputs.values() if isinstance(items, list))


def _body(path: str, call: Request) -> dict[str, object]:
    """Return the members of the endpoint's model that a call has."""
    given: dict[str, object] = {
        "reason": call.reason,
        "accept_compromised": call.accept_compromised,
        **call.inputs,
    }
    if call.selector is not None:
        given |= {
            "name": call.selector.name,
            "algorithm": call.selector.algorithm.name,
            "key_version": call.selector.version,
        }
    model = endpoint_of("POST", path).body
    if model is None:
        raise TypeError(f"{path} takes no body")
    return {name: given[name] for name in model.__struct_fields__ if name in given}


def _check_key(call: Request, common: Common) -> None:
    """Check that an answer is about the key that was asked for."""
    name = "" if call.selector is None else call.selector.name
    _check_address(call, name, common["algorithm"], common["key_version"])


def _check_address(call: Request, name: str, algorithm: str, version: int) -> None:
    asked = call.selector
    if asked is None:
        raise TypeError(f"{call.operation.action} names no key")
    expect((name, algorithm) == (asked.name, asked.algorithm.name), "it is about another key")
    expect(asked.version in {None, version}, "it is about another key version")
