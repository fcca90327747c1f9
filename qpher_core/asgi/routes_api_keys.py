# SPDX-License-Identifier: Apache-2.0
"""API keys: of the caller's own tenant, and of others for an administrator."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Final

from qpher_core.api_keys import DEFAULT_SCOPES
from qpher_core.asgi import models_api_keys as models
from qpher_core.asgi.endpoint import Ask, Endpoint
from qpher_core.asgi.models_tenants import TenantParams
from qpher_core.errors import NotFound, PermissionDenied, StateConflict
from qpher_core.models import ApiKey, optional_rfc3339, rfc3339

__all__ = ["ENDPOINTS"]


def create_api_key(ask: Ask) -> models.NewApiKey:
    """Create an API key; one that is no administrator's has no more than its maker."""
    body: models.CreateApiKey = ask.body
    seconds = body.expires_in_seconds
    expires = None if seconds is None else timedelta(seconds=seconds)
    mine = None if "admin" in ask.key.scopes else ask.key.scopes
    wanted = frozenset(body.scopes or DEFAULT_SCOPES)
    scopes = wanted if mine is None or body.scopes else wanted & mine
    if mine is not None:
        if not scopes <= mine:
            _refuse_more(ask, "scopes")
        ends = ask.key.expires_at
        left = None if ends is None else ends - datetime.now(UTC)
        spans = [span for span in (expires, left) if span is not None]
        expires = min(spans, default=None)
    made = ask.kms.api_keys.create(
        ask.params.tenant_id,
        name=body.name,
        scopes=scopes,
        expires_in=expires,
        actor=ask.context,
    )
    return _new_key(*made)


def _refuse_more(ask: Ask, parameter: str) -> None:
    ask.kms.permit(ask.context, "api_keys.read", ask.params.tenant_id)  # lacks it: said first
    raise PermissionDenied(
        f"{parameter} must not go beyond those of the caller's own API key",
        rule="scope",
        parameter=parameter,
        code="ERR_FORBIDDEN_001",
    )


def list_api_keys(ask: Ask) -> models.ApiKeyList:
    """Return a tenant's API keys."""
    tenant_id: uuid.UUID = ask.params.tenant_id
    ask.kms.permit(ask.context, "api_keys.read", tenant_id)
    found = ask.kms.api_keys.list(tenant_id)
    return models.ApiKeyList([_key_info(key) for key in found], len(found))


def rotate_api_key(ask: Ask) -> models.NewApiKey:
    """Replace the newest valid API key of a name."""
    body: models.RotateApiKey = ask.body
    tenant_id: uuid.UUID = ask.params.tenant_id
    ask.kms.permit(ask.context, "api_keys.read", tenant_id)
    moment = datetime.now(UTC)
    valid = [key for key in ask.kms.api_keys.list(tenant_id) if key.valid(moment)]
    named = [key for key in valid if body.name in {None, key.name}]
    if not named:
        raise NotFound("no such valid API key", parameter="name")
    if body.name is None and len({key.name for key in named}) > 1:
        raise StateConflict(
            "name is needed: the tenant has API keys of several names", code="ERR_CONFLICT_001"
        )
    newest = max(named, key=lambda key: key.version)
    _check_rotation(ask, newest, moment)
    return _rotate(ask, newest.id, body.overlap_seconds)


def _check_rotation(ask: Ask, old: ApiKey, now: datetime) -> None:
    """Refuse who is no administrator the successor of a key that may do more, or lives longer.

    Their own key may be replaced by one that ends when it does.
    """
    mine = ask.key
    if "admin" in mine.scopes or old.id == mine.id:
        return
    if not old.scopes <= mine.scopes:
        _refuse_more(ask, "scopes")
    ends = old.renewed(now)
    if mine.expires_at is not None and (ends is None or ends > mine.expires_at):
        _refuse_more(ask, "expires_at")


def rotate_one(ask: Ask) -> models.NewApiKey:
    """Replace an API key."""
    body: models.RotateOneApiKey = ask.body
    return _rotate(ask, ask.params.key_id, body.overlap_seconds)


def _rotate(ask: Ask, key_id: str, overlap: int) -> models.NewApiKey:
    made = ask.kms.api_keys.rotate(
        ask.params.tenant_id,
        key_id,
        overlap=timedelta(seconds=overlap),
        latest=None if "admin" in ask.key.scopes else ask.key.expires_at,
        actor=ask.context,
    )
    return _new_key(*made)


def revoke(ask: Ask) -> models.ApiKeyInfo:
    """Revoke an API key."""
    params: models.ApiKeyParams = ask.params
    return _key_info(ask.kms.api_keys.revoke(params.tenant_id, params.key_id, actor=ask.context))


def _key_info(key: ApiKey) -> models.ApiKeyInfo:
    return models.ApiKeyInfo(*_members(key))


def _new_key(key: ApiKey, secret: str) -> models.NewApiKey:
    return models.NewApiKey(*_members(key), api_key=secret)


def _members(
    key: ApiKey,
) -> tuple[str, str, str, list[str], int, bool, str, str | None, str | None, str | None]:
    return (
        key.id,
        str(key.tenant_id),
        key.name,
        sorted(key.scopes),
        key.version,
        key.valid(datetime.now(UTC)),
        rfc3339(key.created_at),
        optional_rfc3339(key.expires_at),
        optional_rfc3339(key.revoked_at),
        optional_rfc3339(key.last_used_at),
    )


def _of_tenants(base: str, tag: str) -> tuple[Endpoint, ...]:
    """Return the endpoints that the public API and the administrator's share."""
    return (
        Endpoint(
            method="POST",
            path=base + "/{tenant_id}/api-keys",
            handler=create_api_key,
            params=TenantParams,
            body=models.CreateApiKey,
            answer=models.NewApiKey,
            summary="Create an API key, which is shown once",
            tag=tag,
            operations=("api_keys.create", "api_keys.read"),
            status=201,
            changes=True,
        ),
        Endpoint(
            method="POST",
            path=base + "/{tenant_id}/api-keys/rotate",
            handler=rotate_api_key,
            params=TenantParams,
            body=models.RotateApiKey,
            answer=models.NewApiKey,
            summary="Replace an API key by its name",
            tag=tag,
            operations=("api_keys.rotate", "api_keys.read"),
            changes=True,
            accepts_nothing=True,
        ),
    )


ENDPOINTS: Final = (
    *_of_tenants("/tenants", "Tenants"),
    *_of_tenants("/admin/tenants", "Administration"),
    Endpoint(
        method="GET",
        path="/admin/tenants/{tenant_id}/api-keys",
        handler=list_api_keys,
        params=TenantParams,
        answer=models.ApiKeyList,
        summary="A tenant's API keys, without secrets",
        tag="Administration",
        operations=("api_keys.read",),
    ),
    Endpoint(
        method="POST",
        path="/admin/tenants/{tenant_id}/api-keys/{key_id}/rotate",
        handler=rotate_one,
        params=models.ApiKeyParams,
        body=models.RotateOneApiKey,
        answer=models.NewApiKey,
        summary="Replace an API key",
        tag="Administration",
        operations=("api_keys.rotate",),
        changes=True,
        accepts_nothing=True,
    ),
    Endpoint(
        method="POST",
        path="/admin/tenants/{tenant_id}/api-keys/{key_id}/revoke",
        handler=revoke,
        params=models.ApiKeyParams,
        answer=models.ApiKeyInfo,
        summary="Revoke an API key",
        tag="Administration",
        operations=("api_keys.revoke",),
        changes=True,
    ),
)
