# SPDX-License-Identifier: Apache-2.0
"""The dates that profiles bring with them."""

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Final

from attrs import frozen

__all__ = ["MILESTONES", "Milestone"]


@frozen
class Milestone:
    """One date. Where a publication says "by" a year, it is the first day of that year.

    Attributes:
        source: the publication that sets it; a later edition may move it.
    """

    day: date
    what: str
    source: str


_CNSA: Final = "NSA, CNSA 2.0 advisory (2022)"
_FAQ: Final = "CNSSP 15, in NSA's CNSA 2.0 FAQ, version 2.1 (2024)"
_MEMORANDUM: Final = "NSM-10 (2022), in the same FAQ"
_REGISTER: Final = "Federal Register 89 FR 66052"
_TRANSITION: Final = "NIST IR 8547, initial public draft (2024)"
_CMVP: Final = "NIST CMVP, FIPS 140-3 transition"

#: Profile to the dates that apply to it, in order.
MILESTONES: Final[Mapping[str, tuple[Milestone, ...]]] = MappingProxyType(
    {
        "cnsa2": (
            Milestone(date(2025, 1, 1), "software and firmware signing, browsers, servers and cloud"
                      " services support and prefer CNSA 2.0", _CNSA),
            Milestone(date(2026, 1, 1), "traditional network equipment supports and prefers"
                      " CNSA 2.0", _CNSA),
            Milestone(date(2027, 1, 1), "new acquisitions for US national security systems"
                      " comply, unless noted otherwise", _FAQ),
            Milestone(date(2030, 1, 1), "software and firmware signing, and traditional network"
                      " equipment, use CNSA 2.0 exclusively", _CNSA),
            Milestone(date(2030, 12, 31), "equipment and services that cannot support CNSA 2.0 are"
                      " phased out, unless otherwise noted", _FAQ),
            Milestone(date(2031, 12, 31), "CNSA 2.0 algorithms are mandated, unless otherwise"
                      " noted", _FAQ),
            Milestone(date(2033, 1, 1), "browsers, servers, cloud services, operating systems and"
                      " custom applications use CNSA 2.0 exclusively", _CNSA),
            Milestone(date(2035, 1, 1), "all national security systems resist quantum computers:"
                      " the goal", _MEMORANDUM),
        ),
        "fips": (
            Milestone(date(2024, 8, 14), "FIPS 203, 204 and 205, published the day before, are"
                      " effective", _REGISTER),
            Milestone(date(2026, 9, 21), "validations to FIPS 140-2 become historical", _CMVP),
            Milestone(date(2030, 12, 31), "RSA and elliptic curves of 112-bit strength are"
                      " deprecated", _TRANSITION),
            Milestone(date(2035, 12, 31), "RSA and elliptic curves are disallowed", _TRANSITION),
        ),
    }
)  # fmt: skip
