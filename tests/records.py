# SPDX-License-Identifier: Apache-2.0
"""Records for tests of stores; they are part of the contract suite that others can install."""

from qpher_core.testing.records import NOW, append, draft, moved, new_record, new_tenant

__all__ = ["NOW", "append", "draft", "moved", "new_record", "new_tenant"]
