# SPDX-License-Identifier: Apache-2.0
"""Encryption, encapsulation and key wrap."""

from typing import Final

import msgspec

from qpher_core.asgi import models_kem as models
from qpher_core.asgi.endpoint import Ask, Endpoint, Handler, limited
from qpher_core.asgi.models import KEM
from qpher_core.asgi.names import common
from qpher_core.results import KeyWrapResult

__all__ = ["ENDPOINTS"]

_INPUT: Final = "ERR_KEM_001"


def encrypt(ask: Ask) -> models.Encrypted:
    """Encrypt a message."""
    body: models.Encrypt = ask.body
    done = ask.session.kem.encrypt(
        limited(ask, body.plaintext, "plaintext"),
        body.key_version,
        body.mode,
        body.salt,
        body.algorithm or KEM,
        name=body.name,
        context=body.context,
    )
    return models.Encrypted(ciphertext=done.ciphertext, **common(done))


def decrypt(ask: Ask) -> models.Decrypted:
    """Decrypt a message."""
    body: models.Decrypt = ask.body
    done = ask.session.kem.decrypt(
        body.ciphertext,
        body.key_version,
        body.algorithm or KEM,
        name=body.name,
        context=body.context,
        accept_compromised=body.accept_compromised,
    )
    return models.Decrypted(plaintext=done.plaintext, **common(done))


def encapsulate(ask: Ask) -> models.Encapsulated:
    """Make a shared secret."""
    body: models.Encapsulate = ask.body
    done = ask.session.kem.encapsulate(body.key_version, body.algorithm or KEM, name=body.name)
    return models.Encapsulated(
        kem_ciphertext=done.kem_ciphertext, shared_secret=done.shared_secret, **common(done)
    )


def decapsulate(ask: Ask) -> models.Decapsulated:
    """Recover a shared secret."""
    body: models.Decapsulate = ask.body
    done = ask.session.kem.decapsulate(
        body.kem_ciphertext,
        body.key_version,
        body.algorithm or KEM,
        name=body.name,
        accept_compromised=body.accept_compromised,
    )
    return models.Decapsulated(shared_secret=done.shared_secret, **common(done))


def _wrapped(done: KeyWrapResult) -> models.Wrapped:
    return models.Wrapped(
        wrapped_key=done.wrapped_key, wrapping_method=done.wrapping_method, **common(done)
    )


def wrap(ask: Ask) -> models.Wrapped:
    """Wrap a symmetric key."""
    body: models.Wrap = ask.body
    done = ask.session.kem.wrap(
        body.symmetric_key,
        body.key_version,
        body.algorithm or KEM,
        name=body.name,
        context=body.context,
    )
    return _wrapped(done)


def unwrap(ask: Ask) -> models.Unwrapped:
    """Unwrap a symmetric key."""
    body: models.Unwrap = ask.body
    done = ask.session.kem.unwrap(
        body.wrapped_key,
        body.key_version,
        body.algorithm or KEM,
        name=body.name,
        context=body.context,
        accept_compromised=body.accept_compromised,
    )
    return models.Unwrapped(symmetric_key=done.symmetric_key, **common(done))


def rewrap(ask: Ask) -> models.Wrapped:
    """Wrap a wrapped key anew; the key itself is not released."""
    body: models.Rewrap = ask.body
    algorithm = body.algorithm or KEM
    opened = ask.session.kem.unwrap(
        body.wrapped_key,
        body.key_version,
        algorithm,
        name=body.name,
        context=body.context,
        accept_compromised=body.accept_compromised,
    )
    done = ask.session.kem.wrap(
        opened.symmetric_key,
        body.new_key_version,
        body.new_algorithm or algorithm,
        name=body.name,
        context=body.context,
    )
    return _wrapped(done)


def wrap_file_key(ask: Ask) -> models.Wrapped:
    """Wrap the key of a file."""
    body: models.WrapFileKey = ask.body
    done = ask.session.kem.wrap_file_key(
        body.file_key,
        body.key_version,
        body.algorithm or KEM,
        name=body.name,
        context=body.context,
    )
    return _wrapped(done)


def unwrap_file_key(ask: Ask) -> models.UnwrappedFileKey:
    """Return the key of a file."""
    body: models.UnwrapFileKey = ask.body
    done = ask.session.kem.unwrap_file_key(
        body.recipients,
        body.key_version,
        body.algorithm or KEM,
        name=body.name,
        context=body.context,
        accept_compromised=body.accept_compromised,
    )
    return models.UnwrappedFileKey(file_key=done.symmetric_key, **common(done))


def _endpoint(
    path: str,
    handler: Handler,
    body: type[msgspec.Struct],
    answer: type[msgspec.Struct],
    summary: str,
    *actions: str,
    sdk: bool = True,
) -> Endpoint:
    return Endpoint(
        method="POST",
        path=path,
        handler=handler,
        body=body,
        answer=answer,
        summary=summary,
        tag="KEM",
        operations=actions,
        sdk=sdk,
        brief=True,
        input_code=_INPUT,
    )


ENDPOINTS: Final = (
    _endpoint(
        "/kem/encapsulate",
        encapsulate,
        models.Encapsulate,
        models.Encapsulated,
        "Make a shared secret",
        "kem.encapsulate",
    ),
    _endpoint(
        "/kem/decapsulate",
        decapsulate,
        models.Decapsulate,
        models.Decapsulated,
        "Recover a shared secret",
        "kem.decapsulate",
    ),
    _endpoint(
        "/kem/encrypt",
        encrypt,
        models.Encrypt,
        models.Encrypted,
        "Encrypt a message",
        "kem.encrypt",
    ),
    _endpoint(
        "/kem/decrypt",
        decrypt,
        models.Decrypt,
        models.Decrypted,
        "Decrypt a message",
        "kem.decrypt",
    ),
    *(
        _endpoint(path, wrap, models.Wrap, models.Wrapped, "Wrap a symmetric key", "kem.wrap")
        for path in ("/kem/key/wrap", "/kem/wrap")
    ),
    *(
        _endpoint(
            path, unwrap, models.Unwrap, models.Unwrapped, "Unwrap a symmetric key", "kem.unwrap"
        )
        for path in ("/kem/key/unwrap", "/kem/unwrap")
    ),
    _endpoint(
        "/kem/rewrap",
        rewrap,
        models.Rewrap,
        models.Wrapped,
        "Wrap a wrapped key anew",
        "kem.unwrap",
        "kem.wrap",
        sdk=False,
    ),
    _endpoint(
        "/kem/file-key/wrap",
        wrap_file_key,
        models.WrapFileKey,
        models.Wrapped,
        "Wrap the key of a file that the caller encrypts",
        "kem.encrypt_file",
        sdk=False,
    ),
    _endpoint(
        "/kem/file-key/unwrap",
        unwrap_file_key,
        models.UnwrapFileKey,
        models.UnwrappedFileKey,
        "The key of a file, from the recipients in its header",
        "kem.decrypt_file",
        sdk=False,
    ),
)
