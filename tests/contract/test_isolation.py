# SPDX-License-Identifier: Apache-2.0
"""Two tenants: whatever one calls with the other's things, it learns and changes nothing of them.

Every public method of a session is found by looking for them, and so is every method of a store
that reads: one that is new is tried without a line here, or fails for want of an argument.
"""

import inspect
import io
import random
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

import qpher_core
from qpher_core.errors import NotFound, QpherError
from qpher_core.models import KeyRef
from qpher_core.protocols import Store
from qpher_core.recipients import KeyRecipient
from qpher_core.service import Qpher
from qpher_core.session import Session
from tests.records import append, new_record, new_tenant

KEM, SIGNATURE = "ML-KEM-768", "ML-DSA-65"
SECRET: Final = b"a secret of one tenant alone, 32"
PARTS: Final = ("keys", "kem", "signatures", "audit", "usage")
ATTEMPTS: Final = 120

#: Methods that make a key of the caller's own under any name.
_MAKING: Final = {"generate", "import_key"}

#: What a session gives to call later: tried by tests/contract/test_session_fields.py.
_LATER: Final = {"field"}


def methods(session: Session) -> dict[str, Callable[..., Any]]:
    """Return every public method of a session."""
    found = {}
    for part in PARTS:
        for name, method in inspect.getmembers(getattr(session, part), callable):
            if not name.startswith("_") and name not in _LATER:
                found[f"{part}.{name}"] = method
    return found


class Things:
    """What a tenant has, as arguments of methods, by the names of their parameters."""

    def __init__(self, session: Session, name: str, folder: Path) -> None:
        for algorithm in (KEM, SIGNATURE):
            session.keys.generate(algorithm, name=name)
        kem, signatures = session.kem, session.signatures
        box = kem.encrypt(SECRET, name=name).ciphertext
        sent = kem.encapsulate(name=name)
        signed = signatures.sign(b"m", name=name)
        encrypted = io.BytesIO()
        kem.encrypt_file(io.BytesIO(SECRET), encrypted, name=name)
        self.secrets = {SECRET, sent.shared_secret}
        several = io.BytesIO()
        (folder / "plain").write_bytes(SECRET)
        kem.encrypt_files({"a": folder / "plain"}, several, name=name)
        self._file, self._several, self._folder = encrypted.getvalue(), several.getvalue(), folder
        self._values: dict[str, Any] = {
            "key_version": 1,
            "name": name,
            "ciphertext": box,
            "ciphertexts": [box],
            "kem_ciphertext": sent.kem_ciphertext,
            "kem_ciphertexts": [sent.kem_ciphertext],
            "wrapped_key": kem.wrap(SECRET, name=name).wrapped_key,
            "recipients": [kem.wrap_file_key(SECRET, name=name).wrapped_key],
            "signature": signed.signature,
            "pairs": [(b"m", signed.signature)],
            "receipt": signed.receipt,
            "after": session.keys.get(KEM, 1, name=name),
            "wrapped": bytes(1400),
            "message": b"m",
            "messages": [b"m"],
            "hash_value": bytes(32),
            "hash_algorithm": "SHA-256",
            "plaintext": b"m",
            "plaintexts": [b"m"],
            "symmetric_key": bytes(32),
            "file_key": bytes(32),
            "field_keys": [bytes(32)],
            "wrapped_keys": kem.wrap_field_keys([SECRET], name=name).wrapped_keys,
            "count": 1,
            "envelope": kem.encrypt_local(SECRET, name=name),
        }

    def arguments(self, path: str, method: Callable[..., Any], name: str | None) -> dict[str, Any]:
        """Return what to call a method with; all that it requires, and what addresses a key."""
        given: dict[str, Any] = {}
        values = {**self._values, **self._files(path, name)}
        for parameter in inspect.signature(method).parameters.values():
            if parameter.name == "algorithm":
                given["algorithm"] = SIGNATURE if path.startswith("signatures.") else KEM
            elif parameter.name in values:
                given[parameter.name] = values[parameter.name]
            else:
                assert parameter.default is not inspect.Parameter.empty, (path, parameter.name)
        if name is not None and "name" in given:
            given["name"] = name
        return given

    def _files(self, path: str, name: str | None) -> dict[str, Any]:
        """Return what the methods on files are given, anew each time."""
        several = path == "kem.decrypt_files"
        to = [KeyRecipient(KEM, 1, name or "private")]
        changing = self._folder / uuid.uuid4().hex
        changing.write_bytes(self._file)
        return {
            "source": io.BytesIO(self._several if several else self._file),
            "target": io.BytesIO(),
            "sources": {"a": self._folder / "plain"},
            "folder": self._folder / uuid.uuid4().hex,
            "path": changing,
            "to": to,
            **({"recipients": to} if path.startswith("kem.encrypt_file") else {}),
        }


@pytest.fixture
def tenants(service: Qpher, session: Session, tmp_path: Path) -> tuple[Session, Session, Things]:
    """Return a tenant, a rival and what the first has, under a name that the rival has not."""
    rival = service.tenants.create(f"rival-{uuid.uuid4()}")
    return session, service.session(rival.name, actor="rival"), Things(session, "private", tmp_path)


def outcome(call: Callable[[], object]) -> tuple[object, ...]:
    """Return what a call that must fail says."""
    try:
        result = call()
    except QpherError as error:
        text = str(error).replace("private", "absent!")
        return type(error), error.code, text
    assert isinstance(result, list), result  # a batch: an error for each item
    return tuple(type(item) for item in result)


