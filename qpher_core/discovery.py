# SPDX-License-Identifier: Apache-2.0
"""From a URL or a name to the code behind it, through entry points.

Built-in parts register like a stranger's would: a distribution adds a backend by declaring an
entry point in one of the groups below. A ready-made object is accepted wherever a URL is.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any, Final, TypeVar

from qpher_core.errors import AlgorithmUnavailable, ValidationError
from qpher_core.policy.all_of import AllOf
from qpher_core.protocols import KeyProtector, PolicyEngine, Primitives, Store

__all__ = [
    "check_policy",
    "check_protector",
    "open_policy",
    "open_primitives",
    "open_protector",
    "open_store",
    "providers_of",
    "service_factory",
]

T = TypeVar("T")

_BACKENDS: Final = "qpher.backends"
_PROTECTORS: Final = "qpher.protectors"
_POLICIES: Final = "qpher.policies"
_PRIMITIVES: Final = "qpher.primitives"
_SERVICES: Final = "qpher.services"

#: The provider when the caller names none: the C core, or OpenSSL where that was not built.
_DEFAULT_PRIMITIVES: Final = "native"
_FALLBACK_PRIMITIVES: Final = "openssl"

#: The module whose absence says that the C core was not built. Any other ImportError of the
#: core, such as a wrong answer of its self-test, stands: a broken core is never replaced.
_NATIVE_MODULE: Final = "qpher_native._native"


@functools.cache
def _table(group: str) -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def _load(group: str, name: str, parameter: str) -> Callable[..., Any]:
    point = _table(group).get(name)
    if point is None:
        known = ", ".join(sorted(_table(group))) or "none"
        raise ValidationError(
            f"{parameter} names {name!r}, which is not installed; installed: {known}",
            parameter=parameter,
        )
    try:
        loaded: Callable[..., Any] = point.load()
    except ImportError as error:
        if error.name is None:
            raise AlgorithmUnavailable(f"{parameter} {name!r} refuses to work: {error}") from error
        extra = point.extras[0] if point.extras else name
        built = error.name != _NATIVE_MODULE
        advice = f"pip install 'qpher-core[{extra}]'" if built else str(error)
        raise ValidationError(
            f"{parameter} {name!r} needs a package that is missing ({error.name}): {advice}",
            parameter=parameter,
        ) from error
    return loaded


def _scheme(url: str, parameter: str) -> str:
    scheme, colon, _ = url.partition(":")
    if not colon or not scheme or "\x00" in url:
        raise ValidationError(
            f"{parameter} must be a URL such as 'sqlite:///qpher.db'", parameter=parameter
        )
    return scheme


def _ready_made(target: T, parameter: str, expected: str, needed: Sequence[str]) -> T:
    """Return an object that the caller brought, if it has what it will be asked for."""
    if not all(hasattr(target, name) for name in needed):
        raise ValidationError(
            f"{parameter} must be {expected}, or an object with {' and '.join(needed)}, "
            f"not of the type {type(target).__name__}",
            parameter=parameter,
        )
    return target


def open_store(target: str | Store, *, parameter: str) -> Store:
    """Return the store that a URL names, or the ready-made store."""
    if not isinstance(target, str):
        expected = "a URL such as 'sqlite:///qpher.db'"
        return _ready_made(target, parameter, expected, ("commit", "close"))
    store: Store = _load(_BACKENDS, _scheme(target, parameter), parameter)(target)
    return store


def service_factory(url: object) -> Callable[..., Any] | None:
    """Return what connects to the service elsewhere that a URL names; None if it names a store."""
    if not isinstance(url, str) or url.partition(":")[0] not in _table(_SERVICES):
        return None
    return _load(_SERVICES, _scheme(url, "url"), "url")


def open_protector(target: str | KeyProtector, *, create: bool) -> KeyProtector:
    """Return the protector that a URL names; a missing KEK is made only if ``create``."""
    if not isinstance(target, str):
        return _ready_made(target, "protector", "a URL", ("derive", "close"))
    factory = _load(_PROTECTORS, _scheme(target, "protector"), "protector")
    protector: KeyProtector = factory(target, create=create)
    return protector


def check_protector(target: str | KeyProtector) -> None:
    """Refuse what :func:`open_protector` cannot open, whatever is in it."""
    if isinstance(target, str):
        _load(_PROTECTORS, _scheme(target, "protector"), "protector")
    else:
        open_protector(target, create=False)


def check_policy(target: str | PolicyEngine | Sequence[str | PolicyEngine]) -> None:
    """Refuse what :func:`open_policy` cannot open, whatever is in it."""
    if isinstance(target, str):
        _load(_POLICIES, _scheme(target, "policy"), "policy")
    elif isinstance(target, Sequence):
        for one in target:
            check_policy(one)
    else:
        _ready_made(target, "policy", "a URL", ("decide",))


def open_policy(
    target: str | PolicyEngine | Sequence[str | PolicyEngine], store: Store
) -> PolicyEngine:
    """Return the policy engine that a URL names, or one that asks several in order.

    ``rules:`` reads the store's documents.
    """
    if isinstance(target, Sequence) and not isinstance(target, str):
        return AllOf([open_policy(one, store) for one in target])
    if not isinstance(target, str):
        return _ready_made(target, "policy", "a URL", ("decide",))
    scheme = _scheme(target, "policy")
    engine: PolicyEngine = _load(_POLICIES, scheme, "policy")(target, store)
    return engine


def open_primitives(target: str | Primitives | None) -> Primitives:
    """Return a provider by name, or the default one.

    Raises:
        ValidationError: no such provider is installed.
        AlgorithmUnavailable: the C core failed its power-on self-test.
    """
    if target is None:
        target = _DEFAULT_PRIMITIVES if _native_is_built() else _FALLBACK_PRIMITIVES
    if not isinstance(target, str):
        expected = "the name of a provider"
        return _ready_made(target, "primitives", expected, ("kems", "signatures"))
    provider: Primitives = _load(_PRIMITIVES, target, "primitives")()
    return provider


@functools.cache
def _native_is_built() -> bool:
    package = find_spec(_NATIVE_MODULE.partition(".")[0])
    folders = list(package.submodule_search_locations or ()) if package else []
    return PathFinder.find_spec(_NATIVE_MODULE, folders) is not None


@functools.cache
def providers_of(algorithm: str) -> tuple[str, ...]:
    """Return the names of the installed providers that have an algorithm."""
    return tuple(name for name in sorted(_table(_PRIMITIVES)) if _has(name, algorithm))


def _has(provider: str, algorithm: str) -> bool:
    try:
        primitives = open_primitives(provider)
    except (ValidationError, AlgorithmUnavailable):
        return False  # its extra is not installed
    return algorithm in primitives.kems or algorithm in primitives.signatures
