# SPDX-License-Identifier: Apache-2.0
"""Encryption, encapsulation and key wrap."""

from typing import Final

import msgspec

from qpher_core.asgi import models
from qpher_core.asgi.endpoint import Ask, Endpoint, Handler, limited
from qpher_core.asgi.names import wire

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
        body.algorithm or models.KEM,
        name=body.name,
        context=body.context,
    )
    return models.Encrypted(done.ciphertext, done.key_version, wire(done.algorithm))


def decrypt(ask: Ask) -> models.Decrypted:
    """Decrypt a message."""
    body: models.Decrypt = ask.body
    done = ask.session.kem.decrypt(
        body.ciphertext,
        body.key_version,
        body.algorithm or models.KEM,
        name=body.name,
        context=body.context,
        accept_compromised=body.accept_compromised,
    )
    return models.Decrypted(done.plaintext, done.key_version, wire(done.algorithm))


def encapsulate(ask: Ask) -> models.Encapsulated:
    """Make a shared secret."""
    body: models.Encapsulate = ask.body
    done = ask.session.kem.encapsulate(
        body.key_version, body.algorithm or models.KEM, name=body.name
    )
    return models.Encapsulated(
        done.kem_ciphertext, done.shared_secret, done.key_version, wire(done.algorithm)
    )


def decapsulate(ask: Ask) -> models.Decapsulated:
    """Recover a shared secret."""
    body: models.Decapsulate = ask.body
    done = ask.session.kem.decapsulate(
        body.kem_ciphertext,
        body.key_version,
        body.algorithm or models.KEM,
        name=body.name,
        accept_compromised=body.accept_compromised,
    )
    return models.Decapsulated(done.shared_secret, done.key_version, wire(done.algorithm))


def wrap(ask: Ask) -> models.Wrapped:
    """Wrap a symmetric key."""
    body: models.Wrap = ask.body
    done = ask.session.kem.wrap(
        body.symmetric_key,
        body.key_version,
        body.algorithm or models.KEM,
        name=body.name,
        context=body.context,
    )
    return models.Wrapped(
        done.wrapped_key, done.key_version, wire(done.algorithm), done.wrapping_method
    )


def unwrap(ask: Ask) -> models.Unwrapped:
    """Unwrap a symmetric key."""
    body: models.Unwrap = ask.body
    done = ask.session.kem.unwrap(
        body.wrapped_key,
        body.key_version,
        body.algorithm or models.KEM,
        name=body.name,
        context=body.context,
        accept_compromised=body.accept_compromised,
    )
    return models.Unwrapped(done.symmetric_key, done.key_version, wire(done.algorithm))


def _endpoint(
    path: str,
    handler: Handler,
    body: type[msgspec.Struct],
    answer: type[msgspec.Struct],
    summary: str,
    action: str,
) -> Endpoint:
    return Endpoint(
        method="POST",
        path=path,
        handler=handler,
        body=body,
        answer=answer,
        summary=summary,
        tag="KEM",
        operations=(action,),
        sdk=True,
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
)
