# SPDX-License-Identifier: Apache-2.0
"""What the pipeline is given and what it gives back: calls, their effects, recorded results."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypedDict, TypeVar

from attrs import field, frozen

from qpher_core.algorithms import Algorithm
from qpher_core.errors import QpherError
from qpher_core.models import KeyVersion, Receipt, RequestContext
from qpher_core.operations import Operation
from qpher_core.protocols import KeyStore, StoreWriter

__all__ = [
    "Call",
    "Change",
    "Combined",
    "Common",
    "Done",
    "Effect",
    "Item",
    "KeyCall",
    "KeyChanged",
    "KeySelector",
    "Outcome",
    "Overtaken",
    "Request",
    "Result",
    "Runner",
    "Shared",
    "Withdrawn",
]

T = TypeVar("T")
In = TypeVar("In")
T_co = TypeVar("T_co", covariant=True)


class KeyChanged(Exception):  # noqa: N818 - a signal, not an error
    """What was decided on changed before the commit; the pipeline looks and decides again."""


class Overtaken(Exception):  # noqa: N818 - a signal, not an error
    """Somebody else did meanwhile what was to be done; nothing is done and nothing recorded."""


class Withdrawn(Exception):  # noqa: N818 - a signal, not an error
    """The caller takes a call back before anything is done; nothing is recorded."""


@frozen(cache_hash=True)
class KeySelector:
    """The key that a call addresses; ``version`` None means the active one."""

    name: str
    algorithm: Algorithm
    version: int | None = None


@frozen
class Effect(Generic[T]):
    """What executing a call gave.

    Attributes:
        value: for the caller, once recorded.
        content: what the audit entry's content digest covers.
        key: the key that the entry names, where it is not the one that was resolved.
        reason: for the audit entry, where only executing told it; else it is the call's.
    """

    value: T = field(repr=False)
    content: bytes | None = field(default=None, repr=False)
    key: KeyVersion | None = None
    reason: str = ""


#: The part of a call that writes; it runs inside the transaction of its audit entry.
Change = Callable[[StoreWriter], Effect[T]]


#: What executing gives: an effect, or, where the store changes, the change to run.
Outcome = Effect[T] | Change[T]


#: One item of a call on several: its effect, or why it failed.
Item = Effect[T] | QpherError


@frozen(kw_only=True)
class Request:
    """What both kinds of call have.

    Attributes:
        selector: the key that is addressed, for policy and audit.
        payload_bytes: size of what the caller passed in.
        features: gives the plan features that this call uses beyond its operation's, asked anew
            each time that the pipeline looks at the store.
        reason: the caller's reason, for the audit entry.
        inputs: what the caller passed in, under the names of the HTTP API, for a call that is run
            by a service elsewhere; the rest is in the other members.
    """

    operation: Operation
    selector: KeySelector | None = None
    context: dict[str, str] = field(factory=dict, repr=False)
    payload_bytes: int = 0
    features: Callable[[], frozenset[str]] = field(default=frozenset, repr=False)
    accept_compromised: bool = False
    reason: str = ""
    inputs: Mapping[str, Any] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class Call(Request, Generic[T]):
    """One call of an operation that needs no existing key."""

    execute: Callable[[], Outcome[T]] = field(repr=False)


@frozen
class Shared(Generic[In, T]):
    """How a call is executed together with others that are alike.

    Attributes:
        item: what is this call's own.
        execute: gives the effect of each item, with the key store's key and what ``rest`` is.
        rest: what else executing depends on, equal in calls that are alike.
    """

    item: In = field(repr=False)
    execute: Callable[[KeyStore, KeyVersion, Sequence[In], Any], Sequence[Effect[T]]]
    rest: Hashable = field(default=None, repr=False)


@frozen(kw_only=True)
class KeyCall(Request, Generic[T]):
    """One call of an operation on one existing key version, which the pipeline resolves.

    Attributes:
        shared: for a call that is brief, changes no state and gives no plan features or reason of
            its own, so that several can be executed at once.
    """

    selector: KeySelector
    execute: Callable[[KeyVersion], Outcome[T]] = field(repr=False)
    shared: Shared[Any, T] | None = field(default=None, repr=False)


@frozen(kw_only=True)
class Combined(KeyCall[Sequence[Item[T]]]):
    """Several calls that are alike: one look at the store, one commit, an entry for each.

    Attributes:
        request_ids: of each call.
        sizes: ``payload_bytes`` of the calls, each once; policy is asked about each.
    """

    request_ids: Sequence[str]
    sizes: Sequence[int]


class Common(TypedDict):
    """Members that every result on a key has."""

    key_version: int
    algorithm: str
    request_id: str
    receipt: Receipt


@frozen
class Done(Generic[T]):
    """A recorded call on one key; ``key`` is the version that was used or made."""

    value: T = field(repr=False)
    key: KeyVersion
    request_id: str
    receipt: Receipt

    @property
    def common(self) -> Common:
        """Members for the result that the caller gets."""
        ref = self.key.ref
        return {
            "key_version": ref.version,
            "algorithm": ref.algorithm,
            "request_id": self.request_id,
            "receipt": self.receipt,
        }


class Result(Protocol[T_co]):
    """What running a call gives; :class:`Done` where it was run here."""

    @property
    def value(self) -> T_co:
        """What the call gave."""

    @property
    def common(self) -> Common:
        """Members for the result that the caller gets."""


class Runner(Protocol):
    """Runs calls: the pipeline here, or that of a service elsewhere."""

    @property
    def here(self) -> bool:
        """Whether calls are executed in this process; elsewhere only what has an endpoint is."""

    def run(self, context: RequestContext, call: Call[T] | KeyCall[T], /) -> Result[T]:
        """Run one call and record it."""

    def run_many(
        self, context: RequestContext, call: KeyCall[Sequence[Item[T]]], /
    ) -> Sequence[Result[T] | QpherError]:
        """Run one call on several items: a result or an error for each."""

    def read(self, context: RequestContext, call: Call[T] | KeyCall[T], /) -> T:
        """Run one call that releases only public data."""
