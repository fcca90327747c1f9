# SPDX-License-Identifier: Apache-2.0
"""Errors of what a store is made of, as the store's own."""

from types import TracebackType

from qpher_core.errors import StoreUnavailable

__all__ = ["Translated"]


class Translated:
    """Turns errors of one kind into ``StoreUnavailable``. Does not change: one serves all threads.

    Args:
        kind: the errors.
        what: what does not answer, in a word.
    """

    __slots__ = ("_kind", "_what")

    def __init__(self, kind: type[Exception], what: str) -> None:
        self._kind = kind
        self._what = what

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Translate."""
        if isinstance(error, self._kind):
            raise StoreUnavailable(f"the {self._what} does not answer: {error}") from error
