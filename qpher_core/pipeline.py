# SPDX-License-Identifier: Apache-2.0
"""The one way that every operation goes.

    authenticate → policy → resolve key and check its state → execute inside the key store
    → append to the audit log, durable → release the result

No step is skipped, reordered or repeated elsewhere. If any of them cannot answer, the result is
not released, and a change is rolled back with the transaction that would have recorded it.
"""

import contextlib
import functools
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final, Generic, TypeVar

from attrs import frozen

from qpher_core._deadline import call_with_deadline
from qpher_core.audit.entry import EntryDraft, KeyAddress, Result, digest
from qpher_core.calls import (
    Call,
    Change,
    Done,
    Effect,
    Item,
    KeyCall,
    KeyChanged,
    KeySelector,
    Outcome,
    Overtaken,
    Request,
    Withdrawn,
)
from qpher_core.errors import (
    AuditUnavailable,
    AuthenticationError,
    IntegrityError,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    PolicyUnavailable,
    QpherError,
    RateLimited,
    StateConflict,
    StoreUnavailable,
)
from qpher_core.lifecycle import KeyState
from qpher_core.mixed import record
from qpher_core.models import (
    AuditEntry,
    Decision,
    KeyRef,
    KeyVersion,
    PolicyRequest,
    RequestContext,
    Tenant,
    TenantStatus,
    canonical_json,
)
from qpher_core.operations import OPERATIONS, Operation, Recording
from qpher_core.protocols import AuditLog, KeyStore, Mark, PolicyEngine, Store, StoreWriter
from qpher_core.request_ids import new_request_id
from qpher_core.together import Commit
from qpher_core.validation import check_name

__all__ = ["Pipeline"]

T = TypeVar("T")
R = TypeVar("R")

_ADMIN: Final = "admin"

_UNKNOWN: Final = Decision(allow=False, rule="unknown", reason="there is no such operation")

#: For stores that always read what is there now.
_FRESH: Final = contextlib.nullcontext()

#: Reason that is recorded when a compromised key was used knowingly.
_ACCEPTED: Final = "accept_compromised"

#: A key whose record changes between the check and the commit is looked at again, so often.
_ATTEMPTS: Final = 32


#: What of an effect gets an entry each: itself, or the items of its value.
_ItemsOf = Callable[[Effect[T]], Sequence[Item[R]]]


@frozen
class _Recorded(Generic[R]):
    """What is recorded of one call: an entry for each item."""

    key: KeyVersion
    draft: EntryDraft
    items: Sequence[Item[R]]
    results: Sequence[Result]

    def done(self, entries: Sequence[AuditEntry]) -> list[Done[R] | QpherError]:
        """Return what the caller gets, once the entries are durable."""
        key, request_id = self.key, self.draft.request_id
        return [
            Done(item.value, key, request_id, entry.receipt) if isinstance(item, Effect) else item
            for item, entry in zip(self.items, entries, strict=True)
        ]


