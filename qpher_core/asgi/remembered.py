# SPDX-License-Identifier: Apache-2.0
"""Requests with an ``Idempotency-Key``: made once, answered alike for 24 hours."""

import logging
from collections.abc import Callable
from typing import Final

from qpher_core.asgi.endpoint import Raw
from qpher_core.asgi.envelope import Rendered
from qpher_core.errors import OutcomeUnknown, QpherError
from qpher_core.models import RequestContext
from qpher_core.service import Qpher

__all__ = ["Remembered"]

_log: Final = logging.getLogger("qpher_core.http")
_REPLAYED: Final = (b"idempotency-replayed", b"true")


class Remembered:
    """Makes calls once."""

    def __init__(self, kms: Qpher) -> None:
        self._kms = kms

    def once(
        self,
        context: RequestContext,
        key: str,
        request: bytes,
        make: Callable[[], Rendered | Raw],
    ) -> Rendered | Raw:
        """Return the answer of a call: made now, or as it was given before.

        A call that raises one of the library's errors did nothing and is forgotten. Of one whose
        commit was lost, that fails in an unexpected way or is cut short, nobody knows: it is not
        made again.
        """
        if context.request_id is None:
            raise AssertionError("a request has an id")
        begun = self._kms.idempotency.begin(context.tenant_id, key, request, context.request_id)
        if isinstance(begun, bytes):
            return Rendered(int.from_bytes(begun[:2], "big"), begun[2:], (_REPLAYED,))
        try:
            answer = make()
        except QpherError as error:
            if not isinstance(error.__cause__, OutcomeUnknown):
                self._kms.idempotency.abandon(begun)
            raise
        if isinstance(answer, Rendered):
            try:
                self._kms.idempotency.finish(begun, answer.status.to_bytes(2, "big") + answer.body)
            except QpherError as error:
                # It was done, and is in the log; only asking again is refused from now on.
                _log.warning("request %s: not remembered: %s", context.request_id, error)
        return answer
