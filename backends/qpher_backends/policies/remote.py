# SPDX-License-Identifier: Apache-2.0
"""Policy engines on other machines, asked over HTTP.

``opa+https://host/v1/data/qpher/allow`` asks the Data API of Open Policy Agent: it gets
``{"input": request}`` and must answer ``{"result": true}``. ``https://host/path`` asks anything
that speaks JSON: it gets the request and must answer ``{"allow": true}``, with ``rule`` and
``reason`` where it likes. Every other answer denies or makes the engine unavailable: redirects,
other statuses, results of another type, more than 64 KiB, nothing.
"""

import json
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx
from attrs import evolve

from qpher_core.errors import PolicyUnavailable, ValidationError
from qpher_core.models import Decision, PolicyRequest, rfc3339
from qpher_core.protocols import PolicyRecords, Store
from qpher_core.validation import check_seconds

__all__ = ["RemoteEngine", "open_policy", "request_document"]

_LONGEST_ANSWER: Final = 1 << 16
_DEADLINE: Final = 0.5  # seconds
_LONGEST_SECONDS: Final = 60
_CACHED: Final = 4096

#: What identifies a cached decision: the request without its time, and the policy revisions.
_Key = tuple[PolicyRequest, int, int]


class RemoteEngine:
    """Asks one engine. Thread-safe; connections are pooled.

    Proxies and credentials of the environment are not used.

    Args:
        url: ``http(s)://`` for plain JSON, ``opa+http(s)://`` for an OPA Data API document.
        deadline: seconds for the whole exchange.
        headers: sent with each request, such as a bearer token; never shown.
        verify: a CA bundle or ``ssl.SSLContext`` in place of the system's.
        cache_seconds: how long an answer may be used again for the same request; 0 is never.
            The request's time is not part of the comparison, everything else is, and so are the
            revisions of the stored policy documents.
        records: the stored policy documents, whose changes end the life of cached answers.

    Raises:
        ValidationError: an argument is not one.
    """

    may_block = True

    def __init__(
        self,
        url: str,
        *,
        deadline: float = _DEADLINE,
        headers: Mapping[str, str] | None = None,
        verify: Any = True,
        cache_seconds: float = 0.0,
        records: PolicyRecords | None = None,
    ) -> None:
        check_seconds(deadline, "deadline")
        if cache_seconds != 0:
            check_seconds(cache_seconds, "cache_seconds", longest=_LONGEST_SECONDS)
        if cache_seconds and records is None:
            raise ValidationError("cache_seconds needs records", parameter="records")
        self._opa = url.startswith("opa+")
        self._url = _http_url(url.removeprefix("opa+"))
        self._deadline = deadline
        self._cache = _Cache(cache_seconds)
        self._records = records
        # Proxies of the environment would see the requests, and could answer them.
        self._client = httpx.Client(
            headers=headers,
            verify=_certificates(verify),
            timeout=deadline,
            follow_redirects=False,
            trust_env=False,
        )

    def __repr__(self) -> str:
        return f"<RemoteEngine at {self._url.host}>"

    def decide(self, request: PolicyRequest) -> Decision:
        """Return the engine's decision, or one that was cached.

        Raises:
            PolicyUnavailable: it gave no answer that is one.
        """
        if self._records is None:
            return self._ask(request)
        key = (
            evolve(request, time=request.time.min),
            _revision(self._records, None),
            _revision(self._records, request),
        )
        return self._cache.get(key, lambda: self._ask(request))

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._client.close()

    def _ask(self, request: PolicyRequest) -> Decision:
        document = request_document(request)
        answer = self._post({"input": document} if self._opa else document)
        return _opa_decision(answer) if self._opa else _plain_decision(answer)

    def _post(self, document: object) -> Mapping[str, object]:
        ends = time.monotonic() + self._deadline
        try:
            with self._client.stream("POST", self._url, json=document) as response:
                if response.status_code != httpx.codes.OK:
                    raise PolicyUnavailable(
                        f"the policy engine answered with status {response.status_code}"
                    )
                body = _read(response, ends)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise PolicyUnavailable(
                f"the policy engine cannot be reached ({type(error).__name__})"
            ) from error
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise PolicyUnavailable("the policy engine's answer is not JSON") from error
        if not isinstance(answer, dict):
            raise PolicyUnavailable("the policy engine's answer is not an object")
        return answer


