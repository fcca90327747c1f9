# SPDX-License-Identifier: Apache-2.0
"""Every endpoint that needs an API key, most frequent first: routes are tried in this order."""

from typing import Final

from qpher_core.asgi import (
    routes_api_keys,
    routes_audit,
    routes_batch,
    routes_fields,
    routes_kem,
    routes_keys,
    routes_policies,
    routes_signatures,
    routes_tenants,
    routes_upkeep,
)
from qpher_core.asgi.endpoint import Endpoint

__all__ = ["BASE", "ENDPOINTS"]

BASE: Final = "/api/v1"

_BY_SUBJECT: Final[tuple[Endpoint, ...]] = (
    *routes_signatures.ENDPOINTS,
    *routes_kem.ENDPOINTS,
    *routes_keys.ENDPOINTS,
    *routes_batch.ENDPOINTS,
    *routes_fields.ENDPOINTS,
    *routes_audit.ENDPOINTS,
    *routes_policies.ENDPOINTS,
    *routes_tenants.ENDPOINTS,
    *routes_api_keys.ENDPOINTS,
    *routes_upkeep.ENDPOINTS,
)

#: As they are tried: those for administrators last.
ENDPOINTS: Final = tuple(sorted(_BY_SUBJECT, key=lambda endpoint: endpoint.administrative))
