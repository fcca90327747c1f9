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

__all__ = ["BACKENDS", "PROVIDERS", "Backend", "Provider", "backends", "cases"]


@frozen
class Backend:
    """One backend.

    Attributes:
        url: the URL of a store in a folder; the same URL for the same folder.
        durable: what was committed is there when the same URL is opened later.
        shared: openings of the same URL at the same time, in any process, are one store.
    """

    url: Callable[[Path], str]
    durable: bool
    shared: bool


BACKENDS: Final[Mapping[str, Backend]] = MappingProxyType(
    {
        "memory": Backend(lambda _: "memory:", durable=False, shared=False),
        "sqlite": Backend(lambda folder: f"sqlite:///{folder}/q.db", durable=True, shared=True),
    }
)


@frozen
class Provider:
    """One primitives provider.

    Attributes:
        deterministic: it takes randomness from the caller, or none for signing.
        digests: it signs digests (the composites do so over any provider).
    """

    deterministic: bool
    digests: bool


_ALL_PROVIDERS: Final = {
    "native": Provider(deterministic=True, digests=True),
    "openssl": Provider(deterministic=False, digests=True),
}


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


def backends(*, durable: bool = False, shared: bool = False) -> list[str]:
    """Return the names of the backends that have at least these capabilities."""
    return [
        name
        for name, backend in BACKENDS.items()
        if backend.durable >= durable and backend.shared >= shared
    ]


def cases(kind: Kind | None = None) -> list[tuple[tuple[str, str], str]]:
    """Return ((backend, provider), algorithm) for all algorithms that the provider has."""
    found = []
    for provider in PROVIDERS:
        primitives = open_primitives(provider)
        names = {Kind.KEM: [*primitives.kems], Kind.SIGNATURE: [*primitives.signatures]}
        algorithms = names[kind] if kind else [*names[Kind.KEM], *names[Kind.SIGNATURE]]
        found += [((b, provider), a) for b in BACKENDS for a in algorithms]
    return found
