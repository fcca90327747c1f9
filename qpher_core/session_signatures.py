# SPDX-License-Identifier: Apache-2.0
"""``session.signatures``: signing and verifying."""

from collections.abc import Sequence
from typing import Final

from attrs import frozen

from qpher_core import algorithms
from qpher_core.algorithms import DEFAULT_SIGNATURE
from qpher_core.calls import Effect, KeyCall, KeySelector, Runner, Shared
from qpher_core.chunked import Progress
from qpher_core.context_string import Context, context_string
from qpher_core.errors import NotFound, ValidationError
from qpher_core.file_io import FileSource
from qpher_core.models import KeyRef, KeyVersion, RequestContext
from qpher_core.operations import OPERATIONS
from qpher_core.protocols import KeyStore
from qpher_core.results import SignHashResult, SignResult, VerifyHashResult, VerifyResult
from qpher_core.signed_files import FILE_HASH, FileSignature, file_digest, fingerprint
from qpher_core.validation import check_bytes, check_context, check_name, check_version

__all__ = [
    "HASHES",
    "Signatures",
    "bound_input",
    "recorded_context",
    "sign_all",
    "signature_selector",
    "verify_all",
]

_SIGNATURE_TYPE: Final = "detached"

#: Hash name to digest length in bytes.
HASHES: Final = {"SHA-256": 32, "SHA-384": 48, "SHA-512": 64}


@frozen
class Signatures:
    """Signature operations of one tenant. Errors as :class:`~qpher_core.session_kem.Kem`."""

    _pipeline: Runner
    _keys: KeyStore
    _context: RequestContext

    def sign(
        self,
        message: bytes,
        key_version: int | None = None,
        algorithm: str = DEFAULT_SIGNATURE,
        *,
        name: str = "default",
        context: Context = None,
        deterministic: bool = False,
    ) -> SignResult:
        """Sign a message; with the active key version where none is given.

        Args:
            message: any number of bytes.
            key_version: key version, from 1.
            algorithm: a signature algorithm.
            name: key name.
            context: must be given again to verify (see :func:`context_string`).
            deterministic: the same message always gives the same signature; hedged otherwise.
        """
        data = check_bytes(message, "message")
        string = context_string(context)

        def execute(key: KeyVersion) -> "Effect[bytes]":
            signature = self._keys.open_signing(key).sign(
                data, context=string, deterministic=deterministic
            )
            return Effect(signature, signature)

        call = KeyCall(
            operation=OPERATIONS["signatures.sign"],
            selector=signature_selector(name, algorithm, key_version),
            context=recorded_context(context),
            payload_bytes=len(data),
            inputs={"message": data, "deterministic": deterministic, **bound_input(context)},
            execute=execute,
            shared=None if deterministic else Shared(data, sign_all, string),
        )
        done = self._pipeline.run(self._context, call)
        return SignResult(signature=done.value, **done.common)

    def verify(
        self,
        message: bytes,
        signature: bytes,
        key_version: int,
        algorithm: str = DEFAULT_SIGNATURE,
        *,
        name: str = "default",
        context: Context = None,
        accept_compromised: bool = False,
    ) -> VerifyResult:
        """Verify a signature; ``valid`` is False for any that is wrong or malformed."""
        data = check_bytes(message, "message")
        given = check_bytes(signature, "signature")
        string = context_string(context)

        def execute(key: KeyVersion) -> "Effect[bool]":
            opened = self._keys.open_verification(key)
            return Effect(opened.verify(data, given, context=string), given)

        selector = signature_selector(name, algorithm, check_version(key_version))
        longer = len(given) > selector.algorithm.output_bytes  # is none, and may be of any length
        call = KeyCall(
            operation=OPERATIONS["signatures.verify"],
            selector=selector,
            context=recorded_context(context),
            payload_bytes=len(data),
            accept_compromised=accept_compromised,
            inputs={"message": data, "signature": given, **bound_input(context)},
            execute=execute,
            shared=None if longer else Shared((data, given), verify_all, string),
        )
        done = self._pipeline.run(self._context, call)
        return VerifyResult(valid=done.value, **done.common)

    def sign_hash(
        self,
        hash_value: bytes,
        hash_algorithm: str,
        key_version: int | None = None,
        algorithm: str = DEFAULT_SIGNATURE,
        *,
        name: str = "default",
        context: Context = None,
    ) -> SignHashResult:
        """Sign a digest that the caller computed.

        ML-DSA signs it as HashML-DSA (FIPS 204 section 5.4). The composites take SHA-512 only:
        it is their own pre-hash, so the signature also verifies over the message itself.

        Args:
            hash_value: the digest.
            hash_algorithm: ``SHA-256``, ``SHA-384`` or ``SHA-512``.
            key_version: key version, from 1; the active one where none is given.
            algorithm: a signature algorithm.
            name: key name.
            context: must be given again to verify.
        """
        selector = signature_selector(name, algorithm, key_version)
        digest = _check_digest(hash_value, hash_algorithm, selector)
        string = context_string(context)

        def execute(key: KeyVersion) -> "Effect[bytes]":
            opened = self._keys.open_signing(key)
            signature = opened.sign_prehash(digest, hash_algorithm, context=string)
            return Effect(signature, signature)

        call = KeyCall(
            operation=OPERATIONS["signatures.sign_hash"],
            selector=selector,
            context=recorded_context(context),
            payload_bytes=len(digest),
            inputs={"hash": digest, "hash_algorithm": hash_algorithm, **bound_input(context)},
            execute=execute,
        )
        done = self._pipeline.run(self._context, call)
        return SignHashResult(
            signature=done.value,
            hash_algorithm=hash_algorithm,
            signature_type=_SIGNATURE_TYPE,
            **done.common,
        )

    def verify_hash(
        self,
        hash_value: bytes,
        hash_algorithm: str,
        signature: bytes,
        key_version: int,
        algorithm: str = DEFAULT_SIGNATURE,
        *,
        name: str = "default",
        context: Context = None,
        accept_compromised: bool = False,
    ) -> VerifyHashResult:
        """Verify a signature over a digest."""
        selector = signature_selector(name, algorithm, check_version(key_version))
        digest = _check_digest(hash_value, hash_algorithm, selector)
        given = check_bytes(signature, "signature")
        string = context_string(context)

        def execute(key: KeyVersion) -> "Effect[bool]":
            opened = self._keys.open_verification(key)
            valid = opened.verify_prehash(digest, hash_algorithm, given, context=string)
            return Effect(valid, given)

        call = KeyCall(
            operation=OPERATIONS["signatures.verify_hash"],
            selector=selector,
            context=recorded_context(context),
            payload_bytes=len(digest),
            accept_compromised=accept_compromised,
            inputs={
                "hash": digest,
                "hash_algorithm": hash_algorithm,
                "signature": given,
                **bound_input(context),
            },
            execute=execute,
        )
        done = self._pipeline.run(self._context, call)
        return VerifyHashResult(valid=done.value, hash_algorithm=hash_algorithm, **done.common)

    def sign_file(
        self,
        source: FileSource,
        key_version: int | None = None,
        algorithm: str = DEFAULT_SIGNATURE,
        *,
        name: str = "default",
        context: Context = None,
        progress: Progress = lambda _: None,
    ) -> FileSignature:
        """Sign a file of any size in constant memory, over its SHA-512.

        Args:
            source: path or binary file.
            key_version: key version, from 1; the active one where none is given.
            algorithm: a signature algorithm.
            name: key name.
            context: must be given again to verify.
            progress: called with the number of bytes of each piece.
        """
        row = signature_selector(name, algorithm, key_version).algorithm
        digest = file_digest(source, progress)
        done = self.sign_hash(digest, FILE_HASH, key_version, algorithm, name=name, context=context)
        # What was just signed with is known to the caller: its public side needs no decision.
        key = self._keys.get(KeyRef(self._context.tenant_id, name, row.name, done.key_version))
        if key is None:
            raise NotFound("the key is gone since it signed")
        return FileSignature(
            key.algorithm, key.name, key.version, fingerprint(key), done.receipt, done.signature
        )

    def verify_file(
        self,
        source: FileSource,
        signature: FileSignature | str,
        *,
        context: Context = None,
        accept_compromised: bool = False,
        progress: Progress = lambda _: None,
    ) -> VerifyHashResult:
        """Verify a file with the key that its signature names.

        ``qpher_core.verify_file`` does it with the public key alone, anywhere.
        """
        given = FileSignature.given(signature)
        signature_selector(given.key_name, given.algorithm, given.key_version)
        return self.verify_hash(
            file_digest(source, progress),
            FILE_HASH,
            given.signature,
            given.key_version,
            given.algorithm,
            name=given.key_name,
            context=context,
            accept_compromised=accept_compromised,
        )


