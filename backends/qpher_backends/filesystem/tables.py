# SPDX-License-Identifier: Apache-2.0
"""Tenants, policies and intents as documents. One class a table reads and writes.

tenants/<id>.json             one tenant
tenant-names/<name>.json      which tenant has a name
policies/<id>/<revision>.json one revision of a tenant's rules, or of ``service``
intents.json                  what has to be settled in a mixed set-up, if anything
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from qpher_backends.filesystem.names import component
from qpher_backends.filesystem.view import Look, Transaction, View
from qpher_core.errors import StateConflict, StoreUnavailable
from qpher_core.models import Intent, PolicyDocument, Tenant, TenantStatus, rfc3339

__all__ = [
    "IntentTable",
    "IntentWriter",
    "PolicyTable",
    "PolicyWriter",
    "TenantTable",
    "TenantWriter",
    "tenant_path",
]

_SERVICE = "service"
_INTENTS = "intents.json"


def tenant_path(tenant_id: uuid.UUID) -> str:
    """Return where a tenant's document is."""
    return f"tenants/{tenant_id}.json"


class TenantTable:
    """Implements ``TenantDirectory``."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def get(self, tenant_id: uuid.UUID) -> Tenant | None:
        """Return a tenant by id."""
        return self._look(lambda view: view.read(tenant_path(tenant_id), _tenant(tenant_id)))

    def by_name(self, name: str) -> Tenant | None:
        """Return a tenant by name."""

        def owner(document: Mapping[str, Any]) -> uuid.UUID:
            if document["name"] != name:
                raise ValueError("this is the document of another name")
            return uuid.UUID(document["tenant"])

        tenant_id = self._look(lambda view: view.read(_name_path(name), owner))
        return None if tenant_id is None else self.get(tenant_id)

    def all(self) -> Sequence[Tenant]:
        """Return all tenants, by name."""
        found = [self.get(tenant_id) for tenant_id in self._look(_tenant_ids)]
        return sorted((t for t in found if t is not None), key=lambda tenant: tenant.name)


class TenantWriter(TenantTable):
    """Implements ``TenantDirectoryWriter``.

    Args:
        transaction: where documents are written.
        begin_log: makes the empty log of a new tenant, so that a log that is gone is noticed.
    """

    def __init__(self, transaction: Transaction, begin_log: Callable[[uuid.UUID], None]) -> None:
        super().__init__(lambda function: function(transaction))
        self._transaction = transaction
        self._begin_log = begin_log

    def insert(self, tenant: Tenant) -> None:
        """Add a tenant."""
        if self.by_name(tenant.name) is not None:
            raise StateConflict(f"a tenant named {tenant.name!r} exists", code="ERR_CONFLICT_001")
        if self.get(tenant.id) is not None:
            raise StoreUnavailable("a tenant id exists once")
        identity = {"name": tenant.name, "tenant": str(tenant.id)}
        self._transaction.write(_name_path(tenant.name), identity)
        self._transaction.write(f"keys/{tenant.id}/tenant.json", identity)
        self._begin_log(tenant.id)
        self._write(tenant)

    def replace(self, tenant: Tenant) -> None:
        """Overwrite plan, status and time."""
        if self.get(tenant.id) is not None:
            self._write(tenant)

    def _write(self, tenant: Tenant) -> None:
        self._transaction.write(
            tenant_path(tenant.id),
            {
                "tenant": str(tenant.id),
                "name": tenant.name,
                "plan": tenant.plan,
                "status": str(tenant.status),
                "created_at": rfc3339(tenant.created_at),
                "updated_at": rfc3339(tenant.updated_at),
            },
        )


def _name_path(name: str) -> str:
    return f"tenant-names/{component(name)}.json"


def _tenant_ids(view: View) -> list[uuid.UUID]:
    def decode(names: list[str]) -> list[uuid.UUID]:
        return [uuid.UUID(name.removesuffix(".json")) for name in names]

    return view.listing("tenants", decode)


def _tenant(tenant_id: uuid.UUID) -> Callable[[Mapping[str, Any]], Tenant]:
    def parse(document: Mapping[str, Any]) -> Tenant:
        if document["tenant"] != str(tenant_id):
            raise ValueError("this is the document of another tenant")
        return Tenant(
            tenant_id,
            str(document["name"]),
            document["plan"],
            TenantStatus(document["status"]),
            datetime.fromisoformat(document["created_at"]),
            datetime.fromisoformat(document["updated_at"]),
        )

    return parse


class PolicyTable:
    """Implements ``PolicyRecords``."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def get(self, tenant_id: uuid.UUID | None) -> PolicyDocument | None:
        """Return the current document."""

        def last(view: View) -> PolicyDocument | None:
            names = view.names(_policies(tenant_id))
            return _policy(view, tenant_id, names[-1]) if names else None

        return self._look(last)

    def revision(self, tenant_id: uuid.UUID | None, number: int) -> PolicyDocument | None:
        """Return one revision of a document."""
        return self._look(lambda view: _policy(view, tenant_id, _revision_name(number)))


