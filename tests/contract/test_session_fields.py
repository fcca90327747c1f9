# SPDX-License-Identifier: Apache-2.0
"""What ``session.kem.field`` promises for encrypted fields of applications."""

import copy
import pickle
from typing import Any

import pytest

from qpher_core.errors import (
    AlgorithmUnavailable,
    DecryptionFailed,
    PermissionDenied,
    StateConflict,
    ValidationError,
)
from qpher_core.field_values import FieldValue
from qpher_core.messages import digests
from qpher_core.service import Qpher
from qpher_core.session import Session
from tests.contract.table import Provider

KEM = "ML-KEM-768"
COLUMN = {"table": "patients", "column": "diagnosis"}
SALT = bytes(range(32))
VALUES = ["", "größe \U0001f511", b"", b"\x00\xff" * 500, "text", b"text"]
ROWS = [{"id": str(n)} for n in range(len(VALUES))]


def entries(session: Session, start: int) -> list[dict[str, Any]]:
    """Return the fields of the entries from a place on."""
    return [entry.fields for entry in session.audit.entries(start=start)]


def size(session: Session) -> int:
    """Return how many entries there are."""
    return len(entries(session, 0))


def test_values_open_as_what_they_were(session: Session, kem: str) -> None:
    """Text comes back as text and bytes as bytes, alone and together, under every KEM."""
    session.keys.generate(kem)
    field = session.kem.field(algorithm=kem, context=COLUMN)
    stored = field.encrypt_many(VALUES, rows=ROWS)
    assert field.decrypt_many(stored, rows=ROWS) == VALUES
    other = session.kem.field(context=COLUMN)
    assert other.decrypt(stored[1], row=ROWS[1]) == VALUES[1]
    assert other.decrypt(field.encrypt("alone")) == "alone"


def test_a_batch_is_one_encapsulation_and_one_entry(session: Session) -> None:
    """Many values share a wrapped key; the entry tells how many, and binds that key."""
    session.keys.generate(KEM)
    field, before = session.kem.field(context=COLUMN, remember=0), size(session)
    stored = field.encrypt_many([f"value {n}" for n in range(100)])
    assert len(set(stored)) == 100
    wrapped = {FieldValue.from_bytes(value).wrapped_key for value in stored}
    assert len(wrapped) == 1
    assert len({FieldValue.from_bytes(value).salt for value in stored}) == 100
    assert field.decrypt_many(stored)[7] == "value 7"
    made, opened = entries(session, before)
    assert (made["action"], made["reason"]) == ("kem.encrypt_field", "100 values; field keys: 1")
    assert (opened["action"], opened["reason"]) == ("kem.decrypt_field", "1 values; field keys")
    assert made["content"] == opened["content"] != digests(wrapped).hex()
    assert session.keys.evidence(KEM, 1).use.protected == 100


def test_an_opened_key_is_remembered_for_a_while(session: Session) -> None:
    """Within that time values of the batch open without the service; forgetting ends it."""
    session.keys.generate(KEM)
    field = session.kem.field()
    stored = field.encrypt_many(["a", "b"])
    before = size(session)
    assert [field.decrypt(value) for value in (*stored, *stored)] == ["a", "b", "a", "b"]
    assert size(session) == before + 1
    field.forget()
    assert field.decrypt(stored[0]) == "a"
    forgetful = session.kem.field(remember=0)
    assert [forgetful.decrypt(value) for value in stored] == ["a", "b"]
    assert size(session) == before + 4


def test_rotation_and_states_count_for_the_next_value(session: Session) -> None:
    """New values come under the active version; former ones open while their version may."""
    session.keys.generate(KEM)
    field = session.kem.field(remember=0)
    old = field.encrypt("old")
    session.keys.rotate(KEM)
    new = field.encrypt("new")
    versions = [FieldValue.from_bytes(value).header.version for value in (old, new)]
    assert versions == [1, 2]
    assert field.decrypt_many([new, old]) == ["new", "old"]
    session.keys.compromise(KEM, 1)
    with pytest.raises(StateConflict):
        field.decrypt(old)
    assert session.kem.field(accept_compromised=True).decrypt(old) == "old"
    session.keys.suspend(KEM, 2)
    with pytest.raises(StateConflict):
        session.kem.field(2).encrypt("x")


