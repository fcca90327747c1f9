# SPDX-License-Identifier: Apache-2.0
"""What is recorded of a call, and what its caller gets once that is durable."""

from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from attrs import frozen

from qpher_core.admission import is_compromised
from qpher_core.audit.entry import EntryDraft, KeyAddress, Result, digest
from qpher_core.calls import Combined, Done, Effect, Item, Request
from qpher_core.errors import QpherError
from qpher_core.models import AuditEntry, KeyVersion, RequestContext, canonical_json

__all__ = ["ItemsOf", "Recorded", "draft_of", "items_of_value", "itself", "recorded"]

T = TypeVar("T")
R = TypeVar("R")

#: Reason that is recorded when a compromised key was used knowingly.
_ACCEPTED: Final = "accept_compromised"

#: What of an effect gets an entry each: itself, or the items of its value.
ItemsOf = Callable[[Effect[T]], Sequence[Item[R]]]


@frozen
class Recorded(Generic[R]):
    """What is recorded of one call: an entry for each item."""

    key: KeyVersion
    draft: EntryDraft
    items: Sequence[Item[R]]
    results: Sequence[Result]

    def done(self, entries: Sequence[AuditEntry]) -> list[Done[R] | QpherError]:
        """Return what the caller gets, once the entries are durable."""
        key = self.key
        return [
            Done(item.value, key, request_id, entry.receipt) if isinstance(item, Effect) else item
            for item, (_, _, _, request_id), entry in zip(
                self.items, self.results, entries, strict=True
            )
        ]


def itself(effect: Effect[T]) -> Sequence[Item[T]]:
    """Return the effect alone: it gets the one entry."""
    return (effect,)


def items_of_value(effect: Effect[Sequence[Item[T]]]) -> Sequence[Item[T]]:
    """Return the items of a batch: each gets an entry."""
    return effect.value


def recorded(
    context: RequestContext,
    call: Request,
    request_id: str,
    key: KeyVersion | None,
    effect: Effect[T],
    items: ItemsOf[T, R],
) -> Recorded[R]:
    """Return what is recorded of an effect."""
    used = effect.key or key
    if used is None:
        raise TypeError(f"{call.operation.action} neither used nor made a key")
    reason = effect.reason or call.reason
    if call.accept_compromised and is_compromised(key):
        reason = f"{reason}; {_ACCEPTED}" if reason else _ACCEPTED
    each = items(effect)
    ids = call.request_ids if isinstance(call, Combined) else [request_id] * len(each)
    results: list[Result] = [
        ("success", reason, digest(item.content), own)
        if isinstance(item, Effect)
        else ("failed", f"{item.code}: {item}", None, own)
        for item, own in zip(each, ids, strict=True)
    ]
    draft = draft_of(context, call, request_id, used, "success", reason)
    return Recorded(used, draft, each, results)


def draft_of(
    context: RequestContext,
    call: Request,
    request_id: str,
    key: KeyVersion | None,
    outcome: str,
    reason: str,
) -> EntryDraft:
    """Return what the entries of a call share; their content is their own."""
    selector = call.selector
    address: KeyAddress | None = None
    if key is not None:
        ref = key.ref
        address = KeyAddress(ref.name, ref.algorithm, ref.version)
    elif selector is not None:
        address = KeyAddress(selector.name, selector.algorithm.name, selector.version)
    return EntryDraft(
        actor=context.actor,
        action=call.operation.action,
        key=address,
        outcome=outcome,
        reason=reason,
        request_id=request_id,
        context=digest(canonical_json(call.context)) if call.context else None,
        content=None,
    )
