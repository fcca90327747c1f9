# SPDX-License-Identifier: Apache-2.0
"""Key versions and their states."""

from collections.abc import Callable
from typing import Final

from qpher_core.asgi import models_keys as models
from qpher_core.asgi.endpoint import Ask, Endpoint
from qpher_core.asgi.names import common, key_info, wire
from qpher_core.errors import ValidationError
from qpher_core.models import KeyVersion
from qpher_core.public_keys import has_jwk

__all__ = ["ENDPOINTS"]

_TAG: Final = "Keys"


def generate(ask: Ask) -> models.KeyInfo:
    """Generate a key version."""
    body: models.Generate = ask.body
    return key_info(ask.session.keys.generate(body.algorithm, name=body.name))


def rotate(ask: Ask) -> models.Rotated:
    """Replace the active key version."""
    body: models.Rotate = ask.body
    done = ask.session.keys.rotate(body.algorithm, name=body.name)
    return models.Rotated(
        public_key=done.public_key,
        old_key_version=done.old_key_version,
        key=key_info(done.key),
        **common(done),
    )


def _move(action: str) -> Callable[[Ask], models.KeyInfo]:
    def handler(ask: Ask) -> models.KeyInfo:
        body: models.Transition = ask.body
        method = getattr(ask.session.keys, action)
        # A warning would reach the operator and not the caller, who can ask for the evidence.
        forced = {"force": True} if action in {"retire", "destroy"} else {}
        return key_info(
            method(body.algorithm, body.key_version, name=body.name, reason=body.reason, **forced)
        )

    return handler


def active(ask: Ask) -> models.KeyInfo:
    """Return the active key version."""
    params: models.ActiveParams = ask.params
    return key_info(ask.session.keys.active(params.algorithm, name=params.name))


def get(ask: Ask) -> models.KeyInfo:
    """Return a key version."""
    params: models.KeyParams = ask.params
    return key_info(ask.session.keys.get(params.algorithm, params.key_version, name=params.name))


def list_keys(ask: Ask) -> models.KeyList:
    """Return the key versions that match."""
    params: models.ListParams = ask.params
    found = ask.session.keys.list(
        params.algorithm,
        name=params.name,
        state=params.status,
        after=_after(ask, params),
        limit=params.limit,
    )
    return models.KeyList([key_info(key) for key in found], len(found))


def _after(ask: Ask, params: models.ListParams) -> KeyVersion | None:
    """Return the last key version of the page before."""
    name, algorithm, version = params.after_name, params.after_algorithm, params.after_version
    if name is None and algorithm is None and version is None:
        return None
    if name is None or algorithm is None or version is None:
        raise ValidationError(
            "after_name, after_algorithm and after_version go together", parameter="after_name"
        )
    return ask.session.keys.get(algorithm, version, name=name)


def import_key(ask: Ask) -> models.KeyInfo:
    """Store a private key that the caller brings, wrapped to the import key."""
    body: models.Import = ask.body
    return key_info(ask.session.keys.import_key(body.algorithm, body.wrapped, name=body.name))


def import_parameters(ask: Ask) -> models.ImportKey:
    """Return what private keys are wrapped with."""
    found = ask.session.keys.import_parameters()
    return models.ImportKey(
        str(found.tenant_id), wire(found.algorithm), found.key_version, found.encapsulation_key
    )


def public(ask: Ask) -> models.PublicKey:
    """Return a public key in PEM, and as a JWK where one is defined."""
    params: models.KeyParams = ask.params
    key = ask.session.keys.get(params.algorithm, params.key_version, name=params.name)
    return models.PublicKey(
        key.version,
        wire(key.algorithm),
        key.name,
        key.to_pem(),
        models.Jwk(**key.to_jwk()) if has_jwk(key.algorithm) else None,
    )


_TRANSITIONS: Final = (
    ("retire", "Stop protecting with a key for good; processing goes on"),
    ("suspend", "Stop protecting with an active key for now"),
    ("resume", "Make a suspended key active again"),
    ("archive", "Stop every use of a key"),
    ("restore", "Make an archived key usable again"),
    ("compromise", "Mark a key as compromised"),
    ("destroy", "Erase a private key for good"),
)

ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/kms/keys/generate",
        handler=generate,
        body=models.Generate,
        answer=models.GeneratedKey,
        summary="Generate a key version; one that was active is retired",
        tag=_TAG,
        operations=("keys.generate",),
        status=201,
        sdk=True,
        changes=True,
    ),
    Endpoint(
        method="POST",
        path="/kms/keys/rotate",
        handler=rotate,
        body=models.Rotate,
        answer=models.Rotated,
        summary="Replace the active key version",
        tag=_TAG,
        operations=("keys.rotate",),
        sdk=True,
        changes=True,
    ),
    *(
        Endpoint(
            method="POST",
            path=f"/kms/keys/{action}",
            handler=_move(action),
            body=models.Transition,
            answer=models.KeyInfo,
            summary=summary,
            tag=_TAG,
            operations=(f"keys.{action}",),
            sdk=action == "retire",
            changes=True,
        )
        for action, summary in _TRANSITIONS
    ),
    Endpoint(
        method="GET",
        path="/kms/keys/active",
        handler=active,
        params=models.ActiveParams,
        answer=models.KeyInfo,
        summary="The active key version",
        tag=_TAG,
        operations=("keys.get",),
        sdk=True,
    ),
    Endpoint(
        method="GET",
        path="/kms/keys",
        handler=list_keys,
        params=models.ListParams,
        answer=models.KeyList,
        summary="The key versions that match",
        tag=_TAG,
        operations=("keys.list",),
        sdk=True,
    ),
    Endpoint(
        method="POST",
        path="/kms/keys/import",
        handler=import_key,
        body=models.Import,
        answer=models.KeyInfo,
        summary="Store a private key that was wrapped to the import key",
        tag=_TAG,
        operations=("keys.import",),
        status=201,
        changes=True,
    ),
    Endpoint(
        method="GET",
        path="/kms/keys/import/parameters",
        handler=import_parameters,
        answer=models.ImportKey,
        summary="What private keys are wrapped with before they are imported",
        tag=_TAG,
        operations=("keys.import_parameters",),
    ),
    Endpoint(
        method="GET",
        path="/kms/keys/{key_version}/public",
        handler=public,
        params=models.KeyParams,
        answer=models.PublicKey,
        summary="A public key in PEM, and as a JWK where one is defined",
        tag=_TAG,
        operations=("keys.get",),
    ),
    Endpoint(
        method="GET",
        path="/kms/keys/{key_version}",
        handler=get,
        params=models.KeyParams,
        answer=models.KeyInfo,
        summary="One key version",
        tag=_TAG,
        operations=("keys.get",),
        sdk=True,
    ),
)
