# SPDX-License-Identifier: Apache-2.0
"""The least that a durable ``signature/verify`` can be: Starlette, the C core and SQLite alone.

Bodies are decoded, signatures verified in batches on one thread, and a row of an entry's size is
committed for each. There are no API keys, policy, rates, chain, tree, request ids or metrics.
"""

import asyncio
import base64
import itertools
import os
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from qpher_native.mldsa import MLDSA

__all__ = ["app"]

_MOST: Final = 64

Pair = tuple[bytes, bytes]


class _Body(msgspec.Struct):
    message: str
    signature: str


class _Batches:
    """Verifies what has come together, one batch at a time."""

    def __init__(self, database: str) -> None:
        self._key = MLDSA("ML-DSA-65").generate().public_key
        self._pool = ThreadPoolExecutor(1)
        self._places = itertools.count()
        self._waiting: list[tuple[Pair, asyncio.Future[bool]]] = []
        self._busy = False
        self._rows = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
        self._rows.execute("PRAGMA journal_mode = WAL")
        self._rows.execute("PRAGMA synchronous = FULL")
        self._rows.execute(
            "CREATE TABLE entries (seq INTEGER PRIMARY KEY, body BLOB, hash BLOB, nodes BLOB)"
        )

    async def verify(self, pair: Pair) -> bool:
        """Return whether a signature is valid, once that is recorded."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bool] = loop.create_future()
        self._waiting.append((pair, answer))
        if len(self._waiting) == 1:
            loop.call_soon(self._begin)  # after all that the loop has just read
        return await answer

    def _begin(self) -> None:
        if not self._busy and self._waiting:
            self._busy = True
            batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            work = asyncio.get_running_loop().run_in_executor(
                self._pool, self._run, [pair for pair, _ in batch]
            )
            work.add_done_callback(lambda done: self._end(batch, done.result()))

    def _run(self, pairs: Sequence[Pair]) -> list[bool]:
        valid = self._key.verify_many(pairs)
        rows = [(next(self._places), bytes(480), bytes(32), bytes(64)) for _ in pairs]
        self._rows.execute("BEGIN IMMEDIATE")
        self._rows.executemany("INSERT INTO entries VALUES (?, ?, ?, ?)", rows)
        self._rows.execute("COMMIT")
        return valid

    def _end(
        self, batch: Sequence[tuple[Pair, asyncio.Future[bool]]], valid: Sequence[bool]
    ) -> None:
        for (_, answer), one in zip(batch, valid, strict=True):
            answer.set_result(one)
        self._busy = False
        self._begin()


_batches: Final = _Batches(os.environ["LOAD_DATABASE"])
_decode: Final = msgspec.json.Decoder(_Body).decode


async def _verify(request: Request) -> Response:
    body = _decode(await request.body())
    pair = base64.b64decode(body.message), base64.b64decode(body.signature)
    return JSONResponse({"data": {"valid": await _batches.verify(pair)}})


app = Starlette(routes=[Route("/verify", _verify, methods=["POST"])])
