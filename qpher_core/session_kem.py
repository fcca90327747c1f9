# SPDX-License-Identifier: Apache-2.0
"""``session.kem``: encrypting messages, encapsulating, wrapping keys."""

from collections.abc import Mapping, Sequence, Sized
from typing import Final

from attrs import frozen

from qpher_core import messages
from qpher_core.algorithms import DEFAULT_KEM, Kind, find
from qpher_core.calls import Effect, KeyCall, KeySelector, Runner, Shared
from qpher_core.envelopes import EncryptedEnvelope, open_envelope, seal_envelope
from qpher_core.errors import ValidationError
from qpher_core.models import KeyVersion, RequestContext
from qpher_core.operations import OPERATIONS
from qpher_core.protocols import KeyStore
from qpher_core.results import (
    DecapsulateResult,
    DecryptResult,
    EncapsulateResult,
    EncryptResult,
    KeyUnwrapResult,
    KeyWrapResult,
)
from qpher_core.validation import check_bytes, check_context, check_name, check_version

__all__ = [
    "WRAPPING_METHOD",
    "Context",
    "Kem",
    "check_mode",
    "check_salt",
    "decapsulate_all",
    "encapsulate_all",
    "kem_selector",
]

_WRAPPABLE: Final = (16, 24, 32, 48, 64)
_LEAST_SALT: Final = 32
#: How keys are wrapped, for results.
WRAPPING_METHOD: Final = "HPKE"

#: What the HTTP API calls the bytes that go in.
_INPUT: Final = {
    "kem.decrypt": "ciphertext",
    "kem.wrap": "symmetric_key",
    "kem.unwrap": "wrapped_key",
    "kem.encrypt_file": "file_key",
}

Context = Mapping[str, str] | None