def request_document(request: PolicyRequest) -> dict[str, object]:
    """Return the JSON form of a request, as engines get it (docs/policy.md)."""
    return {
        "tenant_id": str(request.tenant_id),
        "plan": request.plan,
        "actor": request.actor,
        "scopes": None if request.scopes is None else sorted(request.scopes),
        "action": request.action,
        "features": sorted(request.features),
        "key_name": request.key_name,
        "algorithm": request.algorithm,
        "key_version": request.key_version,
        "key_state": request.key_state,
        "context_keys": sorted(request.context_keys),
        "payload_bytes": request.payload_bytes,
        "time": rfc3339(request.time),
        "source": request.source,
    }


def _opa_decision(answer: Mapping[str, object]) -> Decision:
    result = answer.get("result")
    if result is True:
        return Decision(allow=True, rule="opa", reason="the result is true")
    if result is False:
        return Decision(allow=False, rule="opa", reason="the result is false")
    raise PolicyUnavailable("the policy engine's answer has no boolean result")


def _plain_decision(answer: Mapping[str, object]) -> Decision:
    allow, rule, reason = answer.get("allow"), answer.get("rule"), answer.get("reason")
    if not isinstance(allow, bool):
        raise PolicyUnavailable("the policy engine's answer has no boolean 'allow'")
    return Decision(
        allow=allow,
        rule=rule if isinstance(rule, str) else "remote",
        reason=reason if isinstance(reason, str) else "the policy engine gave no reason",
    )


def _read(response: httpx.Response, ends: float) -> bytes:
    """Return the body, if it is not too long and does not come too slowly."""
    body = bytearray()
    for part in response.iter_bytes():
        body += part
        if len(body) > _LONGEST_ANSWER:
            raise PolicyUnavailable("the policy engine's answer is too long")
        if time.monotonic() > ends:
            raise PolicyUnavailable("the policy engine's answer came too slowly")
    return bytes(body)


def _revision(records: PolicyRecords, request: PolicyRequest | None) -> int:
    document = records.get(None if request is None else request.tenant_id)
    return 0 if document is None else document.revision


class _Cache:
    """Decisions that are not older than some seconds; failures are not kept."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._items: OrderedDict[_Key, tuple[float, Decision]] = OrderedDict()

    def get(self, key: _Key, ask: Callable[[], Decision]) -> Decision:
        """Return what is kept under a key, or ask and keep."""
        if not self._seconds:
            return ask()
        now = time.monotonic()
        with self._lock:
            kept = self._items.get(key)
        if kept is not None and now - kept[0] < self._seconds:
            return kept[1]
        decision = ask()
        with self._lock:
            self._items[key] = now, decision
            self._items.move_to_end(key)
            while len(self._items) > _CACHED:
                self._items.popitem(last=False)
        return decision


def _certificates(verify: Any) -> Any:
    """Return what certificates are verified with: the system's, where nothing else is given."""
    if verify is not True and not isinstance(verify, str):
        return verify
    try:
        return ssl.create_default_context(cafile=None if verify is True else verify)
    except (OSError, ValueError) as error:
        raise ValidationError(
            f"verify must be a file of CA certificates: {error}", parameter="verify"
        ) from error


def _http_url(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ValidationError(
            "policy must be a URL such as opa+https://host/v1/data/qpher/allow", parameter="policy"
        )
    return parsed


def open_policy(url: str, store: Store) -> RemoteEngine:
    """Open a remote engine; the entry point.

    Behind a ``#`` stand ``deadline`` and ``cache``, in seconds: ``#deadline=1&cache=2``.
    """
    address, _, options = url.partition("#")
    seconds = {"deadline": _DEADLINE, "cache": 0.0, **_seconds(options)}
    deadline, cache, *others = seconds.values()
    if others or not 0 < deadline <= _LONGEST_SECONDS or not 0 <= cache <= _LONGEST_SECONDS:
        raise _bad_options()
    return RemoteEngine(address, deadline=deadline, cache_seconds=cache, records=store.policies)


def _seconds(options: str) -> dict[str, float]:
    try:
        pairs = [part.split("=") for part in options.split("&") if part]
        return {name: float(value) for name, value in pairs}
    except ValueError:
        raise _bad_options() from None


def _bad_options() -> ValidationError:
    return ValidationError(
        f"policy takes #deadline= and cache= behind its URL, in seconds up to {_LONGEST_SECONDS}",
        parameter="policy",
    )
