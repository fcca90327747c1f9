# SPDX-License-Identifier: Apache-2.0
"""Signing and verifying."""

from collections.abc import Mapping
from typing import Final, Protocol

from qpher_core.asgi import models_signatures as models
from qpher_core.asgi.endpoint import Ask, Endpoint, limited
from qpher_core.asgi.models import SIGNATURE
from qpher_core.asgi.names import common
from qpher_core.asgi.strict_json import Base64
from qpher_core.errors import ValidationError

__all__ = ["ENDPOINTS", "bound"]

Bound = Mapping[str, str] | bytes | None

_INPUT: Final = "ERR_SIG_001"


class _Bound(Protocol):
    context: dict[str, str] | None
    context_string: Base64 | None


def bound(body: _Bound) -> Bound:
    """Return the context of a request: a mapping, or the context string itself."""
    if body.context_string is None:
        return body.context
    if body.context is not None:
        raise ValidationError("context_string goes without context", parameter="context_string")
    return body.context_string


def sign(ask: Ask) -> models.Signed:
    """Sign a message."""
    body: models.Sign = ask.body
    done = ask.session.signatures.sign(
        limited(ask, body.message, "message"),
        body.key_version,
        body.algorithm or SIGNATURE,
        name=body.name,
        context=bound(body),
        deterministic=body.deterministic,
    )
    return models.Signed(signature=done.signature, **common(done))


def verify(ask: Ask) -> models.Verified:
    """Verify a signature."""
    body: models.Verify = ask.body
    done = ask.session.signatures.verify(
        limited(ask, body.message, "message"),
        body.signature,
        body.key_version,
        body.algorithm or SIGNATURE,
        name=body.name,
        context=bound(body),
        accept_compromised=body.accept_compromised,
    )
    return models.Verified(valid=done.valid, **common(done))


def sign_hash(ask: Ask) -> models.SignedHash:
    """Sign a digest."""
    body: models.SignHash = ask.body
    done = ask.session.signatures.sign_hash(
        body.hash,
        body.hash_algorithm,
        body.key_version,
        body.algorithm or SIGNATURE,
        name=body.name,
        context=bound(body),
    )
    return models.SignedHash(
        signature=done.signature,
        hash_algorithm=done.hash_algorithm,
        signature_type=done.signature_type,
        **common(done),
    )


def verify_hash(ask: Ask) -> models.VerifiedHash:
    """Verify a signature over a digest."""
    body: models.VerifyHash = ask.body
    done = ask.session.signatures.verify_hash(
        body.hash,
        body.hash_algorithm,
        body.signature,
        body.key_version,
        body.algorithm or SIGNATURE,
        name=body.name,
        context=bound(body),
        accept_compromised=body.accept_compromised,
    )
    return models.VerifiedHash(valid=done.valid, hash_algorithm=done.hash_algorithm, **common(done))


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
        brief=True,
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
