# SPDX-License-Identifier: Apache-2.0
"""Readiness: whether the parts that every operation needs can answer, and which cannot."""

import logging
import time
from collections.abc import Callable
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from qpher_core.asgi.gateway import Parts
from qpher_core.errors import QpherError

__all__ = ["Health", "Readiness"]

_log: Final = logging.getLogger("qpher_core.http")

_KEPT: Final = 1.0  # seconds; whoever asks without a key costs no more than one check in this time


class Health(msgspec.Struct):
    """Whether requests can be served, and for each part ``ok`` or why not."""

    status: str
    checks: dict[str, str]


class Readiness:
    """Checks the parts of a service."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._kept: tuple[float, Health] | None = None

    async def answer(self, _: Request) -> Response:
        """Answer 200, or 503 with the part that cannot answer."""
        try:
            health: Health = await self._parts.workers.run(self.check)
        except QpherError as error:
            health = Health("unavailable", {"workers": str(error)})
        return Response(
            msgspec.json.encode(health),
            200 if health.status == "ready" else 503,
            media_type="application/json",
        )

    def check(self) -> Health:
        """Check every part, at most once a second."""
        kept = self._kept
        if kept is not None and time.monotonic() - kept[0] < _KEPT:
            return kept[1]
        every = {**self._parts.kms.checks(), "rate limits": self._parts.rates.probe}
        checks = {name: _outcome(name, check) for name, check in every.items()}
        ready = all(outcome == "ok" for outcome in checks.values())
        health = Health("ready" if ready else "unavailable", checks)
        self._kept = (time.monotonic(), health)
        return health


def _outcome(name: str, check: Callable[[], object]) -> str:
    try:
        check()
    except Exception as error:  # noqa: BLE001 - any failure makes the part unavailable
        _log.warning("not ready: %s: %s", name, type(error).__name__)
        return "cannot answer"
    return "ok"
