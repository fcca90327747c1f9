# SPDX-License-Identifier: Apache-2.0
"""Several calls of one actor on one key, made at the same time, as one call."""

from collections.abc import Hashable, Sequence
from typing import Any, Final

from qpher_core.calls import Combined, Effect, Item, KeyCall
from qpher_core.models import KeyVersion, RequestContext
from qpher_core.protocols import KeyStore
from qpher_core.request_ids import new_request_id

__all__ = ["Apart", "Asked", "combined", "kind_of", "request_id_of"]

#: A call, and who makes it.
Asked = tuple[RequestContext, KeyCall[Any]]

#: A call with more input takes longer than what others could share with it.
_LARGEST: Final = 16_384


class Apart(Exception):  # noqa: N818 - a signal, not an error
    """Calls cannot be run at once: each is to be run by itself, and recorded as it deserves."""


def kind_of(asked: Asked) -> Hashable | None:
    """Return what is equal for calls that can be combined; None for one that cannot be.

    It is all that policy is told and the entry says, but for the request id and the size of the
    input, and all that executing depends on, but for the input itself.
    """
    context, call = asked
    if call.shared is None or call.payload_bytes > _LARGEST:
        return None
    if call.reason or call.features is not frozenset:
        return None
    selector = call.selector
    return (
        call.operation.action,
        selector.name,
        selector.algorithm.name,
        selector.version,
        context.tenant_id.int,
        context.actor,
        context.scopes,
        context.source,
        call.accept_compromised,
        tuple(sorted(call.context.items())) if call.context else (),
        call.shared.rest,
    )


def combined(asked: Sequence[Asked], keys: KeyStore) -> Combined[Any]:
    """Return one call for several of a kind."""
    _, first = asked[0]
    items = [call.shared.item for _, call in asked if call.shared is not None]
    shared = first.shared
    if shared is None or len(items) != len(asked):
        raise TypeError("calls that share nothing cannot be combined")

    def execute(key: KeyVersion) -> Effect[Sequence[Item[Any]]]:
        return Effect(shared.execute(keys, key, items, shared.rest))

    sizes = {call.payload_bytes for _, call in asked}
    return Combined(
        operation=first.operation,
        selector=first.selector,
        context=first.context,
        payload_bytes=max(sizes),
        accept_compromised=first.accept_compromised,
        execute=execute,
        request_ids=[request_id_of(context) for context, _ in asked],
        sizes=sorted(sizes),
    )


def request_id_of(context: RequestContext) -> str:
    """Return the id of a request; a new one for each call where none is given."""
    return new_request_id() if context.request_id is None else str(context.request_id)
