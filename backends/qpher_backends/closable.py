# SPDX-License-Identifier: Apache-2.0
"""What is of use until it is closed, and only in the process that opened it."""

import os

from qpher_core.errors import StoreUnavailable

__all__ = ["Closable"]


class Closable:
    """A store, or a part of one, that refuses once it is closed, and in a forked process."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._closed = False

    @property
    def _forked(self) -> bool:
        """Whether this process was forked from the one that opened it."""
        return os.getpid() != self._pid

    def _check_usable(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if self._forked:
            raise StoreUnavailable("the store was opened before a fork; open it again in here")
