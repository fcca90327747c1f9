# SPDX-License-Identifier: Apache-2.0
"""What a ``Store`` promises of intents, if it can be one of the two of a mixed set-up."""

import uuid
from collections.abc import Callable

import pytest

from qpher_core.models import Intent
from qpher_core.protocols import Participant, ParticipantWriter
from qpher_core.testing.records import Stop


def test_intents_are_kept_until_they_are_removed(participant: Callable[[], Participant]) -> None:
    """Intents are read as they were added, by a later opening too; removing none is nothing."""
    store = participant()
    first = Intent(uuid.uuid4(), ((uuid.uuid4(), 7), (uuid.UUID(int=0), 2**40)))
    second = Intent(uuid.uuid4(), ())
    assert list(store.intents.all()) == []

    def work(writer: ParticipantWriter) -> None:
        writer.intents.add(first)
        assert list(writer.intents.all()) == [first]
        writer.intents.add(second)

    store.commit(work)
    store.close()
    store = participant()
    assert {intent.id: intent for intent in store.intents.all()} == {
        first.id: first,
        second.id: second,
    }
    store.commit(lambda w: w.intents.remove(first.id))
    store.commit(lambda w: w.intents.remove(first.id))
    assert list(store.intents.all()) == [second]

    def fail(writer: ParticipantWriter) -> None:
        writer.intents.remove(second.id)
        raise Stop

    with pytest.raises(Stop):
        store.commit(fail)
    assert list(store.intents.all()) == [second]
    store.close()
