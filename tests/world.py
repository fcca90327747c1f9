# SPDX-License-Identifier: Apache-2.0
"""A tenant that has one of everything, and one call of every operation on it."""

import io
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from attrs import evolve, frozen

from qpher_core.field_values import FieldValue
from qpher_core.importing import wrap_private_key
from qpher_core.models import AuditEntry, KeyRecord, PolicyDocument, Receipt, Tenant
from qpher_core.operations import OPERATIONS, Recording
from qpher_core.service import Qpher
from qpher_core.session import Session

__all__ = [
    "CALLS",
    "KEM",
    "RECORDED",
    "SIGNATURE",
    "Goods",
    "Snapshot",
    "audit_of",
    "last_entry",
    "make_goods",
    "snapshot",
]

KEM: Final = "ML-KEM-768"
SIGNATURE: Final = "ML-DSA-44"
SYMMETRIC_KEY: Final = bytes(range(100, 132))


@frozen
class Goods:
    """What a tenant owns, under key names that begin with ``prefix``."""

    prefix: str
    ciphertext: bytes
    kem_ciphertext: bytes
    wrapped_key: bytes
    file: bytes
    value: bytes
    signature: bytes
    hash_signature: bytes
    receipt: Receipt
    brought: bytes  # a private key that is wrapped for a key of this name

    def named(self, prefix: str) -> "Goods":
        """Return the same goods under other key names."""
        return evolve(self, prefix=prefix)


def make_goods(session: Session, prefix: str = "k-") -> Goods:
    """Give a tenant one key for every state, and something of every operation."""
    keys = session.keys
    for name in ("main", "suspend", "suspended", "retire", "retired", "archived", "lost", "turn"):
        keys.generate(KEM, name=prefix + name)
    keys.generate(SIGNATURE, name=prefix + "main")
    keys.suspend(KEM, 1, name=prefix + "suspended")
    for name in ("retired", "archived"):
        keys.retire(KEM, 1, name=prefix + name)
    keys.archive(KEM, 1, name=prefix + "archived")
    main = prefix + "main"
    target = io.BytesIO()
    session.kem.encrypt_file(io.BytesIO(b"a file"), target, name=main)
    signed = session.signatures.sign(b"signed", algorithm=SIGNATURE, name=main)
    return Goods(
        prefix,
        session.kem.encrypt(b"a message", name=main).ciphertext,
        session.kem.encapsulate(name=main).kem_ciphertext,
        session.kem.wrap(SYMMETRIC_KEY, name=main).wrapped_key,
        target.getvalue(),
        session.kem.field(name=main).encrypt("a value"),
        signed.signature,
        session.signatures.sign_hash(
            bytes(32), "SHA-256", algorithm=SIGNATURE, name=main
        ).signature,
        signed.receipt,
        wrap_private_key(
            session.keys.import_parameters(), bytes(64), algorithm=KEM, name=prefix + "brought"
        ),
    )


def _transition(action: str, key: str) -> Callable[[Session, Goods], object]:
    return lambda s, g: getattr(s.keys, action)(KEM, 1, name=g.prefix + key)


