# SPDX-License-Identifier: Apache-2.0
"""The backends and providers that the contract suites run on: a new one adds a line here."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from attrs import frozen

from qpher_core.algorithms import Kind
from qpher_core.discovery import open_primitives
from qpher_core.errors import ValidationError
from tests.postgres import database_url

__all__ = [
    "BACKENDS",
    "CROSSED",
    "PROVIDERS",
    "SERVED",
    "Backend",
    "Provider",
    "backends",
    "cases",
    "services",
]


@frozen
class Backend:
    """One backend.

    Attributes:
        url: the URL of a store in a folder; the same URL for the same folder.
        durable: what was committed is there when the same URL is opened later.
        shared: openings of the same URL at the same time, in any process, are one store.
        mixes: it can be one of the two stores of a mixed set-up.
        local: its log is in files that the process which uses it writes itself.
    """

    url: Callable[[Path], str]
    durable: bool
    shared: bool
    mixes: bool = True
    local: bool = True


_STORES: Final[Mapping[str, Backend]] = MappingProxyType(
    {
        "memory": Backend(lambda _: "memory:", durable=False, shared=False),
        "sqlite": Backend(lambda folder: f"sqlite:///{folder}/q.db", durable=True, shared=True),
        "postgresql": Backend(database_url, durable=True, shared=True, local=False),
        "file": Backend(lambda folder: f"file://{folder}/store", durable=True, shared=True),
    }
)


def _mixed(keys: Backend, audit: Backend) -> Backend:
    def url(folder: Path) -> str:
        for part in ("keys", "audit"):
            (folder / part).mkdir(exist_ok=True)
        return f"mixed:keys={keys.url(folder / 'keys')} audit={audit.url(folder / 'audit')}"

    durable, shared = keys.durable and audit.durable, keys.shared and audit.shared
    return Backend(url, durable=durable, shared=shared, mixes=False, local=audit.local)


#: Keys in one store and the log in another, both ways round, for every durable store and files.
_PAIRS: Final = {
    f"{keys}+{audit}": _mixed(_STORES[keys], _STORES[audit])
    for name, backend in _STORES.items()
    if backend.mixes and name != "file"
    for keys, audit in ((name, "file"), ("file", name))
}

#: A service in memory that is used over the network.
SERVED: Final = "https"

#: A service in memory whose methods are called as coroutines.
CROSSED: Final = "aio"

#: Every store, and every pair of them that is tried.
BACKENDS: Final[Mapping[str, Backend]] = MappingProxyType({**_STORES, **_PAIRS})


@frozen
class Provider:
    """One primitives provider.

    Attributes:
        deterministic: it takes randomness from the caller, or none for signing.
        digests: it signs digests (the composites do so over any provider).
        longest_context: the longest context string in bytes that it takes for ML-DSA.
    """

    deterministic: bool
    digests: bool
    longest_context: int = 255


_ALL_PROVIDERS: Final = {
    "native": Provider(deterministic=True, digests=True),
    "openssl": Provider(deterministic=False, digests=True),
    "rustcrypto": Provider(deterministic=False, digests=False, longest_context=253),
}

#: SLH-DSA in its small forms signs in seconds; they are held to the rest in tests/conformance.
_TOO_SLOW: Final = {"SLH-DSA-SHA2-128s", "SLH-DSA-SHA2-192s", "SLH-DSA-SHA2-256s"}


def _installed(name: str) -> bool:
    try:
        open_primitives(name)
    except ValidationError:  # not built, or its extra is missing
        return False
    return True


#: The providers that are installed, by the name of their entry point.
PROVIDERS: Final[Mapping[str, Provider]] = MappingProxyType(
    {name: provider for name, provider in _ALL_PROVIDERS.items() if _installed(name)}
)


def backends(
    *, durable: bool = False, shared: bool = False, mixes: bool = False, local: bool = False
) -> list[str]:
    """Return the names of the backends that have at least these capabilities."""
    return [
        name
        for name, backend in BACKENDS.items()
        if backend.durable >= durable
        and backend.shared >= shared
        and backend.mixes >= mixes
        and backend.local >= local
    ]


def services() -> list[tuple[str, str]]:
    """Return (backend, provider): every backend, and on one of them every provider."""
    first = next(iter(PROVIDERS))
    others = [("memory", provider) for provider in PROVIDERS if provider != first]
    return [*((backend, first) for backend in (*BACKENDS, SERVED, CROSSED)), *others]


def cases(kind: Kind | None = None) -> list[tuple[tuple[str, str], str]]:
    """Return ((backend, provider), algorithm) for all algorithms that the provider has."""
    return [
        ((backend, provider), algorithm)
        for backend, provider in services()
        for algorithm in _algorithms(provider, kind)
    ]


def _algorithms(provider: str, kind: Kind | None) -> list[str]:
    primitives = open_primitives(provider)
    names = {Kind.KEM: [*primitives.kems], Kind.SIGNATURE: [*primitives.signatures]}
    wanted = names[kind] if kind else [*names[Kind.KEM], *names[Kind.SIGNATURE]]
    return [name for name in wanted if name not in _TOO_SLOW]
