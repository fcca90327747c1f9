# SPDX-License-Identifier: Apache-2.0
"""What every opened key of every provider keeps to."""

from typing import Any, NoReturn

__all__ = ["Opened"]


class Opened:
    """An opened key: shows nothing and cannot be pickled or copied."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lstrip('_')}>"

    def __reduce_ex__(self, _protocol: Any) -> NoReturn:
        raise TypeError("an opened key cannot be pickled or copied")