class PolicyWriter(PolicyTable):
    """Implements ``PolicyRecordsWriter``."""

    def __init__(self, transaction: Transaction) -> None:
        super().__init__(lambda function: function(transaction))
        self._transaction = transaction

    def insert(self, document: PolicyDocument) -> None:
        """Add the next revision."""
        current = self.get(document.tenant_id)
        if current is not None and current.revision >= document.revision:
            raise StoreUnavailable("a policy revision exists once")
        owner = _owner(document.tenant_id)
        self._transaction.write(
            f"{_policies(document.tenant_id)}/{_revision_name(document.revision)}",
            {"tenant": owner, "revision": document.revision, "rules": document.rules},
        )


def _policy(view: View, tenant_id: uuid.UUID | None, name: str) -> PolicyDocument | None:
    def parse(document: Mapping[str, Any]) -> PolicyDocument:
        found = PolicyDocument(tenant_id, int(document["revision"]), str(document["rules"]))
        if (document["tenant"], _revision_name(found.revision)) != (_owner(tenant_id), name):
            raise ValueError("this is another document")
        return found

    return view.read(f"{_policies(tenant_id)}/{name}", parse)


def _policies(tenant_id: uuid.UUID | None) -> str:
    return f"policies/{_owner(tenant_id)}"


def _revision_name(number: int) -> str:
    return f"{number:010d}.json"


def _owner(tenant_id: uuid.UUID | None) -> str:
    return _SERVICE if tenant_id is None else str(tenant_id)


class IntentTable:
    """Implements ``IntentRecords``."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def all(self) -> Sequence[Intent]:
        """Return all intents."""
        return self._look(lambda view: view.read(_INTENTS, _intents)) or ()


class IntentWriter(IntentTable):
    """Implements ``IntentRecordsWriter``."""

    def __init__(self, transaction: Transaction) -> None:
        super().__init__(lambda function: function(transaction))
        self._transaction = transaction

    def add(self, intent: Intent) -> None:
        """Add an intent."""
        self._write([*self.all(), intent])

    def remove(self, intent_id: uuid.UUID) -> None:
        """Remove an intent, if it is there."""
        self._write([intent for intent in self.all() if intent.id != intent_id])

    def _write(self, intents: Sequence[Intent]) -> None:
        rows = [
            {"id": str(i.id), "entries": [[str(tenant), seq] for tenant, seq in i.entries]}
            for i in intents
        ]
        self._transaction.write(_INTENTS, {"intents": rows})


def _intents(document: Mapping[str, Any]) -> tuple[Intent, ...]:
    return tuple(
        Intent(
            uuid.UUID(row["id"]),
            tuple((uuid.UUID(tenant), int(seq)) for tenant, seq in row["entries"]),
        )
        for row in document["intents"]
    )