class Pipeline:
    """Runs calls. Thread-safe."""

    here = True

    def __init__(
        self,
        store: Store,
        keys: KeyStore,
        audit: AuditLog,
        policy: PolicyEngine,
        *,
        clock: Callable[[], datetime],
        policy_deadline: float,
    ) -> None:
        self._store = store
        self._keys = keys
        self._audit = audit
        self._policy = policy
        self._clock = clock
        self._policy_deadline = policy_deadline
        self._may_block = getattr(policy, "may_block", True)
        # A decision that takes its time takes longer than what this saves.
        self._lately: Callable[[uuid.UUID], contextlib.AbstractContextManager[Mark]] | None = (
            None if self._may_block else getattr(store, "lately", None)
        )

    def run(self, context: RequestContext, call: Call[T] | KeyCall[T]) -> Done[T]:
        """Run one call for one tenant and record it."""
        (done,) = self._run(context, call, _itself)
        if isinstance(done, QpherError):
            raise done
        return done

    def run_many(
        self, context: RequestContext, call: KeyCall[Sequence[Item[T]]]
    ) -> list[Done[T] | QpherError]:
        """Run one call on several items: one decision, one durable commit, an entry for each.

        What stops the call as a whole is raised, as by :meth:`run`, and leaves one entry. An
        item that fails alone has its error in the place of its result, and an entry that says so.
        """
        return self._run(context, call, _value_of)

    def _run(
        self, context: RequestContext, call: Call[T] | KeyCall[T], items: _ItemsOf[T, R]
    ) -> list[Done[R] | QpherError]:
        request_id = _request_id(context)
        for attempt in range(_ATTEMPTS):
            try:
                with self._reading(context, attempt) as mark:
                    key, outcome = self._executed(context, call, request_id, mark)
                return self._record(context, call, request_id, key, outcome, items, mark)
            except KeyChanged:
                continue
        with self._refusals(context, call, request_id):
            raise StateConflict("the key was changed by others again and again; try later")

    def read(self, context: RequestContext, call: Call[T] | KeyCall[T]) -> T:
        """Run one call that releases only public data; only a refusal is recorded."""
        if call.operation.recording is not Recording.REFUSALS:
            raise TypeError(f"{call.operation.action} must be recorded")
        with self._refusals(context, call, _request_id(context)):
            _, outcome = self._execute(context, call)
        if not isinstance(outcome, Effect):
            raise TypeError(f"{call.operation.action} must not change the store")
        return outcome.value

    def administer(
        self,
        operation: Operation,
        tenant_id: uuid.UUID,
        actor: str | RequestContext,
        change: Change[T],
    ) -> T:
        """Run a change that is about no key, recorded in the log of the tenant that it is about.

        Args:
            operation: its row.
            tenant_id: the tenant that is changed, or the nil tenant for the service.
            actor: a name, for the holder of the service; or the context of a remote caller,
                whose scope and policy are asked first and whose refusal is recorded.
            change: what is to be done.
        """
        if isinstance(actor, RequestContext):
            context = actor
            self._permit(context, operation, foreign=tenant_id != context.tenant_id)
        else:
            context = RequestContext(tenant_id, check_name(actor, "actor"))
        request_id = _request_id(context)

        def work(writer: StoreWriter) -> T:
            effect = change(writer)
            draft = EntryDraft(
                context.actor,
                operation.action,
                None,
                "success",
                "",
                request_id,
                None,
                digest(effect.content),
            )
            self._audit.append(writer.audit, tenant_id, draft)
            return effect.value

        return self._commit(tenant_id, work)

    def observe(
        self, context: RequestContext, operation: Operation, tenant_id: uuid.UUID | None = None
    ) -> None:
        """Let a remote caller go on with what is not about a key, or record a refusal and raise."""
        self._permit(context, operation, foreign=tenant_id not in {None, context.tenant_id})

    def _permit(self, context: RequestContext, operation: Operation, *, foreign: bool) -> None:
        """Ask scope and policy on a call by a remote caller that is about no key."""
        call: Call[None] = Call(operation=operation, execute=lambda: Effect(None))
        with self._refusals(context, call, _request_id(context)):
            tenant = self._authenticate(context)
            self._decide(context, tenant, call, None, foreign=foreign)

    # --- the steps, in order -------------------------------------------------------------------

    def _executed(
        self,
        context: RequestContext,
        call: Call[T] | KeyCall[T],
        request_id: str,
        mark: Mark | None,
    ) -> tuple[KeyVersion | None, Outcome[T]]:
        """Decide and execute; record what stops it."""
        try:
            return self._execute(context, call)
        except (KeyChanged, Overtaken, Withdrawn):
            raise
        except Exception as error:
            self._refuse(context, call, request_id, error, mark)
            raise

    def _execute(
        self, context: RequestContext, call: Call[T] | KeyCall[T]
    ) -> tuple[KeyVersion | None, Outcome[T]]:
        tenant = self._authenticate(context)
        if not isinstance(call, KeyCall):
            self._decide(context, tenant, call, None)
            return None, call.execute()
        found = self._look_up(context, call.selector)
        self._decide(context, tenant, call, found)
        key = _usable(call, found)
        return key, call.execute(key)

    def _authenticate(self, context: RequestContext) -> Tenant:
        tenant = self._store.tenants.get(context.tenant_id)
        if tenant is None or tenant.status is not TenantStatus.ACTIVE:
            raise AuthenticationError("the tenant is unknown or suspended")
        return tenant

    def _decide(
        self,
        context: RequestContext,
        tenant: Tenant,
        call: Request,
        key: KeyVersion | None,
        *,
        foreign: bool = False,
    ) -> None:
        _check_scope(context, call.operation, foreign=foreign)
        decision = self.ask(_policy_request(context, tenant, call, key, self._clock()))
        if decision.allow is not True:
            raise _denial(call.operation, decision)

    def ask(self, request: PolicyRequest) -> Decision:
        """Return what the policy engine says. Raises ``PolicyUnavailable`` if it cannot answer.

        Of an action that is none no engine is asked: one that allows by default would allow it.
        """
        if request.action not in OPERATIONS:
            return _UNKNOWN
        try:
            if self._may_block:
                decision = call_with_deadline(
                    lambda: self._policy.decide(request), self._policy_deadline
                )
            else:
                decision = self._policy.decide(request)
        except Exception as error:
            raise PolicyUnavailable(
                f"the policy engine cannot answer ({type(error).__name__}); nothing was done"
            ) from error
        if not isinstance(decision, Decision) or not isinstance(decision.allow, bool):
            raise PolicyUnavailable("the policy engine did not answer with a decision")
        return decision

    def _reading(
        self, context: RequestContext, attempt: int
    ) -> contextlib.AbstractContextManager[Mark | None]:
        """Let a first attempt work with rows of a moment ago, if the store has such."""
        if attempt or self._lately is None:
            return _FRESH
        return self._lately(context.tenant_id)

    def _unchanged(self, writer: StoreWriter, key: KeyVersion | None, mark: Mark | None) -> bool:
        """Return, inside the commit, whether what the call was decided on is still so."""
        if mark is not None and not mark.fresh:
            return mark.holds()
        return key is None or self._keys.confirm(writer, key)

    def _look_up(self, context: RequestContext, selector: KeySelector) -> KeyVersion | None:
        """Read the key's record for the policy request.

        Whether it may be missing comes after policy: only who is allowed learns that it is.
        """
        algorithm, tenant_id = selector.algorithm.name, context.tenant_id
        if selector.version is None:
            found = self._keys.active(tenant_id, selector.name, algorithm)
        else:
            found = self._keys.get(KeyRef(tenant_id, selector.name, algorithm, selector.version))
        if found is not None and found.ref.tenant_id != tenant_id:
            raise IntegrityError("the key store answered with another tenant's key")
        return found

    def _record(
        self,
        context: RequestContext,
        call: Request,
        request_id: str,
        key: KeyVersion | None,
        outcome: Outcome[T],
        items: _ItemsOf[T, R],
        mark: Mark | None,
    ) -> list[Done[R] | QpherError]:
        # In quotes, here and wherever a call goes through: Python evaluates the annotations of a
        # function inside of another each time.
        def recorded(effect: "Effect[T]") -> "_Recorded[R]":
            return _recorded(context, call, request_id, key, effect, items)

        def work(
            writer: StoreWriter, prepare: "Callable[[], _Recorded[R]]"
        ) -> "list[Done[R] | QpherError]":
            if not self._unchanged(writer, key, mark):
                raise KeyChanged
            what = prepare()
            entries = self._audit.append_many(
                writer.audit, context.tenant_id, what.draft, what.results
            )
            return what.done(entries)

        try:
            if isinstance(outcome, Effect):
                what = recorded(outcome)  # out here it keeps nobody waiting
                return self._append(context.tenant_id, lambda w: work(w, lambda: what))
            return self._commit(context.tenant_id, lambda w: work(w, lambda: recorded(outcome(w))))
        except (KeyChanged, AuditUnavailable):
            raise
        except Exception as error:
            self._refuse(context, call, request_id, error)
            raise

    # --- recording -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def _refusals(self, context: RequestContext, call: Request, request_id: str) -> Iterator[None]:
        """Record whatever stops the call inside, then let it out."""
        try:
            yield
        except Exception as error:
            self._refuse(context, call, request_id, error)
            raise

    def _refuse(
        self,
        context: RequestContext,
        call: Request,
        request_id: str,
        error: Exception,
        mark: Mark | None = None,
    ) -> None:
        """Record a refusal; if that is impossible, ``AuditUnavailable`` takes its place."""
        if not isinstance(error, QpherError):
            # Not one of ours: its text could hold anything, so only its type is recorded.
            error = QpherError(f"unexpected {type(error).__name__}")
        denied = isinstance(error, PermissionDenied | PolicyUnavailable | RateLimited)
        outcome, reason = "denied" if denied else "failed", f"{error.code}: {error}"
        draft = _draft(context, call, request_id, None, outcome, reason)

        def work(writer: StoreWriter) -> None:
            if mark is not None and not (mark.fresh or mark.holds()):
                raise KeyChanged  # refused for what is no longer so
            self._audit.append(writer.audit, context.tenant_id, draft)

        try:
            self._append(context.tenant_id, work)
        except AuditUnavailable as unavailable:
            raise unavailable from error

    def _commit(self, tenant_id: uuid.UUID, work: Callable[[StoreWriter], T]) -> T:
        return _durable(self._store.commit, tenant_id, work)

    def _append(self, tenant_id: uuid.UUID, work: Callable[[StoreWriter], T]) -> T:
        """Commit work that writes nothing but audit entries."""
        return _durable(functools.partial(record, self._store), tenant_id, work)


