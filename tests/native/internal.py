# SPDX-License-Identifier: Apache-2.0
"""The C core as a plain shared library, so that tests reach functions that the module hides.

``load(cdef)`` gives ``(ffi, lib)`` for internal functions declared in ``cdef``. The library is
compiled once per session with the C compiler at hand, into ``build/internal``.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cffi import FFI

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "bindings" / "csrc"
# The sanitizer target asks for other flags, in another folder.
BUILD = Path(os.environ.get("QPHER_INTERNAL_BUILD", ROOT / "build" / "internal"))
LIBRARY = (BUILD / "libqpher_internal.so").resolve()
FLAGS = os.environ.get("QPHER_INTERNAL_CFLAGS", "-O2").split()


@functools.cache
def library() -> Path:
    """Compile the library unless it is newer than every source."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("no C compiler for the tests of internal functions")
    LIBRARY.parent.mkdir(parents=True, exist_ok=True)
    sources = sorted(CSRC.glob("*.c"))
    newest = max(path.stat().st_mtime for path in CSRC.iterdir())
    with LIBRARY.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not LIBRARY.exists() or LIBRARY.stat().st_mtime < newest:
            fresh = LIBRARY.with_suffix(f".{os.getpid()}")
            command = [compiler, "-std=c11", *FLAGS, "-shared", "-fPIC", "-o", str(fresh)]
            subprocess.run([*command, *map(str, sources)], check=True)
            fresh.replace(LIBRARY)
    return LIBRARY


def load(cdef: str) -> tuple[FFI, Any]:
    """The internal functions that ``cdef`` declares, on the code path QPHER_NATIVE_CPU names."""
    ffi = FFI()
    ffi.cdef(cdef + "int qpher_init(int path); int qpher_cpu_best(void);")
    lib = ffi.dlopen(str(library()))
    wanted = os.environ.get("QPHER_NATIVE_CPU")
    path = ["portable", "avx2", "avx512"].index(wanted) if wanted else -1
    if lib.qpher_init(path) < 0:
        pytest.skip(f"this CPU has no {wanted}")
    return ffi, lib
