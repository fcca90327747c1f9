# SPDX-License-Identifier: Apache-2.0
"""The same operation on several items: one policy decision and one durable commit for all."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec

from qpher_core.asgi import models_batch as models
from qpher_core.asgi.endpoint import Ask, Endpoint, Handler, limited
from qpher_core.asgi.envelope import error_body
from qpher_core.asgi.models import KEM, SIGNATURE
from qpher_core.asgi.models_kem import Decapsulated, Decrypted, Encapsulated, Encrypted
from qpher_core.asgi.models_signatures import Signed, Verified
from qpher_core.asgi.names import common
from qpher_core.asgi.routes_signatures import bound
from qpher_core.errors import QpherError

__all__ = ["ENDPOINTS"]

R = TypeVar("R")
I = TypeVar("I")  # noqa: E741 - an item


def _items(
    done: Sequence[R | QpherError], make: Callable[[R], object], item: Callable[..., I]
) -> list[I]:
    """Return a result or an error for each item."""
    return [
        item(error=error_body(one)) if isinstance(one, QpherError) else item(result=make(one))
        for one in done
    ]


def encrypt(ask: Ask) -> models.EncryptedBatch:
    """Encrypt several messages."""
    body: models.BatchEncrypt = ask.body
    done = ask.session.kem.encrypt_many(
        [limited(ask, item, "plaintexts") for item in body.plaintexts],
        body.key_version,
        body.algorithm or KEM,
        name=body.name,
        context=body.context,
    )
    return models.EncryptedBatch(
        _items(
            done,
            lambda d: Encrypted(ciphertext=d.ciphertext, **common(d)),
            models.EncryptedItem,
        )
    )


def decrypt(ask: Ask) -> models.DecryptedBatch:
    """Decrypt several messages."""
    body: models.BatchDecrypt = ask.body
    done = ask.session.kem.decrypt_many(
        body.ciphertexts,
        body.key_version,
        body.algorithm or KEM,
        name=body.name,
        context=body.context,
        accept_compromised=body.accept_compromised,
    )
    return models.DecryptedBatch(
        _items(
            done,
            lambda d: Decrypted(plaintext=d.plaintext, **common(d)),
            models.DecryptedItem,
        )
    )


def encapsulate(ask: Ask) -> models.EncapsulatedBatch:
    """Make several shared secrets."""
    body: models.BatchEncapsulate = ask.body
    done = ask.session.kem.encapsulate_many(
        body.count, body.key_version, body.algorithm or KEM, name=body.name
    )
    return models.EncapsulatedBatch(
        _items(
            done,
            lambda d: Encapsulated(
                kem_ciphertext=d.kem_ciphertext, shared_secret=d.shared_secret, **common(d)
            ),
            models.EncapsulatedItem,
        )
    )


def decapsulate(ask: Ask) -> models.DecapsulatedBatch:
    """Recover several shared secrets."""
    body: models.BatchDecapsulate = ask.body
    done = ask.session.kem.decapsulate_many(
        body.kem_ciphertexts,
        body.key_version,
        body.algorithm or KEM,
        name=body.name,
        accept_compromised=body.accept_compromised,
    )
    return models.DecapsulatedBatch(
        _items(
            done,
            lambda d: Decapsulated(shared_secret=d.shared_secret, **common(d)),
            models.DecapsulatedItem,
        )
    )


def sign(ask: Ask) -> models.SignedBatch:
    """Sign several messages."""
    body: models.BatchSign = ask.body
    done = ask.session.signatures.sign_many(
        [limited(ask, item, "messages") for item in body.messages],
        body.key_version,
        body.algorithm or SIGNATURE,
        name=body.name,
        context=bound(body),
    )
    return models.SignedBatch(
        _items(done, lambda d: Signed(signature=d.signature, **common(d)), models.SignedItem)
    )


def verify(ask: Ask) -> models.VerifiedBatch:
    """Verify several signatures."""
    body: models.BatchVerify = ask.body
    done = ask.session.signatures.verify_many(
        [(limited(ask, pair.message, "pairs"), pair.signature) for pair in body.pairs],
        body.key_version,
        body.algorithm or SIGNATURE,
        name=body.name,
        context=bound(body),
        accept_compromised=body.accept_compromised,
    )
    return models.VerifiedBatch(
        _items(done, lambda d: Verified(valid=d.valid, **common(d)), models.VerifiedItem)
    )


def _endpoint(
    operation: str,
    handler: Handler,
    body: type[msgspec.Struct],
    answer: type[msgspec.Struct],
    action: str,
) -> Endpoint:
    return Endpoint(
        method="POST",
        path=f"/batch/{operation}",
        handler=handler,
        body=body,
        answer=answer,
        summary=f"{operation.capitalize()}, several at once",
        tag="Batches",
        operations=(action,),
        items=models.MOST_ITEMS,
        input_code="ERR_SIG_001" if action.startswith("sig") else "ERR_KEM_001",
    )


ENDPOINTS: Final = (
    _endpoint("sign", sign, models.BatchSign, models.SignedBatch, "signatures.sign"),
    _endpoint("verify", verify, models.BatchVerify, models.VerifiedBatch, "signatures.verify"),
    _endpoint("encrypt", encrypt, models.BatchEncrypt, models.EncryptedBatch, "kem.encrypt"),
    _endpoint("decrypt", decrypt, models.BatchDecrypt, models.DecryptedBatch, "kem.decrypt"),
    _endpoint(
        "encapsulate",
        encapsulate,
        models.BatchEncapsulate,
        models.EncapsulatedBatch,
        "kem.encapsulate",
    ),
    _endpoint(
        "decapsulate",
        decapsulate,
        models.BatchDecapsulate,
        models.DecapsulatedBatch,
        "kem.decapsulate",
    ),
)
