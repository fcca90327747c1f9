# SPDX-License-Identifier: Apache-2.0
"""Which key encryption keys a store is sealed under."""

from collections.abc import Mapping

from attrs import frozen

from qpher_core.models.keys import KeyRef

__all__ = ["ProtectorStatus", "RewrapReport"]


@frozen
class ProtectorStatus:
    """Which key encryption keys (KEKs) a store is sealed under.

    Attributes:
        kek_id: the one that seals.
        records: how many key records are sealed under each.
        replaced: those that were in use, and that no record needs any more.
    """

    kek_id: str
    records: Mapping[str, int]
    replaced: tuple[str, ...]

    @property
    def pending(self) -> int:
        """How many records a rewrap has to move."""
        return sum(count for kek_id, count in self.records.items() if kek_id != self.kek_id)


@frozen
class RewrapReport:
    """What a rewrap did.

    Attributes:
        kek_id: the KEK that all records but the damaged ones are sealed under now.
        moved: how many records were sealed anew.
        damaged: those that do not authenticate; they stay as they are, under the KEK before.
        replaced: the KEKs that no record needs any more, from this rewrap and earlier ones.
    """

    kek_id: str
    moved: int
    damaged: tuple[KeyRef, ...]
    replaced: tuple[str, ...]
