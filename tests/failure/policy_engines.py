# SPDX-License-Identifier: Apache-2.0
"""Every policy engine, and how each failure of docs/policy.md is brought about on it."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import evolve, frozen

import qpher_core
from qpher_backends.policies.cedar import CedarEngine
from qpher_backends.policies.remote import RemoteEngine
from qpher_backends.remote import RemotePolicy
from qpher_core import Decision, PolicyRequest, RemoteSettings
from qpher_core.api_key_format import make_secret
from qpher_core.asgi import create_app
from tests.failure.elsewhere import saying as replies
from tests.failure.elsewhere import telling as tells
from tests.failure.wire import dripping, replying
from tests.http.server import serving
from tests.http_server import Answer
from tests.policy_servers import answering, hanging_up, rego, saying

__all__ = ["ALLOWS", "ENGINES", "ROWS", "Failure"]


@frozen
class Setting:
    """A policy for a service, and what makes it fail once that is open."""

    policy: Any
    begin: Callable[[], None] = lambda: None


#: Gets the folder of a store ``q.db`` and gives a policy that fails on it.
Failure = Callable[[Path], contextlib.AbstractContextManager[Setting]]

#: The row on which nothing fails.
ALLOWS: Final = "allows"

_LONG, _SHORT = 30.0, 0.05  # seconds: nobody waits for the one, the other passes
_KEY: Final = make_secret()[1]
_PERMIT: Final = "permit(principal, action, resource);"
_OVERFLOW: Final = (
    "permit(principal, action, resource) when "
    "{ context.payload_bytes + 9223372036854775807 + 1 > 0 };"
)
_REGO: Final = "package qpher\n\nimport rego.v1\n\n"
_GOOD: Final = b'{"result":true,"allow":true}'
_DECIDED: Final = {"allow": True, "rule": "", "reason": ""}


# --- the rule chain ----------------------------------------------------------------------------


def _chain(*statements: str) -> Failure:
    """Alter the stored documents behind the service's back."""

    @contextlib.contextmanager
    def failure(folder: Path) -> Iterator[Setting]:
        def begin() -> None:
            with contextlib.closing(sqlite3.connect(folder / "q.db")) as database, database:
                for statement in statements:
                    database.execute(statement)

        yield Setting("rules:", begin)

    return failure


def _rules(text: str) -> Failure:
    """Add a revision that nobody checked."""
    return _chain(f"INSERT INTO policies SELECT tenant_id, 99, '{text}' FROM policies")


# --- Cedar -------------------------------------------------------------------------------------


def _cedar(text: str, change: Callable[[Path], object] = lambda _: None) -> Failure:
    """Decide by a file of policies, which is changed once the engine is open."""

    @contextlib.contextmanager
    def failure(folder: Path) -> Iterator[Setting]:
        file = folder / "all.cedar"
        file.write_text(text)
        engine = CedarEngine(file)
        change(file)
        yield Setting(engine)

    return failure


class _Unparsed(CedarEngine):
    """Asks Cedar about a source that is no address, on which it has no decision."""

    def decide(self, request: PolicyRequest) -> Decision:
        """Decide on the request as if it came from there."""
        return super().decide(evolve(request, source="nowhere"))


@contextlib.contextmanager
def _no_decision(folder: Path) -> Iterator[Setting]:
    (folder / "all.cedar").write_text(_PERMIT)
    yield Setting(_Unparsed(folder / "all.cedar"))


# --- engines over HTTP -------------------------------------------------------------------------


def _engine(scheme: str, host: str, deadline: float = _LONG) -> RemoteEngine:
    return RemoteEngine(f"{scheme}://{host}/v1/data/qpher/allow", deadline=deadline)


def _http(scheme: str, answer: Callable[[object], Answer]) -> Failure:
    @contextlib.contextmanager
    def failure(_: Path) -> Iterator[Setting]:
        with answering(answer) as host:
            yield Setting(_engine(scheme, host))

    return failure


def _wire(scheme: str, first: bytes = b"", *, wait: bool = False) -> Failure:
    @contextlib.contextmanager
    def failure(_: Path) -> Iterator[Setting]:
        with hanging_up(first, wait=wait) as host:
            yield Setting(_engine(scheme, host, _SHORT if wait else _LONG))

    return failure


def _gone(scheme: str) -> Failure:
    @contextlib.contextmanager
    def failure(_: Path) -> Iterator[Setting]:
        with hanging_up() as host:
            pass
        yield Setting(_engine(scheme, host))

    return failure


def _over_http(scheme: str) -> dict[str, Failure]:
    """Return what OPA and plain HTTP have in common."""
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + _GOOD
    answers = {
        ALLOWS: saying(_GOOD),
        "HTTP 500": saying(_GOOD, 500),
        "redirect": saying(b"", 302, Location="/v1/data/other"),
        "nothing": saying(b""),
        "missing result": saying(b"{}"),
        'result "true"': saying(b'{"result":"true","allow":"true"}'),
        "result 1": saying(b'{"result":1,"allow":1}'),
        "a megabyte": saying(_GOOD[:-1] + b',"x":"' + b"x" * (1 << 20) + b'"}'),
        "denies": saying(b'{"result":false,"allow":false}'),
    }
    return {
        **{row: _http(scheme, answer) for row, answer in answers.items()},
        "unreachable": _gone(scheme),
        "dies in its answer": _wire(scheme, half),
        "timeout": _wire(scheme, wait=True),
    }


# --- another qpher-core service ----------------------------------------------------------------


def _remote(base: str, deadline: float = _LONG, key: str = _KEY) -> RemotePolicy:
    return RemotePolicy(base, key, RemoteSettings(deadline=deadline, attempts=1))


