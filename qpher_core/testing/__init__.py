# SPDX-License-Identifier: Apache-2.0
"""The contract that every store keeps, as a test suite (docs/backends.md).

``pytest --pyargs qpher_core.testing --qpher-store package.module:function`` runs it; the function
takes a directory and returns a store in it, the same one for the same directory.
"""

import importlib
import re
from pathlib import Path
from typing import Final

from qpher_core.discovery import open_store
from qpher_core.protocols import Store

__all__ = ["open_target"]

_FUNCTION: Final = re.compile(r"([\w.]+):(\w+) (.*)", re.DOTALL)


def open_target(target: str) -> Store:
    """Open a store by its URL, or by ``package.module:function directory``."""
    found = _FUNCTION.fullmatch(target)
    if found is None:
        return open_store(target, parameter="url")
    module, function, folder = found.groups()
    store: Store = getattr(importlib.import_module(module), function)(Path(folder))
    return store