def test_what_the_other_has_looks_like_nothing(tenants: tuple[Session, Session, Things]) -> None:
    """Addressed by a name, each method says of the other's key what it says of none."""
    _, rival, things = tenants
    tried = 0
    for path, method in methods(rival).items():
        if "name" not in inspect.signature(method).parameters or path == "keys.list":
            continue
        if path.partition(".")[2] in _MAKING:
            continue
        foreign = outcome(lambda m=method, p=path: m(**things.arguments(p, m, "private")))
        missing = outcome(lambda m=method, p=path: m(**things.arguments(p, m, "absent!")))
        assert foreign == missing, path
        assert foreign[0] is NotFound, path
        tried += 1
    assert tried > 25


def _bytes(result: object) -> Iterator[bytes]:
    """Yield every piece of bytes in a result."""
    if isinstance(result, bytes):
        yield result
    elif isinstance(result, io.BytesIO):
        yield result.getvalue()
    elif isinstance(result, list | tuple):
        for item in result:
            yield from _bytes(item)
    elif attrs.has(type(result)):
        for field in attrs.fields(type(result)):
            yield from _bytes(getattr(result, field.name))


def test_random_calls_learn_and_change_nothing(
    service: Qpher, tenants: tuple[Session, Session, Things]
) -> None:
    """Every method, with the other's things and keys of the same names: nothing comes out."""
    acme, rival, things = tenants
    for algorithm in (KEM, SIGNATURE):
        rival.keys.generate(algorithm, name="private")
    keys, entries = list(acme.keys.list()), [e.hash for e in acme.audit.entries()]
    choose, every = random.Random(11), methods(rival)
    texts: list[str] = []
    for path in [*every, *choose.choices(list(every), k=ATTEMPTS)]:
        arguments = things.arguments(path, every[path], choose.choice(("private", "other")))
        try:
            result = every[path](**arguments)
        except QpherError as error:
            texts.append(str(error))
            continue
        seen = list(result) if inspect.isgenerator(result) else result
        pieces = [*_bytes(seen), *_bytes(arguments.get("target"))]
        assert not any(secret in piece for secret in things.secrets for piece in pieces), path
    assert list(acme.keys.list()) == keys
    assert [e.hash for e in acme.audit.entries()] == entries
    mine = acme.audit.entries(limit=1)
    assert {e.tenant_id for e in rival.audit.entries()}.isdisjoint(e.tenant_id for e in mine)
    assert not any(secret in text.encode() for secret in things.secrets for text in texts)
    box = things.arguments("kem.decrypt", acme.kem.decrypt, None)["ciphertext"]
    assert acme.kem.decrypt(box, 1, name="private").plaintext == SECRET


def test_every_read_of_a_store_is_of_one_tenant(store: Store) -> None:
    """Each method that takes a tenant gives nothing of another, with all of its identifiers."""
    acme, rival = new_tenant(), new_tenant("rival")
    record = new_record(acme.id)

    def fill(writer: Any) -> None:
        writer.tenants.insert(acme)
        writer.tenants.insert(rival)
        writer.keys.insert(record)
        append(writer, acme.id)
        writer.policies.insert(qpher_core.models.PolicyDocument(acme.id, 1, "[]"))

    store.commit(fill)
    key = record.key
    foreign = KeyRef(rival.id, key.name, key.algorithm, key.version)
    assert store.keys.get(foreign) is None
    assert store.keys.active(rival.id, key.name, key.algorithm) is None
    assert [*store.keys.find(rival.id)] == []
    assert [*store.keys.find(rival.id, name=key.name, algorithm=key.algorithm)] == []
    assert [*store.keys.find(rival.id, after=key.ref)] == []
    assert store.audit.head(rival.id) == (0, bytes(32))
    assert store.audit.state(rival.id).size == 0
    assert [*store.audit.read(rival.id)] == []
    assert [*store.anchors.read(rival.id)] == []
    assert store.anchors.latest(rival.id) is None
    assert store.policies.get(rival.id) is None
    assert store.policies.revision(rival.id, 1) is None
    assert [*store.service_keys.find(rival.id)] == []
    assert [k.key.ref for k in store.keys.find(acme.id)] == [key.ref]


@pytest.mark.parametrize(
    "name", ["ACME", "acme.", "acme/../rival", "..", "a%00b", "\u0430cme", "acme\u200b", "CON"]
)
def test_names_that_resemble_each_other(service: Qpher, name: str) -> None:
    """Case, dots, slashes, look-alikes: each name is a tenant and a key of its own."""
    unique = str(uuid.uuid4())
    first = service.tenants.create(f"acme{unique}")
    second = service.tenants.create(f"{name}{unique}")
    assert first.id != second.id
    one, other = (service.session(t.name, actor="x") for t in (first, second))
    one.keys.generate(KEM, name="acme")
    box = one.kem.encrypt(b"m", name="acme").ciphertext
    assert list(other.keys.list()) == []
    one.keys.generate(KEM, name=name)
    with pytest.raises(qpher_core.QpherError):
        one.kem.decrypt(box, 1, name=name)
    assert one.kem.decrypt(box, 1, name="acme").plaintext == b"m"
    assert len(one.keys.list(name=name)) == 1
