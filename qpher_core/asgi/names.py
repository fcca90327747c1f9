# SPDX-License-Identifier: Apache-2.0
"""Names and times as answers write them."""

from datetime import datetime

from qpher_core.algorithms import ALGORITHMS
from qpher_core.asgi import models
from qpher_core.models import KeyVersion, rfc3339

__all__ = ["key_info", "optional_time", "wire"]


def wire(algorithm: str) -> str:
    """Return the name that the Qpher API uses for an algorithm."""
    return ALGORITHMS[algorithm].wire_name


def optional_time(moment: datetime | None) -> str | None:
    """Return a time in RFC 3339, or None."""
    return None if moment is None else rfc3339(moment)


def key_info(key: KeyVersion) -> models.KeyInfo:
    """Return the public side of a key version as answers have it."""
    return models.KeyInfo(
        key.version,
        wire(key.algorithm),
        key.status,
        key.public_key,
        rfc3339(key.created_at),
        key.name,
        rfc3339(key.changed_at),
        key.reason,
    )
