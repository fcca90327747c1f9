# SPDX-License-Identifier: Apache-2.0
"""Private keys that callers bring: wrapped by them to an import key of the service, by HPKE.

The import key is a key of the service, ML-KEM-1024, whose private part opens nothing else. What
is wrapped to it is a message of the kind ``IMPORTED_KEY`` (docs/formats.md), bound to the tenant,
name and algorithm that the key is for: elsewhere it does not open.
"""

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

from qpher_core.algorithms import ALGORITHMS, find
from qpher_core.calls import Change, Effect
from qpher_core.discovery import open_primitives
from qpher_core.errors import AlgorithmUnavailable, DecryptionFailed, StateConflict, ValidationError
from qpher_core.keystore import SealedKeyStore
from qpher_core.lifecycle import PROCESS, KeyState
from qpher_core.messages import Binding, Kind, decrypt, encrypt, version_of
from qpher_core.models import BY_ITSELF, SERVICE, ImportParameters, KeyRef, KeyVersion
from qpher_core.operations import OPERATIONS, Operation
from qpher_core.protocols import Primitives, StoreWriter
from qpher_core.validation import check_bytes, check_name, check_version

__all__ = ["Importer", "wrap_private_key"]

_NAME: Final = "import"
_ALGORITHM: Final = "ML-KEM-1024"


class _Administer(Protocol):
    """The part of the pipeline that changes what belongs to the service."""

    def __call__(
        self,
        operation: Operation,
        tenant_id: uuid.UUID,
        actor: str,
        change: Change[KeyVersion],
        /,
    ) -> KeyVersion: ...


def wrap_private_key(
    parameters: ImportParameters,
    private_key: bytes,
    *,
    algorithm: str,
    name: str = "default",
    primitives: str | Primitives | None = None,
) -> bytes:
    """Wrap a private key for ``session.keys.import_key``; needs no connection to the service.

    Args:
        parameters: what ``session.keys.import_parameters()`` returned.
        private_key: the seed (docs/formats.md, Sealed seed); for ML-KEM and ML-DSA also the
            expanded key of FIPS 203 or 204. A seed is better: it is checked by expanding it.
        algorithm: what the key is for.
        name: the name that it will have; it can be imported under no other.
        primitives: name of a provider, or a ready-made one.

    Raises:
        ValidationError: the private key has a wrong length, or the parameters are not any.
    """
    row = find(algorithm)
    key = check_bytes(private_key, "private_key")
    if len(key) not in {row.seed_bytes, row.expanded_bytes}:
        raise ValidationError(
            f"private_key must be a seed of {row.seed_bytes} bytes"
            + (f" or an expanded key of {row.expanded_bytes}" if row.expanded_bytes else ""),
            parameter="private_key",
        )
    if not isinstance(parameters, ImportParameters):
        raise ValidationError("parameters must be ImportParameters", parameter="parameters")
    version = check_version(parameters.key_version, "parameters.key_version")
    provider = open_primitives(primitives)
    scheme = provider.kems.get(parameters.algorithm)
    if scheme is None:
        raise AlgorithmUnavailable(
            f"the primitives provider {provider.name!r} lacks {parameters.algorithm}"
        )
    try:
        opened = scheme.open_encapsulation_key(parameters.encapsulation_key)
    except (ValueError, TypeError):
        raise ValidationError(
            "parameters must hold a valid encapsulation key", parameter="parameters"
        ) from None
    name = check_name(name, "name")
    binding = _binding(version, parameters.tenant_id, name, row.name)
    return encrypt(opened, binding, key)


class Importer:
    """The import keys of a service.

    Args:
        keys: the service's own keys.
        administer: commits a change together with its audit entry.
        clock: returns the time.
    """

    def __init__(
        self,
        keys: SealedKeyStore,
        administer: _Administer,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._keys = keys
        self._administer = administer
        self._clock = clock

    def parameters(self, tenant_id: uuid.UUID) -> ImportParameters:
        """Return what a tenant wraps private keys with; whoever is the first makes the key."""
        key = self._keys.active(SERVICE, _NAME, _ALGORITHM)
        if key is None:
            try:
                key = self.rotate(BY_ITSELF, only_first=True)
            except StateConflict:  # another was faster
                return self.parameters(tenant_id)
        return ImportParameters(tenant_id, key.algorithm, key.version, key.public_key)

    def unwrap(self, tenant_id: uuid.UUID, name: str, algorithm: str, wrapped: bytes) -> bytes:
        """Return a private key, or raise :class:`DecryptionFailed` for any cause."""
        version = version_of(wrapped)
        key = None
        if version is not None:
            key = self._keys.get(KeyRef(SERVICE, _NAME, _ALGORITHM, version))
        if key is None or key.state not in PROCESS:
            raise DecryptionFailed
        binding = _binding(key.version, tenant_id, name, algorithm)
        return decrypt(self._keys.open_decapsulation(key), binding, wrapped)

    def rotate(self, actor: str, *, only_first: bool = False) -> KeyVersion:
        """Make a new import key; the next rotation but one destroys it.

        Raises:
            StateConflict: another rotation was faster, or with ``only_first`` there is a key.
        """
        old = self._keys.active(SERVICE, _NAME, _ALGORITHM)
        older = self._keys.find(SERVICE, name=_NAME, algorithm=_ALGORITHM, state=KeyState.RETIRED)
        prepared = self._keys.prepare(SERVICE, _ALGORITHM)

        def change(writer: StoreWriter) -> Effect[KeyVersion]:
            now = self._clock()
            found = writer.service_keys.active(SERVICE, _NAME, _ALGORITHM)
            if (found and found.key) != old or (only_first and found):
                raise StateConflict("another rotation was faster; look again")
            for key in older:
                archived = self._keys.transition(
                    writer, key, KeyState.ARCHIVED, now=now, reason="replaced"
                )
                self._keys.transition(
                    writer, archived, KeyState.DESTROYED, now=now, reason="replaced"
                )
            if old is not None:
                self._keys.transition(writer, old, KeyState.RETIRED, now=now, reason="replaced")
            added = self._keys.add(writer, SERVICE, _NAME, prepared, now=now)
            return Effect(added, added.public_key)

        return self._administer(OPERATIONS["imports.rotate"], SERVICE, actor, change)


def _binding(version: int, tenant_id: uuid.UUID, name: str, algorithm: str) -> Binding:
    """Return what an imported key is bound to: the import key, and the key that it becomes."""
    target = {"tenant": str(tenant_id), "name": name, "algorithm": ALGORITHMS[algorithm].name}
    return Binding(KeyRef(SERVICE, _NAME, _ALGORITHM, version), Kind.IMPORTED_KEY, target)
