# SPDX-License-Identifier: Apache-2.0
"""The interfaces that backends, protectors, policy engines and primitives implement.

A *store* persists. It offers reading through four narrow protocols and writing only inside
:meth:`Store.commit`, so that an effect and its audit entry are one transaction by construction.
Every method that reads or writes tenant data takes the tenant and scopes its query by it.
"""

from qpher_core.protocols.audit import AuditLog
from qpher_core.protocols.keys import KeyProtector, KeyStore, PreparedKey
from qpher_core.protocols.policy import PolicyEngine
from qpher_core.protocols.primitives import (
    DecapsulationKey,
    EncapsulationKey,
    KemScheme,
    Primitives,
    SignatureScheme,
    SigningKey,
    VerificationKey,
)
from qpher_core.protocols.records import (
    AnchorRecords,
    AnchorRecordsWriter,
    ApiKeyRecords,
    ApiKeyRecordsWriter,
    AuditRecords,
    AuditRecordsWriter,
    IdempotencyRecords,
    IdempotencyRecordsWriter,
    IntentRecords,
    IntentRecordsWriter,
    KeyRecords,
    KeyRecordsWriter,
    PolicyRecords,
    PolicyRecordsWriter,
    TenantDirectory,
    TenantDirectoryWriter,
)
from qpher_core.protocols.store import Mark, Participant, ParticipantWriter, Store, StoreWriter

__all__ = [
    "AnchorRecords",
    "AnchorRecordsWriter",
    "ApiKeyRecords",
    "ApiKeyRecordsWriter",
    "AuditLog",
    "AuditRecords",
    "AuditRecordsWriter",
    "DecapsulationKey",
    "EncapsulationKey",
    "IdempotencyRecords",
    "IdempotencyRecordsWriter",
    "IntentRecords",
    "IntentRecordsWriter",
    "KemScheme",
    "KeyProtector",
    "KeyRecords",
    "KeyRecordsWriter",
    "KeyStore",
    "Mark",
    "Participant",
    "ParticipantWriter",
    "PolicyEngine",
    "PolicyRecords",
    "PolicyRecordsWriter",
    "PreparedKey",
    "Primitives",
    "SignatureScheme",
    "SigningKey",
    "Store",
    "StoreWriter",
    "TenantDirectory",
    "TenantDirectoryWriter",
    "VerificationKey",
]
