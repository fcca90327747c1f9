# SPDX-License-Identifier: Apache-2.0
"""``kms.aio``: the same surface as coroutines (docs/asyncio.md).

Every method has the name, parameters and result of its counterpart; iterators are asynchronous
ones. Calls run on threads beside the event loop, so concurrent tasks share durable commits as
threads do. A call that is cancelled before it began never happens; one that has begun goes on to
its end, and is in the log.
"""

from qpher_core.aio.service import AsyncQpher, AsyncRemoteService
from qpher_core.aio.session import AsyncField, AsyncSession

__all__ = ["AsyncField", "AsyncQpher", "AsyncRemoteService", "AsyncSession"]