#: One call of every operation of a session. On fresh goods, and in this order, all succeed.
CALLS: Final[Mapping[str, Callable[[Session, Goods], object]]] = MappingProxyType(
    {
        "keys.get": lambda s, g: s.keys.get(KEM, 1, name=g.prefix + "main"),
        "keys.list": lambda s, g: s.keys.list(KEM, name=g.prefix + "main"),
        "audit.read": lambda s, g: s.audit.entry(g.receipt),
        "audit.proof": lambda s, g: s.audit.proof(g.receipt),
        "audit.verify": lambda s, _: s.audit.verify(),
        "usage.read": lambda s, _: s.usage.current(),
        "kem.encrypt": lambda s, g: s.kem.encrypt(b"a", name=g.prefix + "main"),
        "kem.decrypt": lambda s, g: s.kem.decrypt(g.ciphertext, 1, name=g.prefix + "main"),
        "kem.encapsulate": lambda s, g: s.kem.encapsulate(name=g.prefix + "main"),
        "kem.decapsulate": lambda s, g: s.kem.decapsulate(
            g.kem_ciphertext, 1, name=g.prefix + "main"
        ),
        "kem.wrap": lambda s, g: s.kem.wrap(bytes(16), name=g.prefix + "main"),
        "kem.unwrap": lambda s, g: s.kem.unwrap(g.wrapped_key, 1, name=g.prefix + "main"),
        "kem.encrypt_file": lambda s, g: s.kem.encrypt_file(
            io.BytesIO(b"b"), io.BytesIO(), name=g.prefix + "main"
        ),
        "kem.decrypt_file": lambda s, g: s.kem.decrypt_file(
            io.BytesIO(g.file), io.BytesIO(), 1, name=g.prefix + "main"
        ),
        "kem.encrypt_field": lambda s, g: s.kem.field(name=g.prefix + "main").encrypt("d"),
        "kem.decrypt_field": lambda s, g: s.kem.unwrap_field_keys(
            [FieldValue.from_bytes(g.value).wrapped_key], 1, name=g.prefix + "main"
        ),
        "signatures.sign": lambda s, g: s.signatures.sign(
            b"c", algorithm=SIGNATURE, name=g.prefix + "main"
        ),
        "signatures.verify": lambda s, g: s.signatures.verify(
            b"signed", g.signature, 1, SIGNATURE, name=g.prefix + "main"
        ),
        "signatures.sign_hash": lambda s, g: s.signatures.sign_hash(
            bytes(32), "SHA-256", algorithm=SIGNATURE, name=g.prefix + "main"
        ),
        "signatures.verify_hash": lambda s, g: s.signatures.verify_hash(
            bytes(32), "SHA-256", g.hash_signature, 1, SIGNATURE, name=g.prefix + "main"
        ),
        "keys.generate": lambda s, g: s.keys.generate(KEM, name=g.prefix + "new"),
        "keys.import": lambda s, g: s.keys.import_key(KEM, g.brought, name=g.prefix + "brought"),
        "keys.import_parameters": lambda s, _: s.keys.import_parameters(),
        "keys.rotate": lambda s, g: s.keys.rotate(KEM, name=g.prefix + "turn"),
        "keys.suspend": _transition("suspend", "suspend"),
        "keys.resume": _transition("resume", "suspended"),
        "keys.retire": _transition("retire", "retire"),
        "keys.archive": _transition("archive", "retired"),
        "keys.restore": _transition("restore", "archived"),
        "keys.compromise": _transition("compromise", "lost"),
        "keys.destroy": lambda s, g: (
            s.keys.compromise(KEM, 1, name=g.prefix + "turn"),
            s.keys.destroy(KEM, 1, name=g.prefix + "turn"),
        ),
    }
)

#: Those of them that leave an entry when they succeed.
RECORDED: Final = tuple(a for a in CALLS if OPERATIONS[a].recording is Recording.ALWAYS)


@frozen
class Snapshot:
    """All that a store holds of one tenant."""

    tenants: tuple[Tenant, ...]
    keys: tuple[KeyRecord, ...]
    policies: tuple[PolicyDocument | None, ...]
    entries: tuple[AuditEntry, ...]
    head: tuple[int, bytes]


def snapshot(kms: Qpher, tenant: str = "acme") -> Snapshot:
    """Return all that the store of a service holds of one tenant, past every check."""
    store = kms._store
    found = store.tenants.by_name(tenant)
    assert found is not None
    return Snapshot(
        tuple(store.tenants.all()),
        tuple(store.keys.find(found.id)),
        (store.policies.get(None), store.policies.get(found.id)),
        tuple(store.audit.read(found.id)),
        store.audit.head(found.id),
    )


def audit_of(taken: Snapshot) -> list[tuple[str, str, str]]:
    """Return (action, outcome, reason) of all entries of a snapshot."""
    return [(f["action"], f["outcome"], f["reason"]) for f in (e.fields for e in taken.entries)]


def last_entry(kms: Qpher, tenant: str = "acme") -> tuple[str, str, str]:
    """Return (action, outcome, reason) of a tenant's last entry."""
    return audit_of(snapshot(kms, tenant))[-1]
