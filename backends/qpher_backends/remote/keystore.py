# SPDX-License-Identifier: Apache-2.0
"""The keys of one tenant of a service elsewhere, which keeps and uses them.

What changes keys is a call of that service's own session: a key store takes part in a transaction
of the store that records it, and nothing here could undo what another service has done.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, Final, NoReturn

from qpher_backends.remote.answers import import_parameters, key_version
from qpher_backends.remote.link import Link, expect
from qpher_backends.remote.opened import RemoteDecapsulationKey, RemoteSigningKey
from qpher_core.algorithms import ALGORITHMS
from qpher_core.calls import KeySelector
from qpher_core.discovery import open_primitives
from qpher_core.errors import AlgorithmUnavailable, IntegrityError, NotFound, StoreUnavailable
from qpher_core.lifecycle import KeyState
from qpher_core.models import ImportParameters, KeyRef, KeyVersion
from qpher_core.protocols import (
    EncapsulationKey,
    PreparedKey,
    Primitives,
    StoreWriter,
    VerificationKey,
)

__all__ = ["RemoteKeyStore"]

_PAGE: Final = 500  # key versions in one answer


class RemoteKeyStore:
    """Implements ``KeyStore`` for the API key's tenant, but for its changes. Thread-safe.

    Keys of other tenants look missing. The public side of a key is opened here.

    Args:
        link: the connection.
        tenant_id: the API key's tenant.
        primitives: name of a provider, or a ready-made one, for the public side.
    """

    def __init__(
        self, link: Link, tenant_id: uuid.UUID, primitives: str | Primitives | None = None
    ) -> None:
        self._link = link
        self._tenant_id = tenant_id
        self._chosen = primitives

    def __repr__(self) -> str:
        return f"<RemoteKeyStore over {self._link!r}>"

    def get(self, ref: KeyRef) -> KeyVersion | None:
        """Return one key version."""
        return self._look_up(ref.tenant_id, ref.name, ref.algorithm, ref.version)

    def active(self, tenant_id: uuid.UUID, name: str, algorithm: str) -> KeyVersion | None:
        """Return the active key version."""
        return self._look_up(tenant_id, name, algorithm, None)

    def resolve(self, selector: KeySelector) -> KeyVersion:
        """Return the key version that a selector names.

        Raises:
            NotFound: there is none.
        """
        name, algorithm = selector.name, selector.algorithm.name
        path = "/kms/keys/active" if selector.version is None else "/kms/keys/{key_version}"

        def read(answer: Any, _: uuid.UUID) -> KeyVersion:
            key = key_version(answer, self._tenant_id)
            expect((key.name, key.algorithm) == (name, algorithm), "it is about another key")
            expect(selector.version in {None, key.version}, "it is about another version")
            return key

        values = {"key_version": selector.version, "algorithm": algorithm, "name": name}
        return self._link.call("GET", path, read, values=values)

    def find(
        self,
        tenant_id: uuid.UUID,
        *,
        name: str | None = None,
        algorithm: str | None = None,
        state: KeyState | None = None,
        after: KeyRef | None = None,
        limit: int | None = None,
    ) -> Sequence[KeyVersion]:
        """Return the key versions that match; see ``KeyRecords.find``."""
        found: list[KeyVersion] = []
        if tenant_id != self._tenant_id:
            return found
        while limit is None or len(found) < limit:
            size = _PAGE if limit is None else min(_PAGE, limit - len(found))
            page = self._page(size, after, name=name, algorithm=algorithm, status=state)
            found += page
            if len(page) < size:
                break
            after = page[-1].ref
        return found

    def import_parameters(self, tenant_id: uuid.UUID) -> ImportParameters:
        """Return what the tenant wraps its private keys with."""

        def read(answer: Any, _: uuid.UUID) -> ImportParameters:
            parameters = import_parameters(answer)
            expect(parameters.tenant_id == tenant_id, "it is about another tenant")
            return parameters

        return self._link.call("GET", "/kms/keys/import/parameters", read)

    def open_decapsulation(self, key: KeyVersion) -> RemoteDecapsulationKey:
        """Return the private side of a KEM key, as it is there."""
        return RemoteDecapsulationKey(self._link, key)

    def open_signing(self, key: KeyVersion) -> RemoteSigningKey:
        """Return the private side of a signature key, as it is there."""
        return RemoteSigningKey(self._link, key)

    def open_encapsulation(self, key: KeyVersion) -> EncapsulationKey:
        """Open the public side of a KEM key, here."""
        scheme = self._primitives.kems.get(key.algorithm)
        if scheme is None:
            raise self._lacking(key)
        try:
            return scheme.open_encapsulation_key(key.public_key)
        except ValueError:
            raise IntegrityError(f"the public key of the {key.ref} is not one") from None

    def open_verification(self, key: KeyVersion) -> VerificationKey:
        """Open the public side of a signature key, here."""
        scheme = self._primitives.signatures.get(key.algorithm)
        if scheme is None:
            raise self._lacking(key)
        try:
            return scheme.open_public_key(key.public_key)
        except ValueError:
            raise IntegrityError(f"the public key of the {key.ref} is not one") from None

    def confirm(self, writer: StoreWriter, key: KeyVersion) -> bool:
        """Believe what was read before the call: no store here is locked for a network.

        A private key is used there, under the state that it has by then.
        """
        return True

    def warm(self, key: KeyVersion) -> None:
        """Do nothing: there is no key encryption key here."""

    def prepare(self, tenant_id: uuid.UUID, algorithm: str) -> PreparedKey:
        """Refuse: see the module."""
        _refuse()

    def prepare_import(
        self, tenant_id: uuid.UUID, name: str, algorithm: str, wrapped: bytes
    ) -> PreparedKey:
        """Refuse: see the module."""
        _refuse()

    def add(
        self,
        writer: StoreWriter,
        tenant_id: uuid.UUID,
        name: str,
        key: PreparedKey,
        *,
        now: datetime,
        reason: str = "",
    ) -> KeyVersion:
        """Refuse: see the module."""
        _refuse()

    def transition(
        self, writer: StoreWriter, key: KeyVersion, to: KeyState, *, now: datetime, reason: str
    ) -> KeyVersion:
        """Refuse: see the module."""
        _refuse()

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._link.close()

    @cached_property
    def _primitives(self) -> Primitives:
        return open_primitives(self._chosen)

    def _lacking(self, key: KeyVersion) -> AlgorithmUnavailable:
        return AlgorithmUnavailable(
            f"the primitives provider {self._primitives.name!r} lacks {key.algorithm}"
        )

    def _look_up(
        self, tenant_id: uuid.UUID, name: str, algorithm: str, version: int | None
    ) -> KeyVersion | None:
        if tenant_id != self._tenant_id:
            return None
        try:
            return self.resolve(KeySelector(name, ALGORITHMS[algorithm], version))
        except NotFound:
            return None

    def _page(self, size: int, after: KeyRef | None, **where: object) -> list[KeyVersion]:
        last: dict[str, object] = {}
        if after is not None:
            last = {
                "after_name": after.name,
                "after_algorithm": after.algorithm,
                "after_version": after.version,
            }

        def read(answer: Any, _: uuid.UUID) -> list[KeyVersion]:
            expect(len(answer.keys) <= size, "there are more keys than were asked for")
            found = [key_version(key, self._tenant_id) for key in answer.keys]
            refs = [ref for ref in (after, *(key.ref for key in found)) if ref is not None]
            places = [(ref.name, ref.algorithm, ref.version) for ref in refs]
            # A service that goes back would be asked for ever.
            expect(places == sorted(set(places)), "keys are out of order")
            return found

        return self._link.call("GET", "/kms/keys", read, values={"limit": size, **where, **last})


def _refuse() -> NoReturn:
    raise StoreUnavailable(
        "keys of a service elsewhere are changed by a session of that service, "
        "not inside a transaction of this one"
    )