def _replying(answer: Any) -> Failure:
    @contextlib.contextmanager
    def failure(_: Path) -> Iterator[Setting]:
        with replying(answer) as base:
            yield Setting(_remote(base))

    return failure


def _cut(first: bytes = b"") -> Failure:
    @contextlib.contextmanager
    def failure(_: Path) -> Iterator[Setting]:
        with hanging_up(first) as host:
            yield Setting(_remote(f"http://{host}"))

    return failure


@contextlib.contextmanager
def _service_gone(_: Path) -> Iterator[Setting]:
    with hanging_up() as host:
        pass
    yield Setting(_remote(f"http://{host}"))


@contextlib.contextmanager
def _service_slow(_: Path) -> Iterator[Setting]:
    with dripping(b"HTTP/1.1 200 OK\r\nx: ", b"y") as base:
        yield Setting(_remote(base, _SHORT))


def _service(rules: str | None = None, failing: Failure | None = None) -> Failure:
    """Ask a real service: its tenant's rules decide, or an engine that fails there."""

    @contextlib.contextmanager
    def failure(folder: Path) -> Iterator[Setting]:
        central = folder / "central"
        central.mkdir()
        chosen = (failing or _chain())(central)
        with chosen as there, qpher_core.open(f"sqlite:///{central}/q.db") as kms:
            kms.tenants.create("branch")
            key = kms.api_keys.create("branch", scopes=("policies",))[1]
            if rules is not None:
                kms.policies.set(rules, tenant="branch")
            with (
                qpher_core.open(f"sqlite:///{central}/q.db", policy=there.policy) as asked,
                serving(create_app(asked)) as base,
            ):
                there.begin()
                yield Setting(_remote(base, key=key))

    return failure


# --- the table ---------------------------------------------------------------------------------

#: Engine to the failures that it can have. What is missing it cannot: nothing is sent, or waited
#: for, or there is no such thing.
ENGINES: Final[Mapping[str, Mapping[str, Failure]]] = {
    "rules": {
        ALLOWS: _chain(),
        "denies": _rules('[{"rule":"deny","actions":["*"]}]'),
        "unreachable": _chain("ALTER TABLE policies RENAME TO lost"),
        "missing result": _chain("DROP TRIGGER policies_stay", "DELETE FROM policies"),
        "broken policies": _rules('[{"rule":"plan"},{"rule":"what"}]'),
        'result "true"': _rules('"true"'),
        "result 1": _rules("1"),
        "nothing": _rules(""),
        "empty policy set": _rules("[]"),
        "unknown action": _chain(),
    },
    "Cedar": {
        ALLOWS: _cedar(_PERMIT),
        "denies": _cedar(f"{_PERMIT} forbid(principal, action, resource);"),
        "unreachable": _cedar(_PERMIT, Path.unlink),
        "errors beside a result": _cedar(_PERMIT + _OVERFLOW),
        "no decision": _no_decision,
        "empty policy set": _cedar("// nothing"),
        "broken policies": _cedar(_PERMIT, lambda file: file.write_text("permit(")),
        "unknown action": _cedar(_PERMIT),
    },
    "OPA": {
        **_over_http("opa+http"),
        ALLOWS: _http("opa+http", rego(_REGO + "allow := true\n")),
        "denies": _http("opa+http", rego(_REGO + "default allow := false\n")),
        "errors beside a result": _http(
            "opa+http", rego(_REGO + "allow := true if input.action\nallow := 1 if input.action\n")
        ),
        "no decision": _http("opa+http", rego(_REGO + "allow if input.nobody\n")),
        "empty policy set": _http("opa+http", rego(_REGO)),
        "unknown action": _http("opa+http", rego(_REGO + "allow := true\n")),
    },
    "HTTP": {
        **_over_http("http"),
        "no decision": _http("http", saying(b'{"allow":null}')),
        "unknown action": _http("http", saying(_GOOD)),
    },
    "qpher": {
        ALLOWS: _service(),
        "denies": _service('[{"rule":"deny","actions":["[aks]*"]}]'),
        "unreachable": _service_gone,
        "dies in its answer": _cut(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"),
        "timeout": _service_slow,
        "HTTP 500": _replying(replies(_GOOD, 500)),
        "redirect": _replying(replies(b"", 302, {"Location": "/api/v1/policies/decide"})),
        "nothing": _replying(replies(b"")),
        "missing result": _replying(tells({"rule": "", "reason": ""})),
        'result "true"': _replying(tells({**_DECIDED, "allow": "true"})),
        "result 1": _replying(tells({**_DECIDED, "allow": 1})),
        "a megabyte": _replying(replies(b"x" * (8 << 20))),
        "errors beside a result": _service(failing=_cedar(_PERMIT + _OVERFLOW)),
        "no decision": _service(failing=_no_decision),
        "empty policy set": _service(failing=_cedar("// nothing")),
        "broken policies": _service(failing=_rules("{")),
        "unknown action": _service(),
    },
}

#: Row of the table to what happens.
ROWS: Final[Mapping[str, str]] = {
    "unreachable": "the engine, its files or its records cannot be reached",
    "dies in its answer": "it closes the connection in the middle of an allowance",
    "timeout": "it does not answer within the deadline",
    "HTTP 500": "it answers with status 500, whatever the body says",
    "redirect": "it answers with a redirect",
    "nothing": "its answer, or its document, is empty",
    "missing result": "`{}`: no result, or no document",
    'result "true"': 'the result, or the document, is `"true"`',
    "result 1": "the result, or the document, is `1`",
    "a megabyte": "an allowance in a megabyte of answer",
    "errors beside a result": "its policies fail while they are evaluated",
    "no decision": "it has no decision on this request",
    "broken policies": "its policies became malformed",
    "empty policy set": "it has no policies",
    "unknown action": "the operation is not one of the table",
    "denies": "it denies",
}
