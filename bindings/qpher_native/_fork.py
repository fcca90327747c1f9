# SPDX-License-Identifier: Apache-2.0
"""Locks that no other thread holds while the process forks: a child would wait for ever.

What they guard is whole in the child, too: a key that another thread is preparing is prepared.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["lock_across_fork"]


def lock_across_fork() -> AbstractContextManager[bool]:
    """A lock for the lifetime of the process; forking waits for it."""
    lock = threading.RLock()  # a signal handler may fork in the thread that holds it
    os.register_at_fork(
        before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
    )
    return lock
