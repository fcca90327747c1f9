# SPDX-License-Identifier: Apache-2.0
"""Whether a key version can go: what the log tells of its use, and what that means."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from attrs import frozen

from qpher_core.algorithms import ALGORITHMS, Kind
from qpher_core.calls import Withdrawn
from qpher_core.key_usage import KeyUse
from qpher_core.lifecycle import PROTECT, KeyState
from qpher_core.models import KeyVersion, rfc3339

__all__ = ["KeyEvidence", "KeyStillNeeded"]

#: Someone who opened something so recently counts as still depending on the key.
_RECENT: Final = timedelta(days=90)


@frozen
class KeyEvidence:
    """What is known to depend on a key version.

    It is what passed through this service. Who has the public key can encrypt to it anywhere,
    and copies of ciphertexts are not counted.

    Attributes:
        key: the key version.
        use: how it was used, from the audit log.
        successor: the active version of the same key, if it is another.
        at: when this was found.
    """

    key: KeyVersion
    use: KeyUse
    successor: int | None
    at: datetime

    @property
    def remaining(self) -> int:
        """How many values it protected that no migration is known to have moved."""
        return max(0, self.use.protected - self.use.migrated)

    @property
    def against_retiring(self) -> tuple[str, ...]:
        """What speaks against retiring it, each as a sentence; empty if it is safe."""
        if self.key.state not in PROTECT or self.successor is not None:
            return ()
        if self.use.last_protected is None:
            return ()
        last = rfc3339(self.use.last_protected)
        return (f"it is the active version, has no successor, and last protected at {last}",)

    @property
    def against_destroying(self) -> tuple[str, ...]:
        """What speaks against destroying it, each as a sentence; empty if it is safe."""
        return tuple(self._dependents())

    def warning(self, action: str) -> "KeyStillNeeded | None":
        """Return the warning of what speaks against ``retire`` or ``destroy``, if anything does."""
        retiring = action == "retire"
        found = self.against_retiring if retiring else self.against_destroying
        if not found:
            return None
        text = f"{self.key.ref} is to be {'retired' if retiring else 'destroyed'}: "
        return KeyStillNeeded(text + "; ".join(found), self)

    def _dependents(self) -> Iterator[str]:
        if self.key.state is KeyState.DESTROYED:
            return
        if ALGORITHMS[self.key.algorithm].kind is Kind.SIGNATURE:
            if self.use.protected:
                yield f"it made {self.use.protected} signatures, which it will no longer verify"
        elif self.remaining:
            yield (
                f"it protected {self.use.protected} values, of which migrations moved"
                f" {self.use.migrated}; {self.remaining} will be lost if they still exist"
            )
        last = self.use.last_processed
        if last is not None and self.at - last < _RECENT:
            yield f"it was last used to open or verify something at {rfc3339(last)}"


class KeyStillNeeded(UserWarning, Withdrawn):
    """A key version is retired or destroyed although something is known to depend on it.

    It is issued before anything changes: as an error (``warnings.simplefilter("error",
    KeyStillNeeded)``) it stops the change, which leaves no audit entry. ``force=True`` leaves it
    out.

    Attributes:
        evidence: what is known.
    """

    def __init__(self, message: str, evidence: KeyEvidence) -> None:
        super().__init__(message)
        self.evidence = evidence
