# SPDX-License-Identifier: Apache-2.0
"""Builds the C core, where there is one to build; everything else is in pyproject.toml."""

import os
import shutil
import sysconfig
from pathlib import Path

from setuptools import setup

NATIVE = Path("bindings/build_native.py")


def missing() -> list[str]:
    """Return what the C core needs and this machine lacks."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    headers = Path(sysconfig.get_path("include"), "Python.h")
    lacking = [] if shutil.which(compiler) else [f"a C compiler ({compiler})"]
    return lacking if headers.exists() else [*lacking, f"Python's C headers ({headers})"]


if NATIVE.exists() and not os.environ.get("QPHER_NO_NATIVE"):
    if lacking := missing():
        raise SystemExit(
            f"qpher-core: the C core cannot be built: missing {' and '.join(lacking)}. Install "
            "them (on Debian: apt-get install gcc python3-dev), or install without the C core by "
            "setting QPHER_NO_NATIVE=1; OpenSSL's primitives are then used."
        )
    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    setup(
        cffi_modules=[f"{NATIVE}:ffibuilder"],
        options={} if free_threaded else {"bdist_wheel": {"py_limited_api": "cp311"}},
    )
else:
    setup()