@frozen
class Kem:
    """KEM operations of one tenant.

    ``context`` is bound into what is encrypted: it opens only with the same one. Every method
    raises ``ValidationError`` for bad parameters, ``NotFound``, ``StateConflict``,
    ``PermissionDenied`` and the ``Unavailable`` errors; those that decrypt raise
    ``DecryptionFailed``, the same for every cause.
    """

    _pipeline: Runner
    _keys: KeyStore
    _context: RequestContext

    def encrypt(
        self,
        plaintext: bytes,
        key_version: int | None = None,
        mode: str = "standard",
        salt: bytes | None = None,
        algorithm: str = DEFAULT_KEM,
        *,
        name: str = "default",
        context: Context = None,
    ) -> EncryptResult:
        """Encrypt a message; with the active key version where none is given.

        Args:
            plaintext: any number of bytes.
            key_version: key version, from 1.
            mode: ``standard``, or ``deterministic``: equal input gives equal output. That
                shows who compares ciphertexts which plaintexts are equal.
            salt: with deterministic mode, a secret of at least 32 bytes.
            algorithm: a KEM.
            name: key name.
            context: text that must be given again to decrypt; it is not stored.
        """
        data = check_bytes(plaintext, "plaintext")
        secret = check_mode(mode, salt)
        bound = check_context(context)

        def execute(key: KeyVersion) -> "Effect[bytes]":
            binding = messages.Binding(key.ref, messages.Kind.MESSAGE, bound)
            opened = self._keys.open_encapsulation(key)
            ciphertext = messages.encrypt(opened, binding, data, salt=secret)
            return Effect(ciphertext, ciphertext)

        call = KeyCall(
            operation=OPERATIONS["kem.encrypt"],
            selector=kem_selector(name, algorithm, key_version),
            context=bound,
            payload_bytes=len(data),
            features=lambda: frozenset() if secret is None else frozenset({"deterministic"}),
            inputs={"plaintext": data, "mode": mode, "salt": secret, "context": bound},
            execute=execute,
        )
        done = self._pipeline.run(self._context, call)
        return EncryptResult(ciphertext=done.value, **done.common)

    def decrypt(
        self,
        ciphertext: bytes,
        key_version: int,
        algorithm: str = DEFAULT_KEM,
        *,
        name: str = "default",
        context: Context = None,
        accept_compromised: bool = False,
    ) -> DecryptResult:
        """Decrypt a message."""
        data = check_bytes(ciphertext, "ciphertext")
        call = self._opening(
            "kem.decrypt",
            messages.Kind.MESSAGE,
            data,
            kem_selector(name, algorithm, check_version(key_version)),
            check_context(context),
            accept_compromised=accept_compromised,
        )
        done = self._pipeline.run(self._context, call)
        return DecryptResult(plaintext=done.value, **done.common)

    def encapsulate(
        self, key_version: int | None = None, algorithm: str = DEFAULT_KEM, *, name: str = "default"
    ) -> EncapsulateResult:
        """Return a fresh 32-byte shared secret and the KEM ciphertext that carries it."""

        def execute(key: KeyVersion) -> "Effect[tuple[bytes, bytes]]":
            ciphertext, secret = self._keys.open_encapsulation(key).encapsulate()
            return Effect((ciphertext, secret), ciphertext)

        call = KeyCall(
            operation=OPERATIONS["kem.encapsulate"],
            selector=kem_selector(name, algorithm, key_version),
            execute=execute,
            shared=Shared(None, encapsulate_all),
        )
        done = self._pipeline.run(self._context, call)
        ciphertext, secret = done.value
        return EncapsulateResult(kem_ciphertext=ciphertext, shared_secret=secret, **done.common)

    def decapsulate(
        self,
        kem_ciphertext: bytes,
        key_version: int,
        algorithm: str = DEFAULT_KEM,
        *,
        name: str = "default",
        accept_compromised: bool = False,
    ) -> DecapsulateResult:
        """Return the 32-byte shared secret of a KEM ciphertext.

        A wrong ciphertext of the right length gives another secret (implicit rejection).
        """
        selector = kem_selector(name, algorithm, check_version(key_version))
        size = selector.algorithm.output_bytes
        data = check_bytes(kem_ciphertext, "kem_ciphertext", sizes=(size,))

        def execute(key: KeyVersion) -> "Effect[bytes]":
            return Effect(self._keys.open_decapsulation(key).decapsulate(data), data)

        call = KeyCall(
            operation=OPERATIONS["kem.decapsulate"],
            selector=selector,
            payload_bytes=size,
            accept_compromised=accept_compromised,
            inputs={"kem_ciphertext": data},
            execute=execute,
            # X-Wing alone can fail, and then for one ciphertext only
            shared=None if selector.algorithm.hybrid else Shared(data, decapsulate_all),
        )
        done = self._pipeline.run(self._context, call)
        return DecapsulateResult(shared_secret=done.value, **done.common)

    def wrap(
        self,
        symmetric_key: bytes,
        key_version: int | None = None,
        algorithm: str = DEFAULT_KEM,
        *,
        name: str = "default",
        context: Context = None,
    ) -> KeyWrapResult:
        """Wrap a symmetric key of 16, 24, 32, 48 or 64 bytes."""
        data = check_bytes(symmetric_key, "symmetric_key", sizes=_WRAPPABLE)
        selector = kem_selector(name, algorithm, key_version)
        call = self._wrapping(
            "kem.wrap", messages.Kind.WRAPPED_KEY, data, selector, check_context(context)
        )
        done = self._pipeline.run(self._context, call)
        return KeyWrapResult(wrapped_key=done.value, wrapping_method=WRAPPING_METHOD, **done.common)

    def unwrap(
        self,
        wrapped_key: bytes,
        key_version: int,
        algorithm: str = DEFAULT_KEM,
        *,
        name: str = "default",
        context: Context = None,
        accept_compromised: bool = False,
    ) -> KeyUnwrapResult:
        """Unwrap a symmetric key."""
        data = check_bytes(wrapped_key, "wrapped_key")
        call = self._opening(
            "kem.unwrap",
            messages.Kind.WRAPPED_KEY,
            data,
            kem_selector(name, algorithm, check_version(key_version)),
            check_context(context),
            accept_compromised=accept_compromised,
        )
        done = self._pipeline.run(self._context, call)
        return KeyUnwrapResult(symmetric_key=done.value, **done.common)

    def encrypt_local(
        self,
        plaintext: bytes,
        key_version: int | None = None,
        algorithm: str = DEFAULT_KEM,
        *,
        name: str = "default",
    ) -> EncryptedEnvelope:
        """Encrypt a message of any size here, under a shared secret that the service encapsulates.

        In a session with a service elsewhere the plaintext does not leave this process; the
        service could open the envelope all the same, for the shared secret is known to it.
        """
        data = check_bytes(plaintext, "plaintext")
        return seal_envelope(self.encapsulate(key_version, algorithm, name=name), data)

    def decrypt_local(
        self,
        envelope: EncryptedEnvelope,
        *,
        name: str = "default",
        accept_compromised: bool = False,
    ) -> bytes:
        """Return the plaintext of an envelope; only its KEM ciphertext goes to the service."""
        if not isinstance(envelope, EncryptedEnvelope):
            raise ValidationError("envelope must be an EncryptedEnvelope", parameter="envelope")
        opened = self.decapsulate(
            envelope.kem_ciphertext,
            envelope.key_version,
            envelope.algorithm,
            name=name,
            accept_compromised=accept_compromised,
        )
        return open_envelope(envelope, opened.shared_secret)

    # --- how -----------------------------------------------------------------------------------

    def _wrapping(
        self,
        action: str,
        kind: messages.Kind,
        data: bytes,
        selector: KeySelector,
        bound: dict[str, str],
    ) -> KeyCall[bytes]:
        def execute(key: KeyVersion) -> "Effect[bytes]":
            binding = messages.Binding(key.ref, kind, bound)
            wrapped = messages.encrypt(self._keys.open_encapsulation(key), binding, data)
            return Effect(wrapped, wrapped)

        return KeyCall(
            operation=OPERATIONS[action],
            selector=selector,
            context=bound,
            payload_bytes=len(data),
            inputs={_INPUT[action]: data, "context": bound},
            execute=execute,
        )

    def _opening(
        self,
        action: str,
        kind: messages.Kind,
        data: bytes,
        selector: KeySelector,
        bound: dict[str, str],
        *,
        accept_compromised: bool,
    ) -> KeyCall[bytes]:
        def execute(key: KeyVersion) -> "Effect[bytes]":
            binding = messages.Binding(key.ref, kind, bound)
            opened = self._keys.open_decapsulation(key)
            return Effect(messages.decrypt(opened, binding, data), data)

        return KeyCall(
            operation=OPERATIONS[action],
            selector=selector,
            context=bound,
            payload_bytes=len(data),
            accept_compromised=accept_compromised,
            inputs={_INPUT[action]: data, "context": bound},
            execute=execute,
        )


