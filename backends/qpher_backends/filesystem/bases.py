# SPDX-License-Identifier: Apache-2.0
"""Where a log begins, if its first entries were moved out."""

import uuid
from collections.abc import Mapping
from typing import Any

from qpher_backends.filesystem.view import Transaction, View
from qpher_core.audit.records import EMPTY_LOG, LogBase

__all__ = ["recorded_base", "write_base"]


def recorded_base(view: View, tenant_id: uuid.UUID) -> LogBase:
    """Return the base of a log; the empty one where nothing was moved out."""
    return view.read(_path(tenant_id), _parse) or EMPTY_LOG


def write_base(view: Transaction, tenant_id: uuid.UUID, base: LogBase) -> None:
    """Let a log begin elsewhere."""
    document = {
        "head": base.head.hex(),
        "peaks": base.peaks.hex(),
        "segment": base.segment.hex(),
        "size": base.size,
        "uses": base.uses.decode(),
    }
    view.write(_path(tenant_id), document)


def _path(tenant_id: uuid.UUID) -> str:
    return f"audit/{tenant_id}/base.json"


def _parse(document: Mapping[str, Any]) -> LogBase:
    head, peaks, segment = (bytes.fromhex(document[name]) for name in ("head", "peaks", "segment"))
    if (size := int(document["size"])) < 1:
        raise ValueError("a log begins at its first entry, or behind what was moved out")
    return LogBase(size, head, peaks, str(document["uses"]).encode(), segment)