def test_contexts_and_rows_bind(session: Session) -> None:
    """A value opens in its own field, row and key name alone; all refusals look the same."""
    session.keys.generate(KEM)
    session.keys.generate(KEM, name="other")
    field = session.kem.field(context=COLUMN)
    stored = field.encrypt("secret", row={"id": "1"})
    attempts = [
        (session.kem.field(context={**COLUMN, "column": "name"}), stored, {"id": "1"}),
        (session.kem.field(), stored, {"id": "1"}),
        (session.kem.field(name="other", context=COLUMN), stored, {"id": "1"}),
        (field, stored, {"id": "2"}),
        (field, stored, None),
    ]
    for other, value, row in attempts:
        with pytest.raises(DecryptionFailed) as caught:
            other.decrypt(value, row=row)
        assert str(caught.value) == "the input cannot be decrypted"
        assert caught.value.__context__ is None
    assert field.decrypt(stored, row={"id": "1"}) == "secret"


def test_altered_and_mixed_values_are_refused(session: Session) -> None:
    """One changed bit anywhere, a cut, and parts of two values put together do not open."""
    session.keys.generate(KEM)
    field = session.kem.field(context=COLUMN)
    one, two = (field.encrypt_many([word, "same batch"]) for word in ("one", "two"))
    message = len(FieldValue.from_bytes(one[0]).wrapped_key)
    bad = [
        one[0][:message] + two[0][message:],
        two[0][:message] + one[1][message:],
        one[0][: message + 16] + one[1][message + 16 :],
        *(one[0][:cut] for cut in (0, 3, 11, message, message + 16, len(one[0]) - 1)),
        one[0] + b"\x00",
        session.kem.encrypt(b"a message").ciphertext,
    ]
    for place in (0, 3, 4, 6, 10, 11, 600, message - 1, message, message + 16, len(one[0]) - 1):
        changed = bytearray(one[0])
        changed[place] ^= 1
        bad.append(bytes(changed))
    for value in bad:
        with pytest.raises(DecryptionFailed):
            field.decrypt(value)
    mixed = field.decrypt_many([one[0], bad[0], two[1]])
    assert (mixed[0], type(mixed[1]), mixed[2]) == ("one", DecryptionFailed, "same batch")


def test_deterministic_values_can_be_looked_up(session: Session, provider: Provider) -> None:
    """Equal values of equal rows are equal, under any field object; anything else differs."""
    session.keys.generate(KEM)
    field = session.kem.field(context=COLUMN, mode="deterministic", salt=SALT)
    if not provider.deterministic:
        with pytest.raises(AlgorithmUnavailable):
            field.encrypt("alice")
        return
    stored = field.encrypt_many(["alice", "bob", "alice"])
    assert stored[0] == stored[2] != stored[1]
    again = session.kem.field(context=COLUMN, mode="deterministic", salt=SALT)
    assert again.encrypt("alice") == stored[0]
    others = [
        session.kem.field(context=COLUMN, mode="deterministic", salt=bytes(32)).encrypt("alice"),
        session.kem.field(mode="deterministic", salt=SALT).encrypt("alice"),
        again.encrypt(b"alice"),
        again.encrypt("alice", row={"id": "1"}),
    ]
    assert len({stored[0], *others}) == 5
    assert len({value[-40:] for value in (stored[0], *others)}) == 5
    assert session.kem.field(context=COLUMN).decrypt_many(stored) == ["alice", "bob", "alice"]


