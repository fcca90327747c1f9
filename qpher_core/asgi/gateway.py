# SPDX-License-Identifier: Apache-2.0
"""The way of every request with an API key, stage by stage.

    extract → resolve → context → rate limit → (body) → policy → route

The event loop reads and writes; everything else, from looking up the key to the audit entry, runs
in a thread. Policy is asked by the pipeline, once the body says about which key. A body of more
than 64 KiB is not read before its sender is known.
"""

import logging
import time
import traceback
from typing import Any, Final, TypeVar
from urllib.parse import unquote_to_bytes

from attrs import frozen

from qpher_core.api_keys import Authenticated
from qpher_core.asgi.bodies import Bodies, Disconnected
from qpher_core.asgi.endpoint import Ask, Endpoint, Raw
from qpher_core.asgi.envelope import Rendered, error_answer, success_answer
from qpher_core.asgi.headers import Head, Proxies, read_head
from qpher_core.asgi.limits import RateLimits, RateVerdict
from qpher_core.asgi.metrics import Metrics
from qpher_core.asgi.remembered import Remembered
from qpher_core.asgi.sending import send_answer
from qpher_core.asgi.settings import Settings
from qpher_core.asgi.strict_json import decode_body, decode_params
from qpher_core.asgi.workers import Workers
from qpher_core.errors import AuthenticationError, QpherError, Unavailable, ValidationError
from qpher_core.models import SERVICE, RequestContext
from qpher_core.service import Qpher

__all__ = ["Gateway", "Parts"]

T = TypeVar("T")

_log: Final = logging.getLogger("qpher_core.http")

_READ_FIRST: Final = 1 << 16  # bytes of a body that may come before its sender is known
_BATCH_FACTOR: Final = 8
_API_SCOPES: Final = frozenset({"usage"})  # what every key may see of its own tenant


@frozen
class Parts:
    """What all endpoints of an application share."""

    kms: Qpher
    settings: Settings
    workers: Workers
    rates: RateLimits
    proxies: Proxies
    metrics: Metrics


@frozen
class _Asked:
    """One request on its way through the stages."""

    head: Head
    source: str | None
    method: str
    path: str
    values: dict[str, str]
    problem: str | None
    query: bytes


