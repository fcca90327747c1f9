# SPDX-License-Identifier: Apache-2.0
"""Signing and verifying."""

from typing import Final

from qpher_core.asgi import models
from qpher_core.asgi.endpoint import Ask, Endpoint, limited
from qpher_core.asgi.names import wire

__all__ = ["ENDPOINTS"]

_INPUT: Final = "ERR_SIG_001"


def sign(ask: Ask) -> models.Signed:
    """Sign a message."""
    body: models.Sign = ask.body
    done = ask.session.signatures.sign(
        limited(ask, body.message, "message"),
        body.key_version,
        body.algorithm or models.SIGNATURE,
        name=body.name,
        context=body.context,
        deterministic=body.deterministic,
    )
    return models.Signed(done.signature, done.key_version, wire(done.algorithm))


def verify(ask: Ask) -> models.Verified:
    """Verify a signature."""
    body: models.Verify = ask.body
    done = ask.session.signatures.verify(
        limited(ask, body.message, "message"),
        body.signature,
        body.key_version,
        body.algorithm or models.SIGNATURE,
        name=body.name,
        context=body.context,
        accept_compromised=body.accept_compromised,
    )
    return models.Verified(done.valid, done.key_version, wire(done.algorithm))


def sign_hash(ask: Ask) -> models.SignedHash:
    """Sign a digest."""
    body: models.SignHash = ask.body
    done = ask.session.signatures.sign_hash(
        body.hash,
        body.hash_algorithm,
        body.key_version,
        body.algorithm or models.SIGNATURE,
        name=body.name,
        context=body.context,
    )
    return models.SignedHash(
        done.signature,
        done.key_version,
        wire(done.algorithm),
        done.hash_algorithm,
        done.signature_type,
    )


def verify_hash(ask: Ask) -> models.VerifiedHash:
    """Verify a signature over a digest."""
    body: models.VerifyHash = ask.body
    done = ask.session.signatures.verify_hash(
        body.hash,
        body.hash_algorithm,
        body.signature,
        body.key_version,
        body.algorithm or models.SIGNATURE,
        name=body.name,
        context=body.context,
        accept_compromised=body.accept_compromised,
    )
    return models.VerifiedHash(
        done.valid, done.key_version, wire(done.algorithm), done.hash_algorithm
    )


ENDPOINTS: Final = tuple(
    Endpoint(
        method="POST",
        path=path,
        handler=handler,
        body=body,
        answer=answer,
        summary=summary,
        tag="Signatures",
        operations=(action,),
        sdk=True,
        input_code=_INPUT,
    )
    for path, handler, body, answer, summary, action in (
        (
            "/signature/verify",
            verify,
            models.Verify,
            models.Verified,
            "Verify a signature",
            "signatures.verify",
        ),
        ("/signature/sign", sign, models.Sign, models.Signed, "Sign a message", "signatures.sign"),
        (
            "/signature/sign-hash",
            sign_hash,
            models.SignHash,
            models.SignedHash,
            "Sign a digest",
            "signatures.sign_hash",
        ),
        (
            "/signature/verify-hash",
            verify_hash,
            models.VerifyHash,
            models.VerifiedHash,
            "Verify a signature over a digest",
            "signatures.verify_hash",
        ),
    )
)
