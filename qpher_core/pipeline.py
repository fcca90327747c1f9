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
from typing import Final, TypeVar

from qpher_core._deadline import call_with_deadline
from qpher_core.admission import check_scope, denial, policy_questions, usable_key
from qpher_core.alike import Alike
from qpher_core.audit.entry import EntryDraft, digest
from qpher_core.calls import (
    Call,
    Change,
    Combined,
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
from qpher_core.combined import Apart, Asked, combined, kind_of, request_id_of
from qpher_core.errors import (
    AuditUnavailable,
    AuthenticationError,
    IntegrityError,
    OutcomeUnknown,
    PermissionDenied,
    PolicyUnavailable,
    QpherError,
    RateLimited,
    StateConflict,
    StoreUnavailable,
)
from qpher_core.mixed import record
from qpher_core.models import (
    Decision,
    KeyRef,
    KeyVersion,
    PolicyRequest,
    RequestContext,
    Tenant,
    TenantStatus,
)
from qpher_core.operations import OPERATIONS, Operation, Recording
from qpher_core.protocols import AuditLog, KeyStore, Mark, PolicyEngine, Store, StoreWriter
from qpher_core.recorded import ItemsOf, Recorded, draft_of, items_of_value, itself, recorded
from qpher_core.together import Commit, own_error
from qpher_core.together import Outcome as Ended
from qpher_core.validation import check_name

__all__ = ["Pipeline"]

T = TypeVar("T")
R = TypeVar("R")

_UNKNOWN: Final = Decision(allow=False, rule="unknown", reason="there is no such operation")

#: For stores that always read what is there now.
_FRESH: Final = contextlib.nullcontext()

#: A key whose record changes between the check and the commit is looked at again, so often.
_ATTEMPTS: Final = 32


class Pipeline:
    """Runs calls. Thread-safe.

    Calls of one actor on one key that are made at the same time are run at once (see
    :class:`~qpher_core.calls.Combined`) where neither policy nor keys wait for a network.
    """

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
        self._combines = not self._may_block and getattr(keys, "here", False)
        self._alike = Alike(kind_of, self._run_alike)
        # A decision that takes its time takes longer than what this saves.
        self._lately: Callable[[], contextlib.AbstractContextManager[Mark]] | None = (
            None if self._may_block else getattr(store, "lately", None)
        )

    def run(self, context: RequestContext, call: Call[T] | KeyCall[T]) -> Done[T]:
        """Run one call for one tenant and record it, with those that are alike."""
        if self._combines and isinstance(call, KeyCall) and call.shared is not None:
            ended = self._alike((context, call))
            if ended is not None:
                done: Done[T] = ended.get()
                return done
        return _only(self._run(context, call, itself))

    def run_many(
        self, context: RequestContext, call: KeyCall[Sequence[Item[T]]]
    ) -> list[Done[T] | QpherError]:
        """Run one call on several items: one decision, one durable commit, an entry for each.

        What stops the call as a whole is raised, as by :meth:`run`, and leaves one entry. An
        item that fails alone has its error in the place of its result, and an entry that says so.
        """
        return self._run(context, call, items_of_value)

    def _run_alike(self, asked: Sequence[Asked]) -> Sequence[Ended | None]:
        """Run calls that are alike at once; None for those that are to be run by themselves."""
        context, call = asked[0]
        if len(asked) == 1:
            return [Ended(_only(self._run(context, call, itself)))]
        try:
            done = self._run(context, combined(asked, self._keys), items_of_value)
        except AuditUnavailable as error:
            return [own_error(error) for _ in asked]
        except Exception:  # noqa: BLE001 - such as Apart: each call will have its own
            return [None] * len(asked)
        return [Ended(each) for each in done]

    def _run(
        self, context: RequestContext, call: Call[T] | KeyCall[T], items: ItemsOf[T, R]
    ) -> list[Done[R] | QpherError]:
        request_id = request_id_of(context)
        for attempt in range(_ATTEMPTS):
            try:
                with self._reading(attempt) as mark:
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
        with self._refusals(context, call, request_id_of(context)):
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
        request_id = request_id_of(context)

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
        with self._refusals(context, call, request_id_of(context)):
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
        key = usable_key(call, found)
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
        check_scope(context, call.operation, foreign=foreign)
        for question in policy_questions(context, tenant, call, key, self._clock()):
            decision = self.ask(question)
            if decision.allow is not True:
                raise denial(call.operation, decision)

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
        if not (_is_text(decision.rule) and _is_text(decision.reason)):
            raise PolicyUnavailable("the policy engine's rule or reason cannot be recorded")
        return decision

    def _reading(self, attempt: int) -> contextlib.AbstractContextManager[Mark | None]:
        """Let a first attempt work with rows of a moment ago, if the store has such."""
        if attempt or self._lately is None:
            return _FRESH
        return self._lately()

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
        items: ItemsOf[T, R],
        mark: Mark | None,
    ) -> list[Done[R] | QpherError]:
        # In quotes, here and wherever a call goes through: Python evaluates the annotations of a
        # function inside of another each time.
        def prepared(effect: "Effect[T]") -> "Recorded[R]":
            return recorded(context, call, request_id, key, effect, items)

        def work(
            writer: StoreWriter, prepare: "Callable[[], Recorded[R]]"
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
                what = prepared(outcome)  # out here it keeps nobody waiting
                return self._append(context.tenant_id, lambda w: work(w, lambda: what))
            return self._commit(context.tenant_id, lambda w: work(w, lambda: prepared(outcome(w))))
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
        if isinstance(call, Combined):
            raise Apart from error
        if not isinstance(error, QpherError):
            # Not one of ours: its text could hold anything, so only its type is recorded.
            error = QpherError(f"unexpected {type(error).__name__}")
        denied = isinstance(error, PermissionDenied | PolicyUnavailable | RateLimited)
        outcome, reason = "denied" if denied else "failed", f"{error.code}: {error}"
        draft = draft_of(context, call, request_id, None, outcome, reason)

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


def _only(results: Sequence[Done[T] | QpherError]) -> Done[T]:
    """Return the result of a call on one item, or raise why there is none."""
    (done,) = results
    if isinstance(done, QpherError):
        raise done
    return done


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


def _is_text(value: object) -> bool:
    """Return whether this is text that can be recorded: UTF-8 has no lone surrogates."""
    if not isinstance(value, str):
        return False
    return value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value)
