# SPDX-License-Identifier: Apache-2.0
"""``kms.anchors``: the signed states of the logs, for the holder of the service."""

import uuid
from collections.abc import Iterator, Sequence

from qpher_core.audit.anchors import Anchorer
from qpher_core.audit.records import StoredAnchor
from qpher_core.errors import Unavailable, ValidationError
from qpher_core.models import OPERATOR, SERVICE, Tenant
from qpher_core.protocols import Store
from qpher_core.validation import check_count, check_name

__all__ = ["Anchors"]


class Anchors:
    """Anchors of every log. Where a tenant may be given, None means the service's own log.

    Tenants are given as :class:`~qpher_core.models.Tenant` or by id.
    """

    def __init__(self, store: Store, anchorer: Anchorer) -> None:
        self._store = store
        self._anchorer = anchorer

    def latest(self, tenant: Tenant | uuid.UUID | None = None) -> StoredAnchor | None:
        """Return the last anchor of a log, or None if it has none yet."""
        return self._store.anchors.latest(_id(tenant))

    def list(
        self, tenant: Tenant | uuid.UUID | None = None, *, start: int = 0
    ) -> Iterator[StoredAnchor]:
        """Yield the anchors of a log that cover at least ``start`` entries, by size."""
        check_count(start, "start")
        return self._store.anchors.read(_id(tenant), start=start)

    def publish(self, tenant: Tenant | uuid.UUID | None = None) -> StoredAnchor:
        """Anchor a log now, publish the anchor and return it.

        Raises:
            NotFound: the log is empty; or what was published is of entries that were moved out
                since (docs/guide.md, When anchors stop).
            AuditIntegrityError: the log does not continue what was anchored before.
            Unavailable: the anchor is stored but could not be published everywhere.
        """
        anchor = self._anchorer.anchor(_id(tenant))
        if not self._anchorer.published(anchor):
            raise Unavailable("the anchor is stored but could not be published everywhere")
        return anchor

    def check(self, note: str, tenant: Tenant | uuid.UUID | None = None) -> None:
        """Check that a log continues an anchor that was kept elsewhere.

        Raises:
            AuditIntegrityError: it does not, or the anchor is not one of this service.
            NotFound: the anchor is of entries that were moved out since: verify their segments.
        """
        if not isinstance(note, str):
            raise ValidationError("note must be the text of an anchor", parameter="note")
        self._anchorer.check_state(_id(tenant), note)

    def key(self) -> str:
        """Return the key that signs anchors now, as a vkey."""
        return str(self._anchorer.keys.current())

    def keys(self) -> Sequence[str]:
        """Return all anchor keys that ever were, oldest first, then the cosigner's, as vkeys."""
        return [str(key) for key in self._anchorer.keys.all()]

    def statements(self) -> Sequence[str]:
        """Return the statements by which each anchor key introduced the next, oldest first."""
        return self._store.anchors.statements()

    def rotate(self, *, actor: str = OPERATOR) -> str:
        """Replace the anchor key and return the new one as a vkey.

        The old key signs a statement that names the new one, and is retired.

        Raises:
            StateConflict: it was rotated at the same moment.
        """
        return str(self._anchorer.keys.rotate(check_name(actor, "actor")))


def _id(tenant: Tenant | uuid.UUID | None) -> uuid.UUID:
    owner = SERVICE if tenant is None else getattr(tenant, "id", tenant)
    if not isinstance(owner, uuid.UUID):  # a name, say, would be a log without entries
        raise ValidationError("tenant must be a tenant or its id", parameter="tenant")
    return owner
