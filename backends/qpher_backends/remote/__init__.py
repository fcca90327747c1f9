# SPDX-License-Identifier: Apache-2.0
"""Another qpher-core service, over its HTTP API (extra ``remote``; docs/remote.md)."""

from qpher_backends.remote.audit import RemoteAuditLog
from qpher_backends.remote.keystore import RemoteKeyStore
from qpher_backends.remote.policy import RemotePolicy
from qpher_backends.remote.service import Service, open_service

__all__ = ["RemoteAuditLog", "RemoteKeyStore", "RemotePolicy", "Service", "open_service"]