def test_policy_decides_on_the_deterministic_mode(
    service: Qpher, session: Session, provider: Provider
) -> None:
    """A plan without the feature refuses it, by name, and encrypts all the same otherwise."""
    session.keys.generate(KEM)
    service.tenants.set_plan(tenant_of(session), "growth")
    assert session.kem.field().encrypt("x")
    with pytest.raises(PermissionDenied):
        session.kem.field(mode="deterministic", salt=SALT).encrypt("x")
    assert entries(session, 0)[-1]["action"] == "kem.encrypt_field"


def tenant_of(session: Session) -> str:
    """Return the id of a session's tenant."""
    return str(session._context.tenant_id)


def test_another_tenant_opens_nothing(service: Qpher, session: Session) -> None:
    """A value moved to another tenant with a key of the same name and version does not open."""
    session.keys.generate(KEM)
    rival_name = f"rival-of-{tenant_of(session)}"
    service.tenants.create(rival_name)
    rival = service.session(rival_name, actor="rival")
    rival.keys.generate(KEM)
    stored = session.kem.field(context=COLUMN).encrypt("secret")
    with pytest.raises(DecryptionFailed):
        rival.kem.field(context=COLUMN).decrypt(stored)


@pytest.mark.parametrize(
    ("arguments", "parameter"),
    [
        ({"context": {"a": 1}}, "context value"),
        ({"mode": "deterministic"}, "salt"),
        ({"mode": "deterministic", "salt": bytes(31)}, "salt"),
        ({"salt": SALT}, "salt"),
        ({"mode": "fast"}, "mode"),
        ({"remember": -1}, "remember"),
        ({"remember": True}, "remember"),
        ({"algorithm": "ML-DSA-65"}, "algorithm"),
        ({"key_version": 0}, "key_version"),
        ({"name": ""}, "name"),
    ],
)
def test_bad_settings_are_named(
    session: Session, arguments: dict[str, Any], parameter: str
) -> None:
    """A field that is asked for wrongly is refused at once."""
    with pytest.raises(ValidationError) as caught:
        session.kem.field(**arguments)
    assert caught.value.parameter == parameter


def test_bad_values_are_named_and_change_nothing(session: Session) -> None:
    """What cannot be a value or row is refused with its place, before anything is recorded."""
    session.keys.generate(KEM)
    field, before = session.kem.field(), size(session)
    calls: list[tuple[Any, str]] = [
        (lambda: field.encrypt(None), "values[0]"),  # type: ignore[arg-type]
        (lambda: field.encrypt_many(["a", 1]), "values[1]"),  # type: ignore[list-item]
        (lambda: field.encrypt("\ud800"), "values[0]"),
        (lambda: field.encrypt_many([]), "values"),
        (lambda: field.encrypt_many("text"), "values"),
        (lambda: field.encrypt_many(["a"], rows=[]), "rows"),
        (lambda: field.encrypt_many(["a"], rows=[{}, {}]), "rows"),
        (lambda: field.encrypt("a", row={"id": 1}), "rows[0]"),  # type: ignore[dict-item]
        (lambda: field.decrypt("text"), "values[0]"),  # type: ignore[arg-type]
        (lambda: session.kem.wrap_field_keys([bytes(31)]), "field_keys[0]"),
        (lambda: session.kem.wrap_field_keys([bytes(32)] * 2, values=1), "values"),
    ]
    for call, parameter in calls:
        with pytest.raises(ValidationError) as caught:
            call()
        assert (caught.value.parameter or "").startswith(parameter)
    assert size(session) == before


def test_a_field_gives_nothing_away(session: Session) -> None:
    """Its text names the key alone, and it does not pickle or copy."""
    field = session.kem.field(context={"secret-name": "secret-value"}, salt=SALT,
                              mode="deterministic")  # fmt: skip
    assert repr(field) == "<Field under the ML-KEM-768 key 'default'>"
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled"):
            attempt(field)
