# SPDX-License-Identifier: Apache-2.0
"""The filesystem backend: everything in plain files of one directory (docs/backends.md)."""

from qpher_backends.filesystem.store import FileStore, open_store

__all__ = ["FileStore", "open_store"]
