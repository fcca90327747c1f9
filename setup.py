# SPDX-License-Identifier: Apache-2.0
"""Builds the C core, where there is one to build; everything else is in pyproject.toml."""

import os
from pathlib import Path

from setuptools import setup

NATIVE = Path("bindings/build_native.py")

if NATIVE.exists() and not os.environ.get("QPHER_NO_NATIVE"):
    setup(
        cffi_modules=[f"{NATIVE}:ffibuilder"],
        options={"bdist_wheel": {"py_limited_api": "cp311"}},
    )
else:
    setup()
