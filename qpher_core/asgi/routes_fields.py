# SPDX-License-Identifier: Apache-2.0
"""Keys of encrypted fields, many in one request."""

from typing import Final

from qpher_core.asgi import models_fields as models
from qpher_core.asgi.endpoint import Ask, Endpoint
from qpher_core.asgi.models import KEM
from qpher_core.asgi.names import common

__all__ = ["ENDPOINTS"]

_INPUT: Final = "ERR_KEM_001"


def wrap(ask: Ask) -> models.WrappedFieldKeys:
    """Wrap keys of encrypted fields."""
    body: models.WrapFieldKeys = ask.body
    done = ask.session.kem.wrap_field_keys(
        body.field_keys,
        body.key_version,
        body.algorithm or KEM,
        name=body.name,
        context=body.context,
        mode=body.mode,
        salt=body.salt,
        values=body.values,
    )
    return models.WrappedFieldKeys(wrapped_keys=list(done.wrapped_keys), **common(done))


def unwrap(ask: Ask) -> models.FieldKeys:
    """Return keys of encrypted fields."""
    body: models.UnwrapFieldKeys = ask.body
    done = ask.session.kem.unwrap_field_keys(
        body.wrapped_keys,
        body.key_version,
        body.algorithm or KEM,
        name=body.name,
        context=body.context,
        accept_compromised=body.accept_compromised,
    )
    return models.FieldKeys(field_keys=list(done.field_keys), **common(done))


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/kem/field-keys/wrap",
        handler=wrap,
        body=models.WrapFieldKeys,
        answer=models.WrappedFieldKeys,
        summary="Wrap keys of fields that the caller encrypts",
        tag="KEM",
        operations=("kem.encrypt_field",),
        sdk=False,
        input_code=_INPUT,
    ),
    Endpoint(
        method="POST",
        path="/kem/field-keys/unwrap",
        handler=unwrap,
        body=models.UnwrapFieldKeys,
        answer=models.FieldKeys,
        summary="The keys of fields, from the wrapped keys in their values",
        tag="KEM",
        operations=("kem.decrypt_field",),
        sdk=False,
        input_code=_INPUT,
    ),
)
