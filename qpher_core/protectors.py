# SPDX-License-Identifier: Apache-2.0
"""The key protectors of an open service, as one: asked within a deadline, failing closed."""

import threading
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from qpher_core._deadline import call_with_deadline
from qpher_core.discovery import open_protector
from qpher_core.errors import ProtectorUnavailable, QpherError, ValidationError
from qpher_core.protocols import KeyProtector

__all__ = ["PROTECTOR_DEADLINE", "Protectors"]

T = TypeVar("T")

#: Seconds that a protector may take for one answer: Argon2id takes part of one, a service some.
PROTECTOR_DEADLINE: Final = 10.0
_KEY_BYTES: Final = 32


class Protectors:
    """Implements ``KeyProtector`` over several; the first seals a store that is new.

    Which KEK seals an existing store, the store says (``qpher_core.keks``).

    Args:
        members: URLs or ready-made protectors, at least one.
        create: whether the first may make a KEK where it has none.
        deadline: seconds for each call.

    Raises:
        ValidationError: a URL is not one, or a package is missing.
        ProtectorUnavailable: a protector cannot be opened; the message names its scheme.
    """

    def __init__(
        self, members: Sequence[str | KeyProtector], *, create: bool, deadline: float
    ) -> None:
        if not members:
            raise ValidationError("protector must not be an empty list", parameter="protector")
        self._deadline = deadline
        self._lock = threading.Lock()
        self._members: tuple[tuple[str, KeyProtector], ...] = ()
        try:
            for number, member in enumerate(members):
                self.add(member, create=create and number == 0)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<Protectors {', '.join(name for name, _ in self._members)}>"

    @property
    def kek_id(self) -> str:
        """Id of the KEK that seals a new store."""
        return self._members[0][1].kek_id

    def add(self, target: str | KeyProtector, *, create: bool) -> str:
        """Open another protector and return the id of the KEK that it would seal with."""
        if isinstance(target, str):
            name = target.partition(":")[0]
            member = self._ask(name, "", lambda: open_protector(target, create=create))
        else:
            name, member = type(target).__name__, open_protector(target, create=create)
        with self._lock:
            self._members = (*self._members, (name, member))
        return member.kek_id

    def renew(self) -> str:
        """Make a new KEK where the first protector keeps its own, and return its id.

        Raises:
            ValidationError: this protector cannot make another one.
        """
        name, member = self._members[0]
        make: Callable[[], str] | None = getattr(member, "renew", None)
        if make is None:
            raise ValidationError(
                f"the protector {name} makes no second KEK: name the protector of the new one",
                parameter="target",
            )
        return self._ask(name, "", make)

    def derive(self, kek_id: str, info: bytes) -> bytes:
        """Return the 32-byte key derived from a KEK for ``info``."""
        refusals = []
        for name, member in sorted(self._members, key=lambda m: m[1].kek_id != kek_id):
            try:
                return self._derive(name, member, kek_id, info)
            except ProtectorUnavailable as error:
                refusals.append(error)
        if len(refusals) == 1:
            raise refusals[0]
        told = "; ".join(str(refusal) for refusal in refusals)
        raise ProtectorUnavailable(f"no protector gives the KEK {kek_id}: {told}")

    def close(self) -> None:
        """Close all of them."""
        for _, member in self._members:
            member.close()

    def _derive(self, name: str, member: KeyProtector, kek_id: str, info: bytes) -> bytes:
        if getattr(member, "may_block", True):
            key = self._ask(name, kek_id, lambda: member.derive(kek_id, info))
        else:
            key = member.derive(kek_id, info)
        if not isinstance(key, bytes) or len(key) != _KEY_BYTES:
            raise ProtectorUnavailable(f"{name}: no 32-byte key came from the KEK {kek_id}")
        return key

    def _ask(self, name: str, kek_id: str, call: Callable[[], T]) -> T:
        """Return what a protector answers in time; only the type of a foreign error is told."""
        which = f" for the KEK {kek_id}" if kek_id else ""
        try:
            return call_with_deadline(call, self._deadline)
        except QpherError:
            raise
        except TimeoutError:
            raise ProtectorUnavailable(
                f"{name}: no answer{which} within {self._deadline:g} s"
            ) from None
        except Exception as error:  # noqa: BLE001 - whatever a driver raises
            raise ProtectorUnavailable(f"{name}: {type(error).__name__}{which}") from None