def encapsulate_all(
    keys: KeyStore, key: KeyVersion, each: Sized, _: None = None, threads: int = 1
) -> list[Effect[tuple[bytes, bytes]]]:
    """Return as many independent encapsulations as ``each`` has items."""
    made = keys.open_encapsulation(key).encapsulate_many(len(each), threads=threads)
    return [Effect(pair, pair[0]) for pair in made]


def decapsulate_all(
    keys: KeyStore,
    key: KeyVersion,
    ciphertexts: Sequence[bytes],
    _: None = None,
    threads: int = 1,
) -> list[Effect[bytes]]:
    """Decapsulate KEM ciphertexts of an algorithm that rejects none of the right length."""
    secrets = keys.open_decapsulation(key).decapsulate_many(ciphertexts, threads=threads)
    return [Effect(secret, given) for secret, given in zip(secrets, ciphertexts, strict=True)]


def kem_selector(name: str, algorithm: str, version: int | None) -> KeySelector:
    """Return the checked address of a KEM key."""
    row = find(algorithm, kind=Kind.KEM)
    checked = None if version is None else check_version(version)
    return KeySelector(check_name(name, "name"), row, checked)


def check_salt(salt: object) -> bytes:
    """Return the secret of deterministic mode: at least 32 bytes."""
    return check_bytes(salt, "salt", least=_LEAST_SALT)


def check_mode(mode: str, salt: bytes | None) -> bytes | None:
    """Return the salt of deterministic mode; None for standard mode, which has none."""
    if mode == "deterministic":
        return check_salt(salt)
    if mode != "standard":
        raise ValidationError("mode must be 'standard' or 'deterministic'", parameter="mode")
    if salt is not None:
        raise ValidationError("salt goes with mode='deterministic' only", parameter="salt")
    return None
