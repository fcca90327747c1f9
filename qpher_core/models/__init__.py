# SPDX-License-Identifier: Apache-2.0
"""Value types: tenants, keys, audit entries, policy questions. All are immutable."""

from qpher_core.models.access import (
    BY_ITSELF,
    OPERATOR,
    ApiKey,
    ApiKeyRecord,
    IdempotencyRecord,
    RequestContext,
)
from qpher_core.models.audit import AuditEntry, AuditReport, Intent, Receipt
from qpher_core.models.encoding import (
    canonical_json,
    optional_moment,
    optional_rfc3339,
    rfc3339,
)
from qpher_core.models.imports import ImportParameters
from qpher_core.models.keys import KeyRecord, KeyRef, KeyVersion
from qpher_core.models.policy import Decision, PolicyDocument, PolicyRequest
from qpher_core.models.protector import ProtectorStatus, RewrapReport
from qpher_core.models.tenants import SERVICE, Tenant, TenantStatus

__all__ = [
    "BY_ITSELF",
    "OPERATOR",
    "SERVICE",
    "ApiKey",
    "ApiKeyRecord",
    "AuditEntry",
    "AuditReport",
    "Decision",
    "IdempotencyRecord",
    "ImportParameters",
    "Intent",
    "KeyRecord",
    "KeyRef",
    "KeyVersion",
    "PolicyDocument",
    "PolicyRequest",
    "ProtectorStatus",
    "Receipt",
    "RequestContext",
    "RewrapReport",
    "Tenant",
    "TenantStatus",
    "canonical_json",
    "optional_moment",
    "optional_rfc3339",
    "rfc3339",
]
