# SPDX-License-Identifier: Apache-2.0
"""Post-quantum key infrastructure: versioned keys, sealed storage, policy, audit.

>>> import qpher_core
>>> with qpher_core.open("memory:") as kms:
...     tenant = kms.tenants.create("acme")
...     acme = kms.session("acme", actor="billing-service")
...     key = acme.keys.generate("ML-KEM-768")
...     box = acme.kem.encrypt(b"a message", context={"table": "patients"})
...     acme.kem.decrypt(box.ciphertext, box.key_version, context={"table": "patients"}).plaintext
b'a message'
"""

import importlib
from typing import TYPE_CHECKING

from qpher_core.algorithms import ALGORITHMS, Algorithm
from qpher_core.audit.anchors import AnchorSettings
from qpher_core.audit.problems import AuditIntegrityError, Problem
from qpher_core.audit.proof import VerifiedEntry, verify_inclusion, verify_proof
from qpher_core.audit.records import StoredAnchor
from qpher_core.audit.retention import Segment
from qpher_core.audit.segments import prove_from_export, verify_exports
from qpher_core.audit.selection import EntryFilter, EntryPage
from qpher_core.audit.verifier import ExportReport, verify_export
from qpher_core.audit.vkey import VerifierKey
from qpher_core.audit.witness import Witness
from qpher_core.encrypted_reader import EncryptedFile
from qpher_core.envelopes import EncryptedEnvelope
from qpher_core.errors import (
    AlgorithmUnavailable,
    AuditUnavailable,
    AuthenticationError,
    DecryptionFailed,
    IntegrityError,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    PolicyUnavailable,
    ProtectorUnavailable,
    QpherError,
    RateLimited,
    StateConflict,
    StoreUnavailable,
    Unavailable,
    ValidationError,
)
from qpher_core.fields import Field
from qpher_core.importing import wrap_private_key
from qpher_core.key_evidence import KeyEvidence, KeyStillNeeded
from qpher_core.key_usage import KeyUse
from qpher_core.lifecycle import KeyState
from qpher_core.migration.report import Failure, MigrationProgress, MigrationReport
from qpher_core.migration.sql import SqlColumn
from qpher_core.models import (
    AuditEntry,
    AuditReport,
    Decision,
    ImportParameters,
    KeyRef,
    KeyVersion,
    PolicyDocument,
    PolicyRequest,
    ProtectorStatus,
    Receipt,
    RewrapReport,
    Tenant,
    TenantStatus,
)
from qpher_core.opening import open  # noqa: A004 - qpher_core.open() reads right
from qpher_core.protocols import AuditLog, KeyProtector, KeyStore, PolicyEngine, Primitives, Store
from qpher_core.public_files import decrypt_file, encrypt_file
from qpher_core.recipients import KeyRecipient, PublicKeyRecipient
from qpher_core.remote import RemoteService, RemoteSettings
from qpher_core.resigning import ResignResult
from qpher_core.service import Qpher
from qpher_core.service_maintenance import Due, MaintenanceReport, ScheduledKey, UnreadTenant
from qpher_core.session import Session
from qpher_core.signed_files import FileSignature, verify_file

if TYPE_CHECKING:
    from qpher_core.aio import AsyncField, AsyncQpher, AsyncRemoteService, AsyncSession

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "AlgorithmUnavailable",
    "AnchorSettings",
    "AsyncField",
    "AsyncQpher",
    "AsyncRemoteService",
    "AsyncSession",
    "AuditEntry",
    "AuditIntegrityError",
    "AuditLog",
    "AuditReport",
    "AuditUnavailable",
    "AuthenticationError",
    "Decision",
    "DecryptionFailed",
    "Due",
    "EncryptedEnvelope",
    "EncryptedFile",
    "EntryFilter",
    "EntryPage",
    "ExportReport",
    "Failure",
    "Field",
    "FileSignature",
    "ImportParameters",
    "IntegrityError",
    "KeyEvidence",
    "KeyProtector",
    "KeyRecipient",
    "KeyRef",
    "KeyState",
    "KeyStillNeeded",
    "KeyStore",
    "KeyUse",
    "KeyVersion",
    "MaintenanceReport",
    "MigrationProgress",
    "MigrationReport",
    "NotFound",
    "OutcomeUnknown",
    "PermissionDenied",
    "PolicyDocument",
    "PolicyEngine",
    "PolicyRequest",
    "PolicyUnavailable",
    "Primitives",
    "Problem",
    "ProtectorStatus",
    "ProtectorUnavailable",
    "PublicKeyRecipient",
    "Qpher",
    "QpherError",
    "RateLimited",
    "Receipt",
    "RemoteService",
    "RemoteSettings",
    "ResignResult",
    "RewrapReport",
    "ScheduledKey",
    "Segment",
    "Session",
    "SqlColumn",
    "StateConflict",
    "Store",
    "StoreUnavailable",
    "StoredAnchor",
    "Tenant",
    "TenantStatus",
    "Unavailable",
    "UnreadTenant",
    "ValidationError",
    "VerifiedEntry",
    "VerifierKey",
    "Witness",
    "decrypt_file",
    "encrypt_file",
    "open",
    "prove_from_export",
    "verify_export",
    "verify_exports",
    "verify_file",
    "verify_inclusion",
    "verify_proof",
    "wrap_private_key",
]

#: Names that load asyncio, 6 MB, and do so when they are used.
_OF_AIO = ("AsyncField", "AsyncQpher", "AsyncRemoteService", "AsyncSession")

if not TYPE_CHECKING:  # for a checker it would be an answer to every name

    def __getattr__(name: str) -> object:
        if name not in _OF_AIO:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module("qpher_core.aio"), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *_OF_AIO})
