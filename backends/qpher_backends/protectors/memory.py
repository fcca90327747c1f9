# SPDX-License-Identifier: Apache-2.0
"""A key encryption key that lives as long as the process: ``memory:``. For tests."""

from qpher_backends.protectors._kek import Kek, KekRing, new_kek
from qpher_core.errors import ProtectorUnavailable

__all__ = ["open_protector"]


def open_protector(url: str, *, create: bool) -> KekRing:
    """Return a protector with a fresh KEK; the entry point."""
    if not create:
        raise ProtectorUnavailable(f"{url} cannot hold the KEK of an existing store")
    return KekRing([Kek.held(new_kek())], url)
