# SPDX-License-Identifier: Apache-2.0
"""One request for every endpoint, which succeeds on a service that :func:`prepare` has made."""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from qpher_core.asgi.endpoint import Endpoint
from qpher_core.asgi.table import ENDPOINTS
from qpher_core.importing import wrap_private_key
from qpher_core.service import Qpher

__all__ = ["Sample", "Samples", "prepare"]

KEM: Final = "Kyber768"
SIGNATURE: Final = "ML-DSA-44"
DIGEST: Final = hashlib.sha256(b"x").digest()

#: What leads from a fresh key to one that the transition takes.
_BEFORE: Final[Mapping[str, tuple[str, ...]]] = {
    "retire": (),
    "suspend": (),
    "compromise": (),
    "resume": ("suspend",),
    "archive": ("retire",),
    "restore": ("retire", "archive"),
    "destroy": ("compromise",),
}


def b64(data: bytes) -> str:
    """Return base64."""
    return base64.b64encode(data).decode()


@frozen
class Sample:
    """A request: path with its parameters filled in, query, body."""

    path: str
    query: Mapping[str, Any]
    body: Any


class Samples:
    """Requests by (method, path of the endpoint)."""

    def __init__(self, kms: Qpher, tenant: str) -> None:
        self._tenant_id = str(kms.tenants.get(tenant).id)
        self._session = kms.session(tenant, actor="samples")
        self._bodies = self._make_bodies()
        self._paths = self._make_paths(kms, tenant)

    def of(self, endpoint: Endpoint) -> Sample:
        """Return the request of an endpoint."""
        values = {"tenant_id": self._tenant_id, "seq": 0, "key_version": 1}
        values |= self._paths.get((endpoint.method, endpoint.path), {})
        path = endpoint.path.format(**values)
        query = {"algorithm": KEM} if endpoint.path in _WITH_ALGORITHM else {}
        body = self._bodies.get((endpoint.method, endpoint.path))
        assert (body is None) == (endpoint.body is None), endpoint.path
        return Sample(path, query, body)

    def _make_bodies(self) -> dict[tuple[str, str], Any]:
        keys, kem, signatures = self._session.keys, self._session.kem, self._session.signatures
        for algorithm in (KEM, SIGNATURE):
            keys.generate(algorithm)
        used = {"key_version": 1}
        signs = {**used, "algorithm": SIGNATURE}
        box = b64(kem.encrypt(b"text").ciphertext)
        sent = b64(kem.encapsulate().kem_ciphertext)
        wrapped = {"wrapped_key": b64(kem.wrap(bytes(32)).wrapped_key), **used}
        recipient = b64(kem.wrap_file_key(bytes(32)).wrapped_key)
        field_keys = kem.wrap_field_keys([bytes(32)] * 2).wrapped_keys
        wrapped_keys = [b64(key) for key in field_keys]
        signature = b64(signatures.sign(b"x", algorithm=SIGNATURE).signature)
        hashed = b64(signatures.sign_hash(DIGEST, "SHA-256", algorithm=SIGNATURE).signature)
        digest = {"hash": b64(DIGEST), "hash_algorithm": "SHA-256", **signs}
        message = b64(b"x")
        brought = b64(
            wrap_private_key(keys.import_parameters(), bytes(64), algorithm=KEM, name="brought")
        )
        bodies: dict[str, Any] = {
            "/signature/sign": {"message": message, **signs},
            "/signature/verify": {"message": message, "signature": signature, **signs},
            "/signature/sign-hash": digest,
            "/signature/verify-hash": {"signature": hashed, **digest},
            "/kem/encrypt": {"plaintext": message, **used},
            "/kem/decrypt": {"ciphertext": box, **used},
            "/kem/encapsulate": used,
            "/kem/decapsulate": {"kem_ciphertext": sent, **used},
            "/kem/rewrap": wrapped,
            "/kem/file-key/wrap": {"file_key": b64(bytes(32)), **used},
            "/kem/file-key/unwrap": {"recipients": [recipient], **used},
            "/kem/field-keys/wrap": {"field_keys": [b64(bytes(32))] * 2, **used},
            "/kem/field-keys/unwrap": {"wrapped_keys": wrapped_keys, **used},
            "/batch/sign": {"messages": [message] * 2, **signs},
            "/batch/verify": {"pairs": [{"message": message, "signature": signature}], **signs},
            "/batch/encrypt": {"plaintexts": [message] * 2, **used},
            "/batch/decrypt": {"ciphertexts": [box] * 2, **used},
            "/batch/encapsulate": {"count": 2, **used},
            "/batch/decapsulate": {"kem_ciphertexts": [sent] * 2, **used},
            "/kms/keys/generate": {"algorithm": KEM, "name": "generated"},
            "/kms/keys/import": {"algorithm": KEM, "name": "brought", "wrapped": brought},
            "/kms/keys/rotate": {"algorithm": KEM, "name": "rotate"},
            "/policies/decide": {
                "action": "kem.encrypt",
                "actor": "clerk",
                "time": "2026-01-31T23:59:59Z",
            },
            "/tenants": {"name": "one more"},
            "/admin/tenants": {"name": "yet one more", "plan": "pro"},
            "/tenants/{tenant_id}/api-keys": {"name": "made"},
            "/admin/tenants/{tenant_id}/api-keys": {"name": "made by admin"},
            "/tenants/{tenant_id}/api-keys/rotate": {"name": "first"},
            "/admin/tenants/{tenant_id}/api-keys/rotate": {"name": "second"},
            "/admin/tenants/{tenant_id}/api-keys/{key_id}/rotate": {"overlap_seconds": 60},
            "/admin/tenants/{tenant_id}/policy/explain": {"action": "kem.encrypt"},
            "/admin/maintenance": {"dry_run": False},
        }
        for path in ("/kem/wrap", "/kem/key/wrap"):
            bodies[path] = {"symmetric_key": b64(bytes(32)), **used}
        for path in ("/kem/unwrap", "/kem/key/unwrap"):
            bodies[path] = wrapped
        keys.generate(KEM, name="rotate")
        for action, steps in _BEFORE.items():
            keys.generate(KEM, name=action)
            for step in steps:
                getattr(keys, step)(KEM, 1, name=action)
            bodies[f"/kms/keys/{action}"] = {"algorithm": KEM, "name": action, **used}
        found: dict[tuple[str, str], Any] = {("POST", path): b for path, b in bodies.items()}
        found["PATCH", "/admin/tenants/{tenant_id}"] = {"plan": "enterprise"}
        found["PUT", "/admin/tenants/{tenant_id}/policy"] = {"rules": '[{"rule": "plan"}]'}
        return found

    @staticmethod
    def _make_paths(kms: Qpher, tenant: str) -> dict[tuple[str, str], dict[str, Any]]:
        for name in ("first", "second"):
            kms.api_keys.create(tenant, name=name)
        base = "/admin/tenants/{tenant_id}/api-keys/{key_id}"
        return {
            ("POST", f"{base}/{action}"): {"key_id": kms.api_keys.create(tenant, name=action)[0].id}
            for action in ("rotate", "revoke")
        }


_WITH_ALGORITHM: Final = {
    "/kms/keys/active",
    "/kms/keys/{key_version}",
    "/kms/keys/{key_version}/public",
}


def prepare(kms: Qpher, tenant: str) -> dict[tuple[str, str], Sample]:
    """Give a tenant what the requests need, and return them by (method, path)."""
    samples = Samples(kms, tenant)
    kms.policies.set('[{"rule": "plan"}]', tenant=tenant)
    kms.anchors.publish(kms.tenants.get(tenant))
    return {(e.method, e.path): samples.of(e) for e in ENDPOINTS}
