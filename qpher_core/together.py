# SPDX-License-Identifier: Apache-2.0
"""Several calls that one thread has in hand are run at once, or share one durable commit.

A thread that has more to do than the call that comes to its commit says so with :func:`gathering`.
What that call would commit is then handed to the thread, which begins the other calls first, and
commits for all of them with :func:`record_all`. Before that, calls that are alike join
(``qpher_core.alike``). Each call has an entry of its own, and goes on only when that is durable.
"""

import contextlib
import threading
import uuid
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Final, Protocol, TypeVar

from attrs import define, field, frozen

from qpher_core.calls import KeyChanged
from qpher_core.errors import QpherError, StoreUnavailable
from qpher_core.protocols import StoreWriter

__all__ = [
    "Commit",
    "Gather",
    "Joining",
    "Outcome",
    "Recording",
    "gathered",
    "gathering",
    "own_error",
    "record_all",
]

T = TypeVar("T")


class Commit(Protocol):
    """Runs work in one durable transaction, as ``Store.commit`` does."""

    def __call__(
        self, work: Callable[[StoreWriter], T], *, tenant_id: uuid.UUID | None = None
    ) -> T:
        """Return what the work returned."""


@frozen(eq=False)
class Recording:
    """Work that a call wants to have committed; it only appends to the log."""

    commit: Commit
    work: Callable[[StoreWriter], Any] = field(repr=False)
    tenant_id: uuid.UUID | None


@define(eq=False)
class Joining:
    """A call that may be run at once with those of the same kind."""

    kind: Hashable = field(repr=False)
    call: Any = field(repr=False)
    outcome: "Outcome | None" = field(default=None, repr=False)
    ended: bool = False


#: Of a recording, gives what the work returned once it is committed, or raises why it is not. Of
#: a call that joins, gives those that its caller is to run, or None once another one ran it.
Gather = Callable[[Recording | Joining], Any]


@frozen(eq=False)
class Outcome:
    """What came of something: a value, or why there is none."""

    value: Any = field(default=None, repr=False)
    error: Exception | None = None

    def get(self) -> Any:
        """Return the value or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value


_thread: Final = threading.local()


def gathered() -> Gather | None:
    """Return what commits for the calling thread, if it gathers."""
    return getattr(_thread, "gather", None)


@contextlib.contextmanager
def gathering(gather: Gather) -> Iterator[None]:
    """Let the calling thread's recordings go to ``gather`` instead of being committed at once."""
    _thread.gather = gather
    try:
        yield
    finally:
        _thread.gather = None


def record_all(recordings: Sequence[Recording]) -> list[Outcome]:
    """Run the work of several calls, in one durable commit of each store, in the order given.

    Work that raises has its error as its outcome, and takes nothing from the others: what was
    done together is undone then, and each is committed by itself.
    """
    outcomes: dict[int, Outcome] = {}
    for commit in {each.commit: None for each in recordings}:
        chosen = [at for at, each in enumerate(recordings) if each.commit == commit]
        found = _record(commit, [recordings[at] for at in chosen])
        outcomes.update(zip(chosen, found, strict=True))
    return [outcomes[at] for at in range(len(recordings))]


def _record(commit: Commit, recordings: Sequence[Recording]) -> list[Outcome]:
    if len(recordings) == 1:
        return [_alone(recordings[0])]
    tenants = {each.tenant_id for each in recordings}

    def work(writer: StoreWriter) -> list[Outcome]:
        return [_tried(each, writer) for each in recordings]

    try:
        return commit(work, tenant_id=tenants.pop() if len(tenants) == 1 else None)
    except StoreUnavailable as error:
        return [own_error(error) for _ in recordings]
    except Exception:  # noqa: BLE001 - of one of them, which gets it again by itself
        return [_alone(each) for each in recordings]


def _tried(recording: Recording, writer: StoreWriter) -> Outcome:
    try:
        return Outcome(recording.work(writer))
    except KeyChanged as error:  # it looked before it wrote; many may be overtaken by one change
        return Outcome(error=error)


def _alone(recording: Recording) -> Outcome:
    try:
        return Outcome(recording.commit(recording.work, tenant_id=recording.tenant_id))
    except Exception as error:  # noqa: BLE001 - handed to the call whose work it was
        return Outcome(error=error)


def own_error(error: QpherError) -> Outcome:
    """Return the outcome of one of several that failed for one reason; each raises its own."""
    own = type(error)(str(error))
    own.__cause__ = error
    return Outcome(error=own)
