# SPDX-License-Identifier: Apache-2.0
"""The same operations on several items: one policy decision and one durable commit for all.

Every method returns a list with a result or an error for each item, in order. Items share key,
context and request id; each has an audit entry of its own. What stops the call as a whole (the
key's state, policy, a store that cannot record) is raised, and then nothing was released.

A service elsewhere takes 1,000 items or 16 MiB at once: more are several calls there, one after the
other, each with its decision and commit. If one is refused nothing is released, but what those
before it did is in the service's log.

``threads`` is how many threads of this process may compute at once, from 1 to 256; a provider may
use fewer, and where a service computes, it is the service that decides.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from qpher_core import messages
from qpher_core.algorithms import DEFAULT_KEM, DEFAULT_SIGNATURE
from qpher_core.calls import Effect, Item, KeyCall, KeySelector, Result
from qpher_core.context_string import context_string
from qpher_core.errors import QpherError, Unavailable, ValidationError
from qpher_core.models import KeyVersion
from qpher_core.operations import OPERATIONS
from qpher_core.results import (
    DecapsulateResult,
    DecryptResult,
    EncapsulateResult,
    EncryptResult,
    SignResult,
    VerifyResult,
)
from qpher_core.session_files import FileKem
from qpher_core.session_kem import decapsulate_all, encapsulate_all, kem_selector
from qpher_core.session_signatures import (
    Signatures,
    bound_input,
    recorded_context,
    sign_all,
    signature_selector,
    verify_all,
)
from qpher_core.validation import check_bytes, check_context, check_threads, check_version

__all__ = ["MOST_ITEMS", "BatchKem", "BatchSignatures", "all_bytes"]

T = TypeVar("T")
V = TypeVar("V")

#: Items of one call at most; bounds what one commit holds.
MOST_ITEMS: Final = 10_000


class BatchSignatures(Signatures):
    """Signature operations of one tenant, on one item or several."""

    def sign_many(
        self,
        messages: Sequence[bytes],
        key_version: int | None = None,
        algorithm: str = DEFAULT_SIGNATURE,
        *,
        name: str = "default",
        context: Mapping[str, str] | bytes | None = None,
        threads: int = 1,
    ) -> list[SignResult | QpherError]:
        """Sign several messages, as :meth:`sign` does one."""
        data = all_bytes(messages, "messages")
        string = context_string(context)
        check_threads(threads)

        def execute(key: KeyVersion) -> Effect[Sequence[Item[bytes]]]:
            return Effect(sign_all(self._keys, key, data, string, threads))

        call = KeyCall(
            operation=OPERATIONS["signatures.sign"],
            selector=signature_selector(name, algorithm, key_version),
            context=recorded_context(context),
            payload_bytes=sum(map(len, data)),
            inputs={"messages": data, **bound_input(context)},
            execute=execute,
        )
        done = self._pipeline.run_many(self._context, call)
        return _results(done, lambda d: SignResult(signature=d.value, **d.common))

    def verify_many(
        self,
        pairs: Sequence[tuple[bytes, bytes]],
        key_version: int,
        algorithm: str = DEFAULT_SIGNATURE,
        *,
        name: str = "default",
        context: Mapping[str, str] | bytes | None = None,
        accept_compromised: bool = False,
        threads: int = 1,
    ) -> list[VerifyResult | QpherError]:
        """Verify several (message, signature) pairs, as :meth:`verify` does one."""
        given = _all_pairs(pairs)
        string = context_string(context)
        check_threads(threads)

        def execute(key: KeyVersion) -> Effect[Sequence[Item[bool]]]:
            return Effect(verify_all(self._keys, key, given, string, threads))

        call = KeyCall(
            operation=OPERATIONS["signatures.verify"],
            selector=signature_selector(name, algorithm, check_version(key_version)),
            context=recorded_context(context),
            payload_bytes=sum(len(message) for message, _ in given),
            accept_compromised=accept_compromised,
            inputs={
                "pairs": [{"message": message, "signature": s} for message, s in given],
                **bound_input(context),
            },
            execute=execute,
        )
        done = self._pipeline.run_many(self._context, call)
        return _results(done, lambda d: VerifyResult(valid=d.value, **d.common))


class BatchKem(FileKem):
    """KEM operations of one tenant, on one item or several."""

    def encapsulate_many(
        self,
        count: int,
        key_version: int | None = None,
        algorithm: str = DEFAULT_KEM,
        *,
        name: str = "default",
        threads: int = 1,
    ) -> list[EncapsulateResult | QpherError]:
        """Return ``count`` independent encapsulations, as :meth:`encapsulate` gives one."""
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_ITEMS:
            raise ValidationError(f"count must be from 1 to {MOST_ITEMS}", parameter="count")
        check_threads(threads)

        def execute(key: KeyVersion) -> Effect[Sequence[Item[tuple[bytes, bytes]]]]:
            return Effect(encapsulate_all(self._keys, key, range(count), threads=threads))

        call = KeyCall(
            operation=OPERATIONS["kem.encapsulate"],
            selector=kem_selector(name, algorithm, key_version),
            inputs={"count": count},
            execute=execute,
        )
        done = self._pipeline.run_many(self._context, call)
        return _results(
            done,
            lambda d: EncapsulateResult(
                kem_ciphertext=d.value[0], shared_secret=d.value[1], **d.common
            ),
        )

    def decapsulate_many(
        self,
        kem_ciphertexts: Sequence[bytes],
        key_version: int,
        algorithm: str = DEFAULT_KEM,
        *,
        name: str = "default",
        accept_compromised: bool = False,
        threads: int = 1,
    ) -> list[DecapsulateResult | QpherError]:
        """Decapsulate several KEM ciphertexts, as :meth:`decapsulate` does one."""
        selector = kem_selector(name, algorithm, check_version(key_version))
        size = selector.algorithm.output_bytes
        data = all_bytes(kem_ciphertexts, "kem_ciphertexts", sizes=(size,))
        check_threads(threads)

        def execute(key: KeyVersion) -> Effect[Sequence[Item[bytes]]]:
            if selector.algorithm.hybrid:  # X-Wing alone can fail, and then item by item
                opened = self._keys.open_decapsulation(key)
                return Effect([_attempt(opened.decapsulate, item) for item in data])
            return Effect(decapsulate_all(self._keys, key, data, threads=threads))

        call = KeyCall(
            operation=OPERATIONS["kem.decapsulate"],
            selector=selector,
            payload_bytes=size * len(data),
            accept_compromised=accept_compromised,
            inputs={"kem_ciphertexts": data},
            execute=execute,
        )
        done = self._pipeline.run_many(self._context, call)
        return _results(done, lambda d: DecapsulateResult(shared_secret=d.value, **d.common))

    def encrypt_many(
        self,
        plaintexts: Sequence[bytes],
        key_version: int | None = None,
        algorithm: str = DEFAULT_KEM,
        *,
        name: str = "default",
        context: Mapping[str, str] | None = None,
    ) -> list[EncryptResult | QpherError]:
        """Encrypt several messages, as :meth:`encrypt` does one."""
        data = all_bytes(plaintexts, "plaintexts")
        bound = check_context(context)

        def execute(key: KeyVersion) -> Effect[Sequence[Item[bytes]]]:
            binding = messages.Binding(key.ref, messages.Kind.MESSAGE, bound)
            opened = self._keys.open_encapsulation(key)
            made = [messages.encrypt(opened, binding, plaintext) for plaintext in data]
            return Effect([Effect(ciphertext, ciphertext) for ciphertext in made])

        selector = kem_selector(name, algorithm, key_version)
        call = _call("kem.encrypt", "plaintexts", selector, bound, data, execute)
        done = self._pipeline.run_many(self._context, call)
        return _results(done, lambda d: EncryptResult(ciphertext=d.value, **d.common))

    def decrypt_many(
        self,
        ciphertexts: Sequence[bytes],
        key_version: int,
        algorithm: str = DEFAULT_KEM,
        *,
        name: str = "default",
        context: Mapping[str, str] | None = None,
        accept_compromised: bool = False,
    ) -> list[DecryptResult | QpherError]:
        """Decrypt several messages, as :meth:`decrypt` does one."""
        data = all_bytes(ciphertexts, "ciphertexts")
        bound = check_context(context)
        selector = kem_selector(name, algorithm, check_version(key_version))

        def execute(key: KeyVersion) -> Effect[Sequence[Item[bytes]]]:
            binding = messages.Binding(key.ref, messages.Kind.MESSAGE, bound)
            opened = self._keys.open_decapsulation(key)
            return Effect(
                [_attempt(lambda d: messages.decrypt(opened, binding, d), item) for item in data]
            )

        call = _call(
            "kem.decrypt",
            "ciphertexts",
            selector,
            bound,
            data,
            execute,
            accept_compromised=accept_compromised,
        )
        done = self._pipeline.run_many(self._context, call)
        return _results(done, lambda d: DecryptResult(plaintext=d.value, **d.common))


def _call(
    action: str,
    member: str,
    selector: KeySelector,
    bound: dict[str, str],
    data: Sequence[bytes],
    execute: Callable[[KeyVersion], Effect[Sequence[Item[bytes]]]],
    *,
    accept_compromised: bool = False,
) -> KeyCall[Sequence[Item[bytes]]]:
    """Return the call of an operation on messages."""
    return KeyCall(
        operation=OPERATIONS[action],
        selector=selector,
        context=bound,
        payload_bytes=sum(map(len, data)),
        accept_compromised=accept_compromised,
        inputs={member: data, "context": bound},
        execute=execute,
    )


def _attempt(function: Callable[[bytes], T], item: bytes) -> Item[T]:
    """Return the effect of processing one item, or its error; the item is what is recorded."""
    try:
        return Effect(function(item), item)
    except Unavailable:  # the key cannot be used: it is not this item's fault, and stops the call
        raise
    except QpherError as error:
        return error


def _results(
    done: Sequence[Result[T] | QpherError], make: Callable[[Result[T]], V]
) -> list[V | QpherError]:
    return [item if isinstance(item, QpherError) else make(item) for item in done]


def all_bytes(
    items: object, parameter: str, *, sizes: tuple[int, ...] | None = None
) -> list[bytes]:
    """Return checked items. One that is malformed refuses the call: nothing was done yet."""
    checked = _items(items, parameter)
    return [check_bytes(x, f"{parameter}[{n}]", sizes=sizes) for n, x in enumerate(checked)]


def _all_pairs(pairs: object) -> list[tuple[bytes, bytes]]:
    checked = []
    for number, pair in enumerate(_items(pairs, "pairs")):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValidationError(
                f"pairs[{number}] must be a message and a signature", parameter="pairs"
            )
        message = check_bytes(pair[0], f"pairs[{number}] message")
        checked.append((message, check_bytes(pair[1], f"pairs[{number}] signature")))
    return checked


def _items(items: object, parameter: str) -> Sequence[object]:
    if not isinstance(items, Sequence) or isinstance(items, bytes | bytearray | memoryview | str):
        raise ValidationError(f"{parameter} must be a sequence", parameter=parameter)
    if not 1 <= len(items) <= MOST_ITEMS:
        raise ValidationError(f"{parameter} must have 1 to {MOST_ITEMS} items", parameter=parameter)
    return items
