# SPDX-License-Identifier: Apache-2.0
"""Names, receipts and keys as answers write them."""

from typing import Protocol, TypedDict

from qpher_core.algorithms import ALGORITHMS
from qpher_core.asgi.models import ReceiptInfo
from qpher_core.asgi.models_keys import KeyInfo
from qpher_core.models import KeyVersion, Receipt, optional_rfc3339, rfc3339

__all__ = ["common", "key_info", "wire"]


def wire(algorithm: str) -> str:
    """Return the name that the Qpher API uses for an algorithm."""
    return ALGORITHMS[algorithm].wire_name


class _Common(TypedDict):
    key_version: int
    algorithm: str
    receipt: ReceiptInfo


class _Result(Protocol):
    @property
    def key_version(self) -> int: ...
    @property
    def algorithm(self) -> str: ...
    @property
    def receipt(self) -> Receipt: ...


def _receipt_info(receipt: Receipt) -> ReceiptInfo:
    """Return a receipt as answers have it."""
    return ReceiptInfo(receipt.seq, receipt.hash.hex())


def common(done: _Result) -> _Common:
    """Return what every answer of an operation on a key has."""
    return {
        "key_version": done.key_version,
        "algorithm": wire(done.algorithm),
        "receipt": _receipt_info(done.receipt),
    }


def key_info(key: KeyVersion) -> KeyInfo:
    """Return the public side of a key version as answers have it."""
    return KeyInfo(
        key.version,
        wire(key.algorithm),
        key.status,
        key.public_key,
        rfc3339(key.created_at),
        key.name,
        rfc3339(key.changed_at),
        key.reason,
        key.revision,
        optional_rfc3339(key.compromised_at),
        None if key.receipt is None else _receipt_info(key.receipt),
    )
