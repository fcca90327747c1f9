# SPDX-License-Identifier: Apache-2.0
"""ML-KEM (FIPS 203) and ML-DSA (FIPS 204) in C, with a thin typed interface.

Importing it chooses the code path for this CPU and runs the power-on self-test; a machine on
which that fails gets an ImportError and no cryptography.
"""

from __future__ import annotations

try:
    from . import _native  # noqa: F401 (the extension must be there before anything uses it)
except ImportError as error:
    raise ImportError(
        "the C core of qpher-core is not built for this Python; install a wheel, or reinstall "
        "with a C compiler",
        name=f"{__name__}._native",
    ) from error

from ._cpu import cpu_path, select

select()

from . import _poweron
from ._memory import KeyMemory, key_memory
from .mldsa import MLDSA
from .mlkem import MLKEM

_poweron.run()

__all__ = ["MLDSA", "MLKEM", "KeyMemory", "cpu_path", "key_memory"]
