# SPDX-License-Identifier: Apache-2.0
"""Value types: what they show, what they hide, that they do not change."""

import uuid
from datetime import UTC, datetime

import pytest
from attrs.exceptions import FrozenInstanceError

from qpher_core.audit.entry import EMPTY_HEAD
from qpher_core.models import AuditReport, KeyRef, Receipt, rfc3339
from qpher_core.results import DecryptResult, EncryptResult
from tests.records import new_record

TENANT = uuid.uuid4()
RECEIPT = Receipt(TENANT, 3, bytes(32))
COMMON = {"key_version": 1, "algorithm": "X-Wing", "request_id": "r", "receipt": RECEIPT}


def test_times_have_microseconds() -> None:
    """Times are UTC with exactly six digits of a second, also when they are zero."""
    assert rfc3339(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02T03:04:05.000000Z"
    assert rfc3339(datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)) == "2026-01-02T03:04:05.000678Z"


def test_a_key_reads_well() -> None:
    """A key reference names algorithm, name and version, in messages to people."""
    assert str(KeyRef(TENANT, "pay", "X-Wing", 2)) == "X-Wing key 'pay' version 2"


def test_a_key_version_has_the_published_names() -> None:
    """A key version offers its address and state under the names of the published interface."""
    key = new_record(TENANT, 4, name="pay").key
    assert (key.name, key.algorithm, key.version) == ("pay", "ML-KEM-768", 4)
    assert (key.key_version, key.status) == (4, "active")


def test_representations_are_short_and_hide_seeds() -> None:
    """Public keys and ciphertexts show their length; sealed seeds and plaintexts nothing."""
    record = new_record(TENANT)
    assert "<32 bytes>" in repr(record)
    assert "sealed" not in repr(record)
    box = EncryptResult(ciphertext=bytes(5000), **COMMON)
    assert "<5000 bytes>" in repr(box)
    assert len(repr(box)) < 500
    clear = DecryptResult(plaintext=b"canary", **COMMON)
    assert "canary" not in repr(clear)
    assert repr(RECEIPT).endswith("0" * 64 + ")")


@pytest.mark.parametrize("value", [RECEIPT, new_record(TENANT), new_record(TENANT).key])
def test_values_do_not_change(value: object) -> None:
    """Values are immutable."""
    with pytest.raises(FrozenInstanceError):
        value.tenant_id = uuid.uuid4()  # type: ignore[attr-defined]


def test_a_report_is_good_without_a_bad_entry() -> None:
    """A report is good when it names no bad entry; place 0 is a place."""
    assert AuditReport(TENANT, 0, None, "", EMPTY_HEAD).ok
    assert not AuditReport(TENANT, 0, 0, "the entry is missing", EMPTY_HEAD).ok