class Gateway:
    """One endpoint as an ASGI application."""

    def __init__(self, endpoint: Endpoint, parts: Parts) -> None:
        self._endpoint = endpoint
        self._parts = parts
        self._remembered = Remembered(parts.kms)
        factor = _BATCH_FACTOR if endpoint.items > 1 else 1
        self._bodies = Bodies(parts.settings.largest_body * factor, parts.settings.body_deadline)
        self._together = endpoint.brief and parts.kms.local and parts.rates.local

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        begun = time.perf_counter()
        head = read_head(scope)
        try:
            answer = await self._answer(scope, receive, head)
        except Disconnected:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, it gets an answer
            answer = self._refusal(error, head)
        status = await send_answer(scope, receive, send, answer, head, self._parts.workers)
        self._parts.metrics.observe(
            self._endpoint.path, self._endpoint.method, status, time.perf_counter() - begun
        )

    # --- on the event loop ---------------------------------------------------------------------

    async def _answer(self, scope: Any, receive: Any, head: Head) -> Rendered | Raw:
        if head.api_key is None:
            raise AuthenticationError("the API key is missing or not accepted")
        asked = self._asked(scope, head)
        run = self._parts.workers.run
        if head.length is not None and head.length <= _READ_FIRST:
            body = await self._bodies.read(receive, _READ_FIRST, head.length)
            if self._together:
                return await self._parts.workers.run_together(self._serve, asked, body, None)
            return await run(self._serve, asked, body, None)
        who = await run(self._resolve, asked)
        if isinstance(who, Rendered):
            return who
        if head.length is not None and head.length > self._bodies.largest:
            raise self._bodies.too_large()
        body = await self._bodies.read(receive, self._bodies.largest, head.length or 0)
        return await run(self._serve, asked, body, who)

    def _asked(self, scope: Any, head: Head) -> _Asked:
        client = scope.get("client")
        source = self._parts.proxies.source(client[0] if client else None, head.forwarded)
        query: bytes = scope.get("query_string", b"")
        return _Asked(
            head,
            source,
            scope["method"],
            scope["path"],
            *_values(scope.get("path_params") or {}, query),
            query,
        )

    # --- in a thread ---------------------------------------------------------------------------

    def _resolve(
        self, asked: _Asked, shared: dict[str, Any] | None = None
    ) -> tuple[Authenticated, RateVerdict] | Rendered:
        """Find out who asks, and whether not too often."""
        who = self._parts.kms.api_keys.authenticate(asked.head.api_key or "", shared)
        verdict = self._parts.rates.check(who.tenant, who.key)
        if verdict.refusal is not None:
            return self._refusal(verdict.refusal, asked.head, verdict.headers)
        return who, verdict

    def _serve(
        self,
        asked: _Asked,
        body: bytes,
        known: tuple[Authenticated, RateVerdict] | None,
        shared: dict[str, Any] | None = None,
    ) -> Rendered | Raw:
        """Do the stages from resolving on; from the route on if the sender is known."""
        resolved = known or self._resolve(asked, shared)
        if isinstance(resolved, Rendered):
            return resolved
        who, verdict = resolved
        try:
            answer = self._route(asked, body, who)
        except Exception as error:  # noqa: BLE001 - whatever it is, it gets an answer
            return self._refusal(error, asked.head, verdict.headers)
        if isinstance(answer, Raw) or not verdict.headers:
            return answer
        return Rendered(answer.status, answer.body, (*answer.headers, *verdict.headers))

    def _route(self, asked: _Asked, body: bytes, who: Authenticated) -> Rendered | Raw:
        endpoint, head = self._endpoint, asked.head
        if head.problem is not None:
            raise ValidationError(head.problem, code="ERR_INVALID_001")
        context = RequestContext(
            who.tenant.id,
            f"key:{who.key.id}",
            who.key.scopes | _API_SCOPES,
            asked.source,
            head.request_id,
        )
        if asked.problem is not None:
            raise ValidationError(asked.problem)
        params = decode_params(asked.values, endpoint.params)
        ask = Ask(
            self._parts.kms,
            self._parts.settings,
            context,
            who.key,
            who.tenant,
            self._decoded(head, body),
            params,
        )
        if endpoint.changes and head.idempotency_key is not None:
            request = b"\0".join(
                (
                    context.actor.encode(),
                    asked.method.encode(),
                    asked.path.encode("utf-8", "surrogateescape"),
                    asked.query,
                    body,
                )
            )
            return self._remembered.once(
                context, head.idempotency_key, request, lambda: self._handle(ask)
            )
        return self._handle(ask)

    def _decoded(self, head: Head, body: bytes) -> Any:
        model = self._endpoint.body
        if model is None:
            return None
        if not body and self._endpoint.accepts_nothing:
            return model()
        media_type = head.content_type.partition(b";")[0].strip().lower()
        if media_type != b"application/json" or head.encoded:
            raise ValidationError(
                "the body must be application/json, without content-encoding",
                code="ERR_INVALID_005",
            )
        return decode_body(body, model)

    def _handle(self, ask: Ask) -> Rendered | Raw:
        try:
            if self._endpoint.administrative:
                ask.kms.permit(ask.context, self._endpoint.operations[0], SERVICE)
            value = self._endpoint.handler(ask)
            if isinstance(value, Raw):
                # What goes wrong at once is still an answer.
                return Raw(value.media_type, value.pieces, next(value.pieces, b""))
        except QpherError as error:
            raise self._endpoint.translate(error)  # noqa: B904 - it is the same error
        return success_answer(value, str(ask.context.request_id), self._endpoint.status)

    def _refusal(
        self, error: Exception, head: Head, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> Rendered:
        request_id = str(head.request_id)
        if not isinstance(error, QpherError):
            log_unexpected(error, request_id)
        elif isinstance(error, Unavailable):
            _log.warning("request %s: %s", request_id, error)
        return error_answer(error, request_id, sdk=self._endpoint.sdk, headers=headers)


def log_unexpected(error: Exception, request_id: str) -> None:
    """Log where an unexpected error came from, without its text, which could hold anything."""
    frames = traceback.extract_tb(error.__traceback__)
    where = ", ".join(f"{frame.filename}:{frame.lineno}" for frame in frames[-3:])
    _log.error("request %s: unexpected %s at %s", request_id, type(error).__name__, where)


def _values(path: dict[str, Any], query: bytes) -> tuple[dict[str, str], str | None]:
    """Return path and query parameters by name, and what is wrong with them, if anything is."""
    values = {name: str(value) for name, value in path.items()}
    if not query:
        return values, None
    for name, value in parse_query(query):
        if name is None or value is None:
            return values, f"{name or 'the name of a query parameter'} is not UTF-8"
        if name in values:
            return values, f"{name} is given more than once"
        values[name] = value
    return values, None


def parse_query(query: bytes) -> list[tuple[str | None, str | None]]:
    """Return names and values of a query, decoded strictly; None for what is not UTF-8."""
    return [
        (_unquoted(name), _unquoted(value))
        for name, _, value in (part.partition(b"=") for part in query.split(b"&") if part)
    ]


def _unquoted(text: bytes) -> str | None:
    try:
        return unquote_to_bytes(text.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        return None
