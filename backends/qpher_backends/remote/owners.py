# SPDX-License-Identifier: Apache-2.0
"""Which tenant of a service elsewhere is meant by a name or id."""

import contextlib
import uuid

from qpher_backends.remote.answers import tenant_id_of, uuid_of
from qpher_backends.remote.link import Link
from qpher_core.errors import NotFound

__all__ = ["id_of", "own"]


def own(link: Link) -> tuple[str, uuid.UUID]:
    """Return name and id of the API key's tenant."""
    return link.call("GET", "/tenants/me", lambda a, _: (a.tenant_name, tenant_id_of(a)))


def id_of(link: Link, tenant: str | uuid.UUID) -> uuid.UUID:
    """Return the id of a tenant that is given by name or id.

    Raises:
        NotFound: there is none of that name.
        PermissionDenied: it is another's, and the API key may not ask for all of them.
    """
    with contextlib.suppress(ValueError):
        return uuid.UUID(str(tenant))
    name, own_id = own(link)
    if name == tenant:
        return own_id
    found = link.call(
        "GET", "/admin/tenants", lambda a, _: {t.name: uuid_of(t.id) for t in a.tenants}
    )
    if tenant not in found:
        raise NotFound("no such tenant", parameter="tenant")
    return found[tenant]
