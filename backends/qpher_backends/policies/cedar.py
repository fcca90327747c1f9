# SPDX-License-Identifier: Apache-2.0
"""Cedar, embedded: ``cedar:///etc/qpher/policies``, a file or a folder of ``*.cedar`` files.

Policies are checked against :data:`SCHEMA` when they are read. A request is allowed only if Cedar
says Allow and its diagnostics have no error. Files that change are read again at the next
decision; while they are broken the engine cannot answer, so everything is refused.
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import cedarpy
from attrs import frozen

from qpher_core.errors import PolicyUnavailable, ValidationError
from qpher_core.models import Decision, PolicyRequest
from qpher_core.operations import OPERATIONS
from qpher_core.protocols import Store

__all__ = ["SCHEMA", "CedarEngine", "check_policies", "open_policy"]

_TYPES: Final = """\
// A tenant; what acts for it and its keys are in it.
entity Tenant = { plan?: String };
entity Actor in [Tenant] = { name: String };
entity Key in [Tenant] = { name: String, algorithm: String, version?: Long, state?: String };

type Request = {
  payload_bytes: Long,
  context_keys: Set<String>,
  features: Set<String>,
  scopes?: Set<String>,
  source?: ipaddr,
  time: datetime,
};
"""

#: The schema that policies are checked against, in Cedar's own syntax.
SCHEMA: Final = _TYPES + "".join(
    f'\naction "{action}" appliesTo '
    "{ principal: [Actor], resource: [Key, Tenant], context: Request };"
    for action in OPERATIONS
)

_Json = dict[str, Any]


@frozen
class _Loaded:
    stamp: tuple[tuple[str, int, int], ...]
    policies: cedarpy.PolicySet


class CedarEngine:
    """Decides by the Cedar policies of a file or folder.

    Raises:
        ValidationError: the policies do not parse or do not fit the schema; the message has
            Cedar's reasons.
        PolicyUnavailable: they cannot be read.
    """

    may_block = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._schema = cedarpy.Schema.from_str(SCHEMA)
        self._lock = threading.Lock()
        self._loaded = self._load(self._stamp())

    def decide(self, request: PolicyRequest) -> Decision:
        """Return Cedar's decision.

        Raises:
            PolicyUnavailable: Cedar's diagnostics have errors, or the policies cannot be read.
        """
        with _no_panic():
            result = cedarpy.is_authorized(
                _request(request), self._policies(), _entities(request), self._schema
            )
        if result.diagnostics.errors or result.decision is cedarpy.Decision.NoDecision:
            raise PolicyUnavailable("Cedar could not evaluate the policies on this request")
        determining = ", ".join(sorted(map(str, result.diagnostics.reasons)))
        if result.decision is cedarpy.Decision.Allow:
            return Decision(allow=True, rule="cedar", reason=f"permitted by {determining}")
        reason = f"forbidden by {determining}" if determining else "no policy permits it"
        return Decision(allow=False, rule="cedar", reason=reason)

    def _policies(self) -> cedarpy.PolicySet:
        stamp = self._stamp()
        with self._lock:
            if stamp != self._loaded.stamp:
                self._loaded = self._load(stamp)
            return self._loaded.policies

    def _files(self) -> list[Path]:
        return sorted(self._path.glob("*.cedar")) if self._path.is_dir() else [self._path]

    def _stamp(self) -> tuple[tuple[str, int, int], ...]:
        """Return what shows that a file was changed, added or removed."""
        try:
            states = [(str(file), file.stat()) for file in self._files()]
        except OSError as error:
            raise PolicyUnavailable(f"Cedar policies cannot be read: {error.strerror}") from error
        return tuple((name, state.st_mtime_ns, state.st_size) for name, state in states)

    def _load(self, stamp: tuple[tuple[str, int, int], ...]) -> _Loaded:
        try:
            text = "\n".join(file.read_text(encoding="utf-8") for file in self._files())
        except (OSError, UnicodeDecodeError) as error:
            raise PolicyUnavailable(
                f"Cedar policies cannot be read ({type(error).__name__})"
            ) from error
        check_policies(text)
        return _Loaded(stamp, cedarpy.PolicySet.from_str(text))


def check_policies(text: str) -> None:
    """Check policies against the schema. Raises ``ValidationError`` with Cedar's reasons."""
    checked = cedarpy.validate_policies(text, SCHEMA)
    if not checked.validation_passed:
        reasons = "; ".join(dict.fromkeys(error.error for error in checked.errors))
        raise ValidationError(f"Cedar policies are refused: {reasons}", parameter="policy")


@contextlib.contextmanager
def _no_panic() -> Iterator[None]:
    """Let a panic of Cedar be an error: it is raised as something that is no ``Exception``."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise PolicyUnavailable("Cedar panicked on this request") from error


def _uid(kind: str, name: str) -> _Json:
    return {"type": kind, "id": name}


def _resource(request: PolicyRequest) -> _Json:
    if request.key_name is None or request.algorithm is None:
        return _uid("Tenant", str(request.tenant_id))
    return _uid("Key", f"{request.key_name}/{request.algorithm}")


def _entities(request: PolicyRequest) -> list[_Json]:
    tenant = _uid("Tenant", str(request.tenant_id))
    actor = {"name": request.actor}
    entities: list[_Json] = [
        {"uid": tenant, "attrs": _given(plan=request.plan), "parents": []},
        {"uid": _uid("Actor", request.actor), "attrs": actor, "parents": [tenant]},
    ]
    if request.key_name is not None and request.algorithm is not None:
        key = _given(
            name=request.key_name,
            algorithm=request.algorithm,
            version=request.key_version,
            state=request.key_state,
        )
        entities.append({"uid": _resource(request), "attrs": key, "parents": [tenant]})
    return entities


def _request(request: PolicyRequest) -> _Json:
    moment = request.time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    context = _given(
        payload_bytes=request.payload_bytes,
        context_keys=sorted(request.context_keys),
        features=sorted(request.features),
        scopes=None if request.scopes is None else sorted(request.scopes),
        source=None if request.source is None else _extension("ip", request.source),
        time=_extension("datetime", moment),
    )
    return {
        "principal": _uid("Actor", request.actor),
        "action": _uid("Action", request.action),
        "resource": _resource(request),
        "context": context,
    }


def _given(**members: object) -> _Json:
    return {name: value for name, value in members.items() if value is not None}


def _extension(function: str, argument: str) -> Mapping[str, Mapping[str, str]]:
    return {"__extn": {"fn": function, "arg": argument}}


def open_policy(url: str, _store: Store) -> CedarEngine:
    """Open ``cedar:///path``; the entry point."""
    prefix = "cedar://"
    if not url.startswith(prefix + "/") or len(url) == len(prefix) + 1:
        raise ValidationError(
            "policy must be 'cedar:///path', an absolute path to a file or folder",
            parameter="policy",
        )
    return CedarEngine(Path(url[len(prefix) :]))
