# SPDX-License-Identifier: Apache-2.0
"""What of an item is to be moved, and what the item becomes."""

import contextlib
from collections.abc import Callable, Mapping, Sequence

from attrs import define, field, frozen

from qpher_core import field_values, messages
from qpher_core.calls import KeySelector
from qpher_core.errors import DecryptionFailed, NotFound, QpherError, ValidationError
from qpher_core.file_header import MAGIC, read_header
from qpher_core.lifecycle import KeyState
from qpher_core.migration.journal import Tally
from qpher_core.migration.reencrypt import Value
from qpher_core.migration.report import Failure, ItemId
from qpher_core.migration.sources import Item
from qpher_core.session_keys import Keys
from qpher_core.validation import check_context

__all__ = ["ContextOf", "Finder", "Found", "Part", "address", "failure_of"]

#: The context of an item, by its id.
ContextOf = Callable[[ItemId], Mapping[str, str] | None]

#: A ciphertext with its header.
_Encrypted = tuple[messages.Header, bytes]


@define
class Part(Value):
    """What is encrypted to one key: a message, the key of a field's value, a recipient of a file.

    Attributes:
        rest: what follows the wrapped key in a field's value, which stays.
        result: the new ciphertext, or why there is none; None until it was tried.
    """

    rest: bytes = field(default=b"", kw_only=True, repr=False)
    result: bytes | QpherError | None = field(default=None, kw_only=True, repr=False)


@frozen
class Found:
    """An item that is to be moved.

    Attributes:
        parts: what is to be moved of it.
        there: whether a recipient of it, a file, is the target already.
    """

    item: Item
    parts: Sequence[Part]
    there: bool

    @property
    def failure(self) -> QpherError | None:
        """Why not all parts were moved; a recipient that does not open may be somebody else's."""
        errors = [part.result for part in self.parts if isinstance(part.result, QpherError)]
        told = [error for error in errors if not isinstance(error, DecryptionFailed)]
        if not told and not self.there and len(errors) == len(self.parts):
            told = errors
        return told[0] if told else None

    @property
    def replaced(self) -> bytes | None:
        """The new value, of a file its new header; None if nothing of it was moved."""
        value = self.item.value or b""
        if not value.startswith(MAGIC):
            (part,) = self.parts
            return part.result + part.rest if isinstance(part.result, bytes) else None
        new = {part.data: part.result for part in self.parts if isinstance(part.result, bytes)}
        header = read_header(value)
        recipients = [new.get(old, old) for old in header.recipients]
        return header.with_recipients(recipients).encode() if new else None


@frozen
class Finder:
    """Sorts out what of items is to be moved.

    Attributes:
        target: the new key; without a version, the active one.
        context: the context of each item, or one for all.
        salt: what makes wrapped keys of deterministic values; None where there are none.
    """

    _keys: Keys
    target: KeySelector
    context: ContextOf | dict[str, str] = field(repr=False)
    salt: bytes | None = field(repr=False)

    def find(self, items: Sequence[Item], tally: Tally) -> list[Found]:
        """Sort out what is to be moved; count the rest."""
        target = self._target()
        contexts: dict[frozenset[tuple[str, str]], dict[str, str]] = {}
        all_found = []
        for item in items:
            value = item.value or b""
            encrypted = _encrypted(value)
            wanted = self._wanted(encrypted, target)
            if not encrypted and value.startswith(MAGIC) and not _ciphertexts(value):
                tally.failed.append(failure_of(item, DecryptionFailed()))  # a damaged header
            elif not encrypted:
                tally.ignored += 1
            elif not wanted:
                tally.already += 1
            else:
                try:
                    parts = [self._part(item, *part, contexts) for part in wanted]
                except QpherError as error:
                    tally.failed.append(failure_of(item, error))
                    continue
                there = len(encrypted) > 1 and target in [address(h) for h, _ in encrypted]
                all_found.append(Found(item, parts, there))
        return all_found

    def _part(
        self,
        item: Item,
        header: messages.Header,
        ciphertext: bytes,
        contexts: dict[frozenset[tuple[str, str]], dict[str, str]],
    ) -> Part:
        """Return a part with its context; equal contexts of a batch are one object."""
        bound = self.context
        if not isinstance(bound, dict):
            given = check_context(bound(item.id))
            bound = contexts.setdefault(frozenset(given.items()), given)
        if header.kind is not messages.Kind.FIELD_KEY:
            return Part(header, bound, ciphertext)
        parts = field_values.FieldValue.from_bytes(item.value or b"")
        if parts.deterministic and self.salt is None:
            raise ValidationError("a deterministic value needs the field's salt", parameter="salt")
        rest = parts.salt + parts.sealed
        return Part(header, bound, parts.wrapped_key, parts.deterministic, rest=rest)

    def _target(self) -> tuple[str, int]:
        """Return the key version that items are to be under, now."""
        target = self.target
        if target.version is not None:
            return target.algorithm.name, target.version
        return target.algorithm.name, self._keys.active(
            target.algorithm.name, name=target.name
        ).version

    def _wanted(self, found: Sequence[_Encrypted], target: tuple[str, int]) -> list[_Encrypted]:
        """Return what is not under the target; of a file, all recipients that may be ours.

        If none is, that is told of one.
        """
        others = [one for one in found if address(one[0]) != target]
        if len(found) <= 1:  # nearly all that is moved
            return others
        ours = [one for one in others if self._has(one[0])]
        return ours or others[: len(others) == len(found)]

    def _has(self, header: messages.Header) -> bool:
        """Return whether the key of a recipient may be one of ours, that is not destroyed."""
        with contextlib.suppress(NotFound):
            name = self.target.name
            key = self._keys.get(header.algorithm, header.version, name=name)
            return key.state is not KeyState.DESTROYED
        return False


def address(header: messages.Header) -> tuple[str, int]:
    """Return algorithm and version of the key that a ciphertext is under."""
    return header.algorithm, header.version


def failure_of(item: Item, error: QpherError) -> Failure:
    """Return why an item stays as it is, for the report."""
    return Failure(item.id, error.code, str(error))


def _ciphertexts(value: bytes) -> Sequence[bytes]:
    """Return what is encrypted to keys in a value: itself, or each recipient of a file."""
    return read_header(value).recipients if value.startswith(MAGIC) else [value]


def _encrypted(value: bytes) -> list[_Encrypted]:
    """Return the same with their headers, as far as they are ours and can be moved."""
    return [
        (header, ciphertext)
        for ciphertext in _ciphertexts(value)
        if (header := messages.read_header(ciphertext)) is not None
        and header.kind is not messages.Kind.IMPORTED_KEY
    ]
