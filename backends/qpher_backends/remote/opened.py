# SPDX-License-Identifier: Apache-2.0
"""Private keys that stay with a service elsewhere, which does and records each use of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from attrs import frozen

from qpher_backends.remote.answers import algorithm_of
from qpher_backends.remote.batch_parts import send_in_parts
from qpher_backends.remote.failures import error_of
from qpher_backends.remote.link import Link, expect
from qpher_core.algorithms import ALGORITHMS, Algorithm
from qpher_core.errors import QpherError
from qpher_core.models import KeyVersion

__all__ = ["RemoteDecapsulationKey", "RemoteSigningKey"]

T = TypeVar("T")

_SECRET_BYTES: Final = 32

#: Member of an answer to the lengths that it may have.
_SIZES: Final[Mapping[str, Callable[[Algorithm], range]]] = {
    "shared_secret": lambda _: range(_SECRET_BYTES, _SECRET_BYTES + 1),
    "signature": lambda algorithm: range(1, algorithm.output_bytes + 1),
}


@frozen
class _RemoteKey:
    _link: Link
    _key: KeyVersion

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of the {self._key.ref}>"

    def close(self) -> None:
        """Forget it; there is nothing to wipe here."""

    def _call(self, path: str, member: str, **inputs: object) -> Any:
        """Return one member of the answer about one item."""

        def read(answer: Any, _: object) -> Any:
            return self._value(answer, member)

        return self._link.call("POST", path, read, body={**self._address(), **inputs})

    def _call_many(
        self, path: str, member: str, name: str, items: Sequence[bytes], **inputs: object
    ) -> list[Any]:
        """Return one member of the answer about each item; the first error is raised.

        Args:
            path: of the endpoint.
            member: of the answer.
            name: what the endpoint calls the items; many are several requests.
            items: one for each answer.
            inputs: what else the endpoint gets.
        """
        return send_in_parts(
            items,
            lambda part: self._call_part(path, member, len(part), {name: part, **inputs}),
        )

    def _call_part(
        self, path: str, member: str, count: int, inputs: Mapping[str, object]
    ) -> list[Any]:
        def item_of(item: Any) -> Any:
            expect((item.result is None) != (item.error is None), "an item is not one of two")
            return error_of(item.error) if item.error else self._value(item.result, member)

        def read(answer: Any, _: object) -> list[Any]:
            expect(len(answer.items) == count, "the number of items differs")
            return [item_of(item) for item in answer.items]

        values = self._link.call("POST", path, read, body={**self._address(), **inputs})
        for value in values:
            if isinstance(value, QpherError):
                raise value
        return values

    def _address(self) -> dict[str, object]:
        ref = self._key.ref
        return {"name": ref.name, "algorithm": ref.algorithm, "key_version": ref.version}

    def _value(self, answer: Any, member: str) -> Any:
        """Return a member of an answer about this key, if it has the length of the algorithm."""
        given = (algorithm_of(answer.algorithm).name, answer.key_version)
        expect(given == (self._key.algorithm, self._key.version), "it is about another key")
        value = getattr(answer, member)
        sizes = _SIZES[member](ALGORITHMS[self._key.algorithm])
        expect(len(value) in sizes, f"its {member} has another length")
        return value


class RemoteDecapsulationKey(_RemoteKey):
    """Implements ``DecapsulationKey``."""

    @property
    def encapsulation_key(self) -> bytes:
        """The encoded encapsulation key."""
        return self._key.public_key

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Return the 32-byte shared secret."""
        self._check(ciphertext)
        secret: bytes = self._call("/kem/decapsulate", "shared_secret", kem_ciphertext=ciphertext)
        return secret

    def decapsulate_many(self, ciphertexts: Sequence[bytes], *, threads: int = 1) -> list[bytes]:
        """Decapsulate several ciphertexts."""
        for ciphertext in ciphertexts:
            self._check(ciphertext)
        return self._call_many(
            "/batch/decapsulate", "shared_secret", "kem_ciphertexts", ciphertexts
        )

    def _check(self, ciphertext: bytes) -> None:
        size = ALGORITHMS[self._key.algorithm].output_bytes
        if len(ciphertext) != size:
            raise ValueError(f"a KEM ciphertext must have {size} bytes")


class RemoteSigningKey(_RemoteKey):
    """Implements ``SigningKey``."""

    @property
    def public_key(self) -> bytes:
        """The encoded public key."""
        return self._key.public_key

    def sign(self, message: bytes, *, context: bytes = b"", deterministic: bool = False) -> bytes:
        """Sign; hedged unless ``deterministic``."""
        signature: bytes = self._call(
            "/signature/sign",
            "signature",
            message=message,
            context_string=context,
            deterministic=deterministic,
        )
        return signature

    def sign_prehash(self, digest: bytes, hash_name: str, *, context: bytes = b"") -> bytes:
        """Sign a digest."""
        signature: bytes = self._call(
            "/signature/sign-hash",
            "signature",
            hash=digest,
            hash_algorithm=hash_name,
            context_string=context,
        )
        return signature

    def sign_many(
        self, messages: Sequence[bytes], *, context: bytes = b"", threads: int = 1
    ) -> list[bytes]:
        """Sign several messages."""
        return self._call_many(
            "/batch/sign", "signature", "messages", messages, context_string=context
        )
