# SPDX-License-Identifier: Apache-2.0
"""A store with keys in every state, and its facts."""

from datetime import timedelta

import pytest
from attrs import evolve

import qpher_core
from qpher_core.report import Facts, collect

HOSTILE = "<img src=x>&'\"`"


@pytest.fixture(scope="session")
def facts() -> Facts:
    """Return the facts of a store, as they are 100 days after its keys were made."""
    with qpher_core.open("memory:") as kms:
        acme, hostile = kms.tenants.create("acme"), kms.tenants.create(HOSTILE)
        kms.policies.schedule("ML-DSA-87", tenant="acme", max_age_days=90)
        session = kms.session("acme", actor="tester")
        for algorithm in ("ML-KEM-1024", "ML-DSA-87", "X-Wing", "MLDSA65-ECDSA-P256"):
            session.keys.generate(algorithm)
        for _ in range(5):
            session.keys.generate("ML-KEM-768")
        session.keys.archive("ML-KEM-768", 1)
        session.keys.archive("ML-KEM-768", 2)
        session.keys.destroy("ML-KEM-768", 2)
        session.keys.compromise("ML-KEM-768", 3)
        session.keys.suspend("ML-KEM-768", 5)
        kms.session(hostile.id, actor="tester").keys.generate("ML-DSA-44", name=HOSTILE)
        kms.anchors.publish(acme)
        found = collect(kms, [acme, hostile], store="memory:", provider="native", actor="tester")
    return evolve(found, time=found.time + timedelta(days=100))