def _durable(commit: Commit, tenant_id: uuid.UUID, work: Callable[[StoreWriter], T]) -> T:
    """Commit; a store that cannot answer is an audit log that cannot record."""
    try:
        return commit(work, tenant_id=tenant_id)
    except OutcomeUnknown as error:
        raise AuditUnavailable(
            f"nothing was released, but what was asked may have been done: {error}"
        ) from error
    except StoreUnavailable as error:
        raise AuditUnavailable(
            f"the audit log cannot record, so nothing was released or changed: {error}"
        ) from error


def _request_id(context: RequestContext) -> str:
    return new_request_id() if context.request_id is None else str(context.request_id)


def _itself(effect: Effect[T]) -> Sequence[Item[T]]:
    return (effect,)


def _value_of(effect: Effect[Sequence[Item[T]]]) -> Sequence[Item[T]]:
    return effect.value


def _recorded(
    context: RequestContext,
    call: Request,
    request_id: str,
    key: KeyVersion | None,
    effect: Effect[T],
    items: _ItemsOf[T, R],
) -> _Recorded[R]:
    """Return what is recorded of an effect."""
    used = effect.key or key
    if used is None:
        raise TypeError(f"{call.operation.action} neither used nor made a key")
    reason = effect.reason or call.reason
    if call.accept_compromised and _compromised(key):
        reason = f"{reason}; {_ACCEPTED}" if reason else _ACCEPTED
    each = items(effect)
    results: list[Result] = [
        ("success", reason, digest(item.content))
        if isinstance(item, Effect)
        else ("failed", f"{item.code}: {item}", None)
        for item in each
    ]
    draft = _draft(context, call, request_id, used, "success", reason)
    return _Recorded(used, draft, each, results)


