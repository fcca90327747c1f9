# SPDX-License-Identifier: Apache-2.0
"""The hand-written stub of the extension says what the extension has."""

from __future__ import annotations

import ast
from pathlib import Path

from qpher_native import _memory
from qpher_native._native import lib

STUB = Path(_memory.__file__).with_name("_native.pyi")


def test_stub_names_every_function_and_constant() -> None:
    """The names in _native.pyi are those of the built module."""
    tree = ast.parse(STUB.read_text(encoding="utf-8"))
    (stub,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Lib")
    functions = {node.name for node in stub.body if isinstance(node, ast.FunctionDef)}
    constants = {
        node.target.id
        for node in stub.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    real = {name for name in dir(lib) if not name.startswith("_")}
    assert functions == {name for name in real if callable(getattr(lib, name))}
    assert constants == {name for name in real if not callable(getattr(lib, name))}
