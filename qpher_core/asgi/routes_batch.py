# SPDX-License-Identifier: Apache-2.0
"""The same operation on several items: one policy decision and one durable commit for all."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec

from qpher_core.asgi import models
from qpher_core.asgi import models_batch as batch
from qpher_core.asgi.endpoint import Ask, Endpoint, Handler, limited
from qpher_core.asgi.envelope import error_body
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


def encrypt(ask: Ask) -> batch.EncryptedBatch:
    """Encrypt several messages."""
    body: batch.BatchEncrypt = ask.body
    done = ask.session.kem.encrypt_many(
        [limited(ask, item, "plaintexts") for item in body.plaintexts],
        body.key_version,
        body.algorithm or models.KEM,
        name=body.name,
        context=body.context,
    )
    return batch.EncryptedBatch(
        _items(
            done,
            lambda d: models.Encrypted(ciphertext=d.ciphertext, **common(d)),
            batch.EncryptedItem,
        )
    )


def decrypt(ask: Ask) -> batch.DecryptedBatch:
    """Decrypt several messages."""
    body: batch.BatchDecrypt = ask.body
    done = ask.session.kem.decrypt_many(
        body.ciphertexts,
        body.key_version,
        body.algorithm or models.KEM,
        name=body.name,
        context=body.context,
        accept_compromised=body.accept_compromised,
    )
    return batch.DecryptedBatch(
        _items(
            done,
            lambda d: models.Decrypted(plaintext=d.plaintext, **common(d)),
            batch.DecryptedItem,
        )
    )


def encapsulate(ask: Ask) -> batch.EncapsulatedBatch:
    """Make several shared secrets."""
    body: batch.BatchEncapsulate = ask.body
    done = ask.session.kem.encapsulate_many(
        body.count, body.key_version, body.algorithm or models.KEM, name=body.name
    )
    return batch.EncapsulatedBatch(
        _items(
            done,
            lambda d: models.Encapsulated(
                kem_ciphertext=d.kem_ciphertext, shared_secret=d.shared_secret, **common(d)
            ),
            batch.EncapsulatedItem,
        )
    )


def decapsulate(ask: Ask) -> batch.DecapsulatedBatch:
    """Recover several shared secrets."""
    body: batch.BatchDecapsulate = ask.body
    done = ask.session.kem.decapsulate_many(
        body.kem_ciphertexts,
        body.key_version,
        body.algorithm or models.KEM,
        name=body.name,
        accept_compromised=body.accept_compromised,
    )
    return batch.DecapsulatedBatch(
        _items(
            done,
            lambda d: models.Decapsulated(shared_secret=d.shared_secret, **common(d)),
            batch.DecapsulatedItem,
        )
    )


def sign(ask: Ask) -> batch.SignedBatch:
    """Sign several messages."""
    body: batch.BatchSign = ask.body
    done = ask.session.signatures.sign_many(
        [limited(ask, item, "messages") for item in body.messages],
        body.key_version,
        body.algorithm or models.SIGNATURE,
        name=body.name,
        context=bound(body),
    )
    return batch.SignedBatch(
        _items(done, lambda d: models.Signed(signature=d.signature, **common(d)), batch.SignedItem)
    )


def verify(ask: Ask) -> batch.VerifiedBatch:
    """Verify several signatures."""
    body: batch.BatchVerify = ask.body
    done = ask.session.signatures.verify_many(
        [(limited(ask, pair.message, "pairs"), pair.signature) for pair in body.pairs],
        body.key_version,
        body.algorithm or models.SIGNATURE,
        name=body.name,
        context=bound(body),
        accept_compromised=body.accept_compromised,
    )
    return batch.VerifiedBatch(
        _items(done, lambda d: models.Verified(valid=d.valid, **common(d)), batch.VerifiedItem)
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
        items=batch.MOST_ITEMS,
        input_code="ERR_SIG_001" if action.startswith("sig") else "ERR_KEM_001",
    )


ENDPOINTS: Final = (
    _endpoint("sign", sign, batch.BatchSign, batch.SignedBatch, "signatures.sign"),
    _endpoint("verify", verify, batch.BatchVerify, batch.VerifiedBatch, "signatures.verify"),
    _endpoint("encrypt", encrypt, batch.BatchEncrypt, batch.EncryptedBatch, "kem.encrypt"),
    _endpoint("decrypt", decrypt, batch.BatchDecrypt, batch.DecryptedBatch, "kem.decrypt"),
    _endpoint(
        "encapsulate",
        encapsulate,
        batch.BatchEncapsulate,
        batch.EncapsulatedBatch,
        "kem.encapsulate",
    ),
    _endpoint(
        "decapsulate",
        decapsulate,
        batch.BatchDecapsulate,
        batch.DecapsulatedBatch,
        "kem.decapsulate",
    ),
)
