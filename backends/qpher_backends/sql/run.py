# SPDX-License-Identifier: Apache-2.0
"""How the tables run their statements, whose parameters are written ``?``.

The first argument is the tenant whose rows a statement is about, for databases that hold it to
them; None for what belongs to no tenant or is looked for among all.
"""

import uuid
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Row", "Run", "RunMany"]

Row = tuple[Any, ...]

#: Runs one statement and returns all its rows.
Run = Callable[[uuid.UUID | None, str, Sequence[Any]], list[Row]]

#: Runs one statement once for each of several rows of parameters.
RunMany = Callable[[uuid.UUID | None, str, Sequence[Row]], None]
