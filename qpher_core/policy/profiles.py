# SPDX-License-Identifier: Apache-2.0
"""Algorithm profiles: which algorithms an organisation may use."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from qpher_core.algorithms import ALGORITHMS

__all__ = ["PROFILES"]

#: Profile name to the algorithms that it admits. ``fips``: final FIPS only; ``cnsa2``: CNSA 2.0's
#: ML-KEM-1024 and ML-DSA-87; ``hybrid``: X-Wing and the composites.
PROFILES: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "default": frozenset(ALGORITHMS),
        "fips": frozenset(a.name for a in ALGORITHMS.values() if a.final),
        "cnsa2": frozenset({"ML-KEM-1024", "ML-DSA-87"}),
        "hybrid": frozenset(a.name for a in ALGORITHMS.values() if a.hybrid),
    }
)
