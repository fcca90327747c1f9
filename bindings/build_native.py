# SPDX-License-Identifier: Apache-2.0
"""Build description of the native core for cffi, and a script that builds it in place.

The declarations are those of csrc/qpher_native.h between its "cffi" markers, so the header
stays the one place where the interface is written down.
"""

from __future__ import annotations

import fcntl
import os
import re
import sys
import sysconfig
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
CSRC = HERE / "csrc"
FLAGS = ["-O3", "-std=c11", "-fvisibility=hidden", "-g0"]
# All symbols are bound at load, and their table is read-only afterwards.
LINK_FLAGS = ["-Wl,-z,relro,-z,now"] if sys.platform == "linux" else []
# One extension serves every CPython from 3.11 on; free-threaded builds have no stable ABI.
LIMITED_API = 0x030B0000
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def declarations() -> str:
    """The part of the public header that cffi reads, without its preprocessor includes."""
    header = (CSRC / "qpher_native.h").read_text(encoding="utf-8")
    match = re.search(r"/\* cffi: begin \*/(.*)/\* cffi: end \*/", header, re.DOTALL)
    if match is None:
        raise RuntimeError("csrc/qpher_native.h has lost its cffi markers")
    return match.group(1)


def sources() -> list[str]:
    """Every C file of the core, as paths relative to the current directory.

    setuptools accepts only relative paths when it builds a source distribution.
    """
    return [os.path.relpath(path) for path in sorted(CSRC.glob("*.c"))]


def flags() -> list[str]:
    """Compiler flags; ``QPHER_NATIVE_CFLAGS`` adds some, for the sanitizer builds."""
    return [*FLAGS, *os.environ.get("QPHER_NATIVE_CFLAGS", "").split()]


def describe() -> FFI:
    """The extension module ``qpher_native._native``."""
    ffi = FFI()
    ffi.cdef(declarations())
    ffi.set_source(
        "qpher_native._native",
        '#include "qpher_native.h"\n',
        sources=sources(),
        depends=[os.path.relpath(path) for path in sorted(CSRC.glob("*.h"))],
        include_dirs=[os.path.relpath(CSRC)],
        extra_compile_args=flags(),
        extra_link_args=[*LINK_FLAGS, *os.environ.get("QPHER_NATIVE_LDFLAGS", "").split()],
        define_macros=[] if FREE_THREADED else [("Py_LIMITED_API", hex(LIMITED_API))],
        py_limited_api=not FREE_THREADED,
    )
    return ffi


ffibuilder = describe()


def main() -> int:
    """Build in place, next to the Python files that import the module."""
    target = Path(os.environ.get("QPHER_NATIVE_TARGET", HERE)).resolve()
    build = Path(os.environ.get("QPHER_NATIVE_BUILD", HERE.parent / "build" / "native"))
    build.mkdir(parents=True, exist_ok=True)
    with (build / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        compile_into(target, build)
    return 0


def compile_into(target: Path, build: Path) -> None:
    """Compile what has changed since the last time; objects stay in ``build``."""
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    extension = ffibuilder.distutils_extension(tmpdir=str(build))
    distribution = Distribution({"name": "qpher-native", "ext_modules": [extension]})
    command = build_ext(distribution)
    command.build_lib = str(target)
    command.build_temp = str(build)
    command.parallel = os.cpu_count()
    command.ensure_finalized()
    command.run()
    print(f"built {target / 'qpher_native'}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
