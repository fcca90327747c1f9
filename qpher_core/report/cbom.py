# SPDX-License-Identifier: Apache-2.0
"""The inventory as a CycloneDX 1.7 cryptography bill of materials (ECMA-424)."""

import hashlib
import re
import uuid
from typing import Any, Final

from qpher_core.algorithms import ALGORITHMS, Algorithm, Kind
from qpher_core.lifecycle import KeyState
from qpher_core.models import KeyVersion, Tenant, rfc3339
from qpher_core.report.facts import Facts

__all__ = ["cbom"]

_FUNCTIONS: Final = {
    Kind.KEM: ["keygen", "encapsulate", "decapsulate"],
    Kind.SIGNATURE: ["keygen", "sign", "verify"],
}

#: Our states in the words of CycloneDX, which are those of SP 800-57; an archived key is a
#: deactivated one that was put away.
_STATES: Final = {
    KeyState.ACTIVE: "active",
    KeyState.SUSPENDED: "suspended",
    KeyState.RETIRED: "deactivated",
    KeyState.COMPROMISED: "compromised",
    KeyState.ARCHIVED: "deactivated",
    KeyState.DESTROYED: "destroyed",
}

_FAMILY: Final = re.compile(r"(ML-KEM|ML-DSA|SLH-DSA)-(.+)")
_SEALING: Final = "crypto/algorithm/aes-256-gcm"


def cbom(facts: Facts) -> dict[str, Any]:
    """Return the bill of materials as a document of plain values.

    Every algorithm and every key version is a component; private keys are described, never
    contained. The serial number is new with each call.
    """
    algorithms = [ALGORITHMS[name] for name in facts.counts]
    keys = [_key(tenant, key) for tenant, key in facts.keys]
    used = {
        key["bom-ref"]: [_algorithm_ref(found.algorithm), _SEALING]
        for key, (_, found) in zip(keys, facts.keys, strict=True)
    }
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": rfc3339(facts.time),
            "component": {
                "type": "application",
                "bom-ref": "qpher-core",
                "name": "qpher-core",
                "version": facts.version,
            },
        },
        "components": [*map(_algorithm, algorithms), _sealing(), *keys],
        "dependencies": [
            {"ref": "qpher-core", "dependsOn": [*(_algorithm_ref(r.name) for r in algorithms)]},
            *({"ref": ref, "dependsOn": needs} for ref, needs in used.items()),
        ],
    }


def _algorithm(row: Algorithm) -> dict[str, Any]:
    family = _FAMILY.fullmatch(row.name)
    primitive = "combiner" if row.hybrid else str(row.kind)
    properties: dict[str, Any] = {"primitive": primitive}
    if family:
        properties |= {"algorithmFamily": family[1], "parameterSetIdentifier": family[2]}
    properties |= {
        "executionEnvironment": "software-plain-ram",
        "certificationLevel": ["none"],
        "cryptoFunctions": _FUNCTIONS[row.kind],
        "nistQuantumSecurityLevel": row.category,
    }
    crypto: dict[str, Any] = {"assetType": "algorithm", "algorithmProperties": properties}
    if row.oid is not None:
        crypto["oid"] = row.oid
    return {
        "type": "cryptographic-asset",
        "bom-ref": _algorithm_ref(row.name),
        "name": row.name,
        "description": row.source,
        "cryptoProperties": crypto,
    }


def _sealing() -> dict[str, Any]:
    """Return what private keys are sealed with at rest."""
    return {
        "type": "cryptographic-asset",
        "bom-ref": _SEALING,
        "name": "AES-256-GCM",
        "description": "NIST SP 800-38D; seals private keys at rest",
        "cryptoProperties": {
            "assetType": "algorithm",
            "algorithmProperties": {
                "primitive": "ae",
                "algorithmFamily": "AES",
                "parameterSetIdentifier": "256",
                "mode": "gcm",
                "executionEnvironment": "software-plain-ram",
                "certificationLevel": ["none"],
                "cryptoFunctions": ["keygen", "encrypt", "decrypt"],
                "nistQuantumSecurityLevel": 5,
            },
            "oid": "2.16.840.1.101.3.4.1.46",
        },
    }


def _key(tenant: Tenant, key: KeyVersion) -> dict[str, Any]:
    address = f"{tenant.id}/{key.name}/{key.algorithm}/{key.version}"
    return {
        "type": "cryptographic-asset",
        "bom-ref": f"crypto/key/{address}",
        "name": f"{tenant.name}: {key.ref}",
        "cryptoProperties": {
            "assetType": "related-crypto-material",
            "relatedCryptoMaterialProperties": {
                "type": "private-key",
                "id": address,
                "state": _STATES[key.state],
                "creationDate": rfc3339(key.created_at),
                "activationDate": rfc3339(key.created_at),
                "updateDate": rfc3339(key.changed_at),
                "size": ALGORITHMS[key.algorithm].seed_bytes * 8,
                "format": "seed",
                "securedBy": {"mechanism": "sealed record", "algorithmRef": _SEALING},
                "fingerprint": {
                    "alg": "SHA-256",
                    "content": hashlib.sha256(key.public_key).hexdigest(),
                },
                "relatedCryptographicAssets": [
                    {"type": "algorithm", "ref": _algorithm_ref(key.algorithm)}
                ],
            },
        },
        "properties": [
            {"name": "qpher:state", "value": str(key.state)},
            {"name": "qpher:fingerprint-of", "value": "public key"},
        ],
    }


def _algorithm_ref(name: str) -> str:
    return f"crypto/algorithm/{name.lower()}"