def _check_scope(context: RequestContext, operation: Operation, *, foreign: bool) -> None:
    """Refuse a caller without the scope; what is another tenant's needs ``admin``."""
    scope = _ADMIN if foreign else operation.scope
    if context.scopes is None or scope in context.scopes:
        return
    if operation.administrative and _ADMIN in context.scopes:
        return
    raise PermissionDenied(
        f"the caller lacks the scope {scope!r}", rule="scope", code="ERR_FORBIDDEN_001"
    )


def _denial(operation: Operation, decision: Decision) -> QpherError:
    """Return the error of a denial; a quota that is used up is the caller's to wait for."""
    if decision.rule == "quota":
        return RateLimited(f"quota: {decision.reason}", code="ERR_QUOTA_001")
    return PermissionDenied(
        f"policy denies {operation.action}: {decision.reason}",
        rule=decision.rule,
        code="ERR_FORBIDDEN_001" if decision.rule == "plan" else None,
    )


def _compromised(key: KeyVersion | None) -> bool:
    return key is not None and key.state is KeyState.COMPROMISED


def _usable(call: KeyCall[T], key: KeyVersion | None) -> KeyVersion:
    """Return the key if it exists in a state that allows the operation."""
    selector, operation = call.selector, call.operation
    algorithm = selector.algorithm.name
    if key is None:
        which = "active" if selector.version is None else f"version {selector.version} of the"
        raise NotFound(f"no {which} {algorithm} key {selector.name!r}", code="ERR_KMS_002")
    if not operation.states or key.state in operation.states:
        return key
    if key.state is KeyState.COMPROMISED and operation.accepts_compromised:
        if call.accept_compromised:
            return key
        raise StateConflict(
            f"{key.ref} is compromised; {operation.action} needs accept_compromised=True"
        )
    raise StateConflict(
        f"{key.ref} is {key.state}; {operation.action} needs "
        f"{' or '.join(sorted(operation.states))}"
    )


def _policy_request(
    context: RequestContext, tenant: Tenant, call: Request, key: KeyVersion | None, now: datetime
) -> PolicyRequest:
    selector = call.selector
    hybrid = selector is not None and selector.algorithm.hybrid
    features = call.operation.features | call.features()
    return PolicyRequest(
        tenant_id=tenant.id,
        plan=tenant.plan,
        actor=context.actor,
        scopes=context.scopes,
        action=call.operation.action,
        features=features | {"hybrid"} if hybrid else features,
        key_name=selector.name if selector else None,
        algorithm=selector.algorithm.name if selector else None,
        key_version=key.version if key else selector.version if selector else None,
        key_state=str(key.state) if key else None,
        context_keys=frozenset(call.context),
        payload_bytes=call.payload_bytes,
        time=now,
        source=context.source,
    )


def _draft(
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
