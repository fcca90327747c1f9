# SPDX-License-Identifier: Apache-2.0
"""What the JSON document and the CBOM say, against the store that they are about."""

import json
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import qpher_core
from qpher_core.report import Facts, as_document, cbom, collect
from qpher_core.report.attention import Level, attention
from qpher_core.report.dates import MILESTONES


@pytest.fixture(scope="module")
def document(facts: Facts) -> dict[str, Any]:
    """Return the document, as a reader of its JSON has it."""
    parsed: dict[str, Any] = json.loads(json.dumps(as_document(facts)))
    return parsed


def test_every_key_version_is_counted_once(document: dict[str, Any]) -> None:
    """By algorithm and state, and those in use by age."""
    assert len(document["keys"]) == 10
    assert document["by_algorithm"]["ML-KEM-768"] == {
        "active": 0,
        "suspended": 1,
        "retired": 1,
        "compromised": 1,
        "archived": 1,
        "destroyed": 1,
    }
    assert sum(sum(row.values()) for row in document["by_algorithm"].values()) == 10
    assert document["by_age"] == {
        "under 30 days": 0,
        "30 to 90 days": 0,
        "90 to 180 days": 5,
        "180 days to 1 year": 0,
        "1 to 2 years": 0,
        "over 2 years": 0,
    }


def test_profiles_name_the_keys_outside(document: dict[str, Any]) -> None:
    """Only what protects new data decides on conformance; destroyed keys are not named."""
    outside = document["profiles"]["fips"]["outside"]
    assert {key["algorithm"] for key in outside} == {"X-Wing", "MLDSA65-ECDSA-P256"}
    assert document["profiles"]["fips"]["conforms"] is False
    states = [key["state"] for key in document["profiles"]["cnsa2"]["outside"]]
    assert states[:3] == ["active", "active", "active"]
    assert "destroyed" not in states


@pytest.mark.parametrize("profile", sorted(MILESTONES))
def test_dates_are_in_order_and_have_a_source(profile: str, document: dict[str, Any]) -> None:
    """Each says how far away it is from the day of the report."""
    dates = document["profiles"][profile]["dates"]
    assert [entry["date"] for entry in dates] == sorted(entry["date"] for entry in dates)
    assert all(entry["source"] and entry["what"] for entry in dates)


def test_audit_and_rotation_are_told(document: dict[str, Any]) -> None:
    """The anchored log has its anchor; the key with a rule has a date."""
    acme, hostile = document["audit"]
    assert (acme["sound"], hostile["sound"]) == (True, True)
    assert acme["unanchored"] == 0
    assert hostile["anchor"] is None
    assert [key["algorithm"] for key in document["rotation"]] == ["ML-DSA-87"]


def test_what_is_wrong_comes_first(facts: Facts) -> None:
    """The compromised key leads the list, and each point says what to do."""
    points = attention(facts)
    assert points[0].level is Level.BAD
    assert "compromised" in points[0].text
    assert all(point.advice for point in points)


def test_a_suspended_tenant_does_not_stop_the_report() -> None:
    """Its log is verified, its keys are left out, and the report says so."""
    with qpher_core.open("memory:") as kms:
        for name in ("acme", "beta"):
            kms.tenants.create(name)
            kms.session(name, actor="tester").keys.generate("ML-KEM-768")
        kms.tenants.suspend("beta")
        found = collect(kms, kms.tenants.list(), store="memory:", provider="p", actor="tester")
        entries = kms.audit.verify("beta").entries
    told = as_document(found)
    assert [key["tenant"] for key in told["keys"]] == ["acme"]
    assert [(row["keys_known"], row["sound"]) for row in told["audit"]] == [
        (True, True),
        (False, True),
    ]
    assert told["audit"][1]["entries"] == entries == 3  # asking left no refusal in the log
    assert any("beta is suspended" in point.text for point in attention(found))


def test_the_cbom_is_valid_cyclonedx(facts: Facts) -> None:
    """The schema of CycloneDX 1.7 accepts it, and every reference leads somewhere."""
    document = cbom(facts)
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(json.dumps(document)) is None
    refs = [component["bom-ref"] for component in document["components"]]
    assert len(refs) == len(set(refs))
    used = {ref for row in document["dependencies"] for ref in row["dependsOn"]}
    assert used <= set(refs)


def test_the_cbom_has_every_key_and_no_private_one(facts: Facts) -> None:
    """States are those of CycloneDX; keys are described, never contained."""
    keys = [
        component["cryptoProperties"]["relatedCryptoMaterialProperties"]
        for component in cbom(facts)["components"]
        if component["cryptoProperties"]["assetType"] == "related-crypto-material"
    ]
    assert len(keys) == 10
    assert all("value" not in key for key in keys)
    assert sorted({key["state"] for key in keys}) == [
        "active",
        "compromised",
        "deactivated",
        "destroyed",
        "suspended",
    ]
