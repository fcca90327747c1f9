# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI 3.1 document, from the same table and models that the gateway uses.

``docs/openapi.json`` is kept equal to it: ``make openapi`` writes it.
"""

import functools
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from qpher_core.algorithms import ALGORITHMS, Kind
from qpher_core.asgi import models_audit
from qpher_core.asgi.endpoint import Endpoint
from qpher_core.asgi.envelope import ErrorEnvelope
from qpher_core.asgi.health import Health
from qpher_core.asgi.strict_json import schema_hook
from qpher_core.asgi.table import BASE, ENDPOINTS

__all__ = ["build_document", "document_bytes"]

_REF: Final = "#/components/schemas/{name}"
_JSON: Final = "application/json"
_MOST_ROOTS: Final = 16  # paths that documents are kept for; a pattern may stand for many

_REASONS: Final[Mapping[int, str]] = {
    400: "The request is malformed, or a parameter is wrong.",
    401: "No API key, or one that is not accepted.",
    403: "The key's scope, the plan or policy denies it.",
    404: "There is no such thing, or it is another tenant's.",
    405: "The path has no such method.",
    409: "The state of the key does not allow it, or something like it exists.",
    413: "The body or a payload is too large.",
    415: "The body is not JSON.",
    422: "A parameter is wrong; the message names it.",
    429: "Too many requests, or the month's quota is used up.",
    500: "An unexpected error; what was asked may have been done.",
    503: "Something that is needed cannot answer; nothing was done.",
    504: "The deadline passed.",
}
_ALWAYS: Final = (400, 401, 403, 404, 409, 429, 500, 503, 504)
_WITH_BODY: Final = (413, 415)

_REQUEST_ID: Final = {
    "name": "X-Request-ID",
    "in": "header",
    "description": "A UUID: id of the request, which its entries carry. Else it gets a new one.",
    "schema": {"type": "string", "examples": ["9f1b4dd2-9a3e-4f5c-8f0e-2d6f4f6f3a11"]},
}
_IDEMPOTENCY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same request with the same key is made once; remembered for 24 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
_ANSWER_HEADERS: Final = {
    "X-Request-ID": {"schema": {"type": "string", "format": "uuid"}},
}


def build_document() -> dict[str, Any]:
    """Return the document."""
    types = _types()
    refs, components = msgspec.json.schema_components(
        types, schema_hook=schema_hook, ref_template=_REF
    )
    schemas = dict(zip((t.__name__ for t in types), refs, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        item = paths.setdefault(BASE + endpoint.path, {})
        item[endpoint.method.lower()] = _operation(endpoint, schemas, components)
    _add_public(paths, schemas)
    used = {name: _named(schema) for name, schema in components.items() if not _is_params(name)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "qpher-core",
            "version": "1",
            "summary": "Post-quantum key infrastructure",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"apiKey": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(e.tag for e in ENDPOINTS)],
        "paths": paths,
        "components": {
            "schemas": used,
            "responses": _error_responses(schemas["ErrorEnvelope"]),
            "securitySchemes": {"apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"}},
        },
    }


@functools.lru_cache(_MOST_ROOTS)
def document_bytes(root: str = "") -> bytes:
    """Return the document as it is kept, or as it is served below a path."""
    document = build_document()
    if root:
        document["servers"] = [{"url": quote(root)}]
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"


def _types() -> list[type]:
    """Return every model of the table once."""
    found: dict[type, None] = {ErrorEnvelope: None, Health: None, models_audit.AnchorKeys: None}
    for endpoint in ENDPOINTS:
        for model in (endpoint.body, endpoint.answer, endpoint.params):
            if model is not None:
                found[model] = None
    return list(found)


def _is_params(name: str) -> bool:
    return name.endswith("Params") or name == "Nothing"


def _operation(
    endpoint: Endpoint, schemas: Mapping[str, Any], components: Mapping[str, Any]
) -> dict[str, Any]:
    parameters = [*_parameters(endpoint, components), _REQUEST_ID]
    if endpoint.changes:
        parameters.append(_IDEMPOTENCY)
    operation: dict[str, Any] = {
        "operationId": _identifier(endpoint),
        "summary": endpoint.summary,
        "description": f"Operations: {', '.join(endpoint.operations)}.",
        "tags": [endpoint.tag],
        "parameters": parameters,
        "responses": _responses(endpoint, schemas),
    }
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": not endpoint.accepts_nothing,
            "content": {_JSON: {"schema": schemas[endpoint.body.__name__]}},
        }
    return operation


def _identifier(endpoint: Endpoint) -> str:
    words = re.findall(r"[a-z0-9]+", endpoint.path.lower())
    tail = ["slash"] if endpoint.path.endswith("/") else []
    return "_".join([endpoint.method.lower(), *words, *tail])


def _parameters(endpoint: Endpoint, components: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    schema = components[endpoint.params.__name__]
    required = schema.get("required", ())
    for name, member in schema.get("properties", {}).items():
        in_path = f"{{{name}}}" in endpoint.path
        yield {
            "name": name,
            "in": "path" if in_path else "query",
            "required": in_path or name in required,
            "schema": _algorithm(name, _without_null(member), None),
        }


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a query parameter, which cannot be null: it is there or not."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key not in {"anyOf", "default"}}
    if len(kinds) == 1:
        return {**rest, **kinds[0]}
    return {**rest, "anyOf": kinds} if kinds else rest


def _responses(endpoint: Endpoint, schemas: Mapping[str, Any]) -> dict[str, Any]:
    if endpoint.answer is None:
        content: dict[str, Any] = {"application/jsonl": {"schema": {"type": "string"}}}
    else:
        content = {_JSON: {"schema": _wrapped(schemas[endpoint.answer.__name__])}}
    answers: dict[str, Any] = {
        str(endpoint.status): {
            "description": endpoint.summary,
            "headers": _ANSWER_HEADERS,
            "content": content,
        }
    }
    statuses = [*_ALWAYS, *(_WITH_BODY if endpoint.body else ())]
    if not endpoint.sdk:
        statuses.append(422)
    return {**answers, **_errors(statuses)}


def _wrapped(data: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["data", "request_id", "timestamp"],
        "properties": {
            "data": data,
            "request_id": {"type": "string", "format": "uuid"},
            "timestamp": {"type": "string", "format": "date-time"},
        },
    }


def _errors(statuses: Iterable[int]) -> dict[str, Any]:
    return {
        str(status): {"$ref": f"#/components/responses/Error{status}"}
        for status in sorted(statuses)
    }


def _error_responses(schema: Any) -> dict[str, Any]:
    return {
        f"Error{status}": {
            "description": reason,
            "headers": _ANSWER_HEADERS,
            "content": {_JSON: {"schema": schema}},
        }
        for status, reason in _REASONS.items()
    }


def _named(schema: dict[str, Any]) -> dict[str, Any]:
    """List the names of algorithms where a model of a request has one."""
    members = schema.get("properties", {})
    closed = schema.get("additionalProperties") is False  # requests alone refuse what is unknown
    if not closed or "algorithm" not in members:
        return schema
    kind = None
    if {"plaintext", "ciphertext", "kem_ciphertext", "symmetric_key", "wrapped_key"} & set(members):
        kind = Kind.KEM
    elif {"message", "hash"} & set(members):
        kind = Kind.SIGNATURE
    changed = {name: _algorithm(name, member, kind) for name, member in members.items()}
    return {**schema, "properties": changed}


def _algorithm(name: str, schema: dict[str, Any], kind: Kind | None) -> dict[str, Any]:
    if name != "algorithm":
        return schema
    names = sorted(
        {alias for row in ALGORITHMS.values() if kind in {None, row.kind} for alias in row.aliases}
    )
    if "anyOf" in schema:
        choices = [
            {**choice, "enum": names} if choice.get("type") == "string" else choice
            for choice in schema["anyOf"]
        ]
        return {**schema, "anyOf": choices}
    return {**schema, "enum": names}


def _add_public(paths: dict[str, dict[str, Any]], schemas: Mapping[str, Any]) -> None:
    health = {_JSON: {"schema": schemas["Health"]}}
    live = {_JSON: {"schema": {"type": "object", "properties": {"status": {"type": "string"}}}}}
    paths[f"{BASE}/anchors/key"] = {
        "get": {
            "operationId": "get_anchors_key",
            "summary": "The keys that sign anchors, as vkeys",
            "tags": ["Audit"],
            "security": [],
            "responses": {
                "200": {
                    "description": "The keys.",
                    "content": {_JSON: {"schema": _wrapped(schemas["AnchorKeys"])}},
                },
                **_errors((500, 503, 504)),
            },
        }
    }
    for path, summary, answers in (
        ("/health/live", "Whether the process answers", {"200": (live, "It does.")}),
        (
            "/health/ready",
            "Whether requests can be served, and what cannot answer",
            {"200": (health, "They can."), "503": (health, "They cannot.")},
        ),
    ):
        paths[path] = {
            "get": {
                "operationId": path.strip("/").replace("/", "_"),
                "summary": summary,
                "tags": ["Health"],
                "security": [],
                "responses": {
                    status: {"description": text, "content": content}
                    for status, (content, text) in answers.items()
                },
            }
        }
    paths["/metrics"] = {
        "get": {
            "operationId": "metrics",
            "summary": "Metrics in Prometheus' text format, without tenant data",
            "tags": ["Health"],
            "security": [],
            "responses": {
                "200": {
                    "description": "Metrics.",
                    "content": {"text/plain": {"schema": {"type": "string"}}},
                }
            },
        }
    }