def sign_all(
    keys: KeyStore, key: KeyVersion, messages: Sequence[bytes], string: bytes, threads: int = 1
) -> list[Effect[bytes]]:
    """Sign messages under one context string."""
    signatures = keys.open_signing(key).sign_many(messages, context=string, threads=threads)
    return [Effect(signature, signature) for signature in signatures]


def verify_all(
    keys: KeyStore,
    key: KeyVersion,
    pairs: Sequence[tuple[bytes, bytes]],
    string: bytes,
    threads: int = 1,
) -> list[Effect[bool]]:
    """Verify (message, signature) pairs under one context string."""
    valid = keys.open_verification(key).verify_many(pairs, context=string, threads=threads)
    return [Effect(ok, signature) for ok, (_, signature) in zip(valid, pairs, strict=True)]


def signature_selector(name: str, algorithm: str, version: int | None) -> KeySelector:
    """Return the checked address of a signature key."""
    row = algorithms.find(algorithm, kind=algorithms.Kind.SIGNATURE)
    checked = None if version is None else check_version(version)
    return KeySelector(check_name(name, "name"), row, checked)


def _check_digest(value: object, hash_name: object, selector: KeySelector) -> bytes:
    allowed = ["SHA-512"] if selector.algorithm.hybrid else list(HASHES)
    if not isinstance(hash_name, str) or hash_name not in allowed:
        raise ValidationError(
            f"hash_algorithm must be one of: {', '.join(allowed)}", parameter="hash_algorithm"
        )
    return check_bytes(value, "hash_value", sizes=(HASHES[hash_name],))


def recorded_context(context: Context) -> dict[str, str]:
    """Return the part of a context that policy and the entry's digest are about."""
    if isinstance(context, bytes | bytearray | memoryview):
        return {"context string": bytes(context).hex()} if context else {}
    return check_context(context)


def bound_input(context: Context) -> dict[str, object]:
    """Return a context as the HTTP API takes it: a mapping, or the context string itself."""
    if isinstance(context, bytes | bytearray | memoryview):
        return {"context_string": bytes(context)}
    return {"context": check_context(context)}
