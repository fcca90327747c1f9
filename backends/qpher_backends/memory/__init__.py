# SPDX-License-Identifier: Apache-2.0
"""The memory backend: the same guarantees but durability, for tests and notebooks."""

from qpher_backends.memory.store import MemoryStore, open_store

__all__ = ["MemoryStore", "open_store"]
