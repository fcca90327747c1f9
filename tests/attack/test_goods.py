# SPDX-License-Identifier: Apache-2.0
"""What one tenant owns, in the hands of another and in places where it does not belong."""

import io
import random
from collections.abc import Callable

import pytest

import qpher_core
from qpher_core import DecryptionFailed, IntegrityError, NotFound, Receipt
from qpher_core.file_header import read_header
from qpher_core.models import KeyRef
from qpher_core.service import Qpher
from qpher_core.session import Session
from tests.world import CALLS, KEM, SIGNATURE, Goods, make_goods, snapshot

#: Calls that address an existing key by name.
_OTHERS = {"keys.list", "keys.generate", "keys.import", "keys.import_parameters", "usage.read"}
ADDRESSED = [a for a in CALLS if a not in _OTHERS and not a.startswith("audit.")]


@pytest.fixture
def goods(acme: Session) -> Goods:
    """Return the goods of the tenant that is attacked; the rival has no such names."""
    return make_goods(acme, "their-")


def _seen(attempt: Callable[[], object]) -> tuple[object, ...]:
    """Return all that a caller sees of a refusal."""
    with pytest.raises(qpher_core.QpherError) as caught:
        attempt()
    error = caught.value
    return (
        type(error),
        error.code,
        error.parameter,
        str(error),
        error.__cause__,
        error.__context__,
    )


@pytest.mark.parametrize("action", ADDRESSED)
def test_what_is_foreign_looks_missing(
    kms: Qpher, rival: Session, goods: Goods, action: str
) -> None:
    """With the other's real names, ciphertexts and signatures: what nobody's would give."""
    before = snapshot(kms, "acme")
    missing = _seen(lambda: CALLS[action](rival, goods.named("none!-")))
    foreign = _seen(lambda: CALLS[action](rival, goods))
    assert foreign == (*missing[:3], str(missing[3]).replace("none!-", "their-"), *missing[4:])
    assert foreign[0] is NotFound
    assert snapshot(kms, "acme") == before


def test_a_foreign_private_key_is_not_imported(rival: Session, goods: Goods) -> None:
    """What was wrapped for another tenant opens no better than junk."""
    junk = goods.brought[:11] + bytes(len(goods.brought) - 11)
    attempts = [
        _seen(lambda b=blob: rival.keys.import_key(KEM, b, name="their-brought"))
        for blob in (goods.brought, junk, bytes(len(junk)))
    ]
    assert attempts[0] == attempts[1] == attempts[2]
    assert attempts[0][0] is DecryptionFailed
    assert not rival.keys.list(name="their-brought")


def test_random_mixes_give_what_missing_things_give(
    kms: Qpher, acme: Session, rival: Session
) -> None:
    """Two tenants with equal names swap everything at random: no call tells or changes a thing."""
    choose = random.Random(20260131)
    theirs, own = make_goods(acme), make_goods(rival)
    before = snapshot(kms, "acme")
    junk = {n: bytes(len(getattr(own, n))) for n in ("ciphertext", "wrapped_key", "file")}
    attempts: dict[str, Callable[[dict[str, bytes]], object]] = {
        "ciphertext": lambda g: rival.kem.decrypt(g["ciphertext"], 1, name="k-main"),
        "wrapped_key": lambda g: rival.kem.unwrap(g["wrapped_key"], 1, name="k-main"),
        "file": lambda g: rival.kem.decrypt_file(
            io.BytesIO(g["file"]), io.BytesIO(), 1, name="k-main"
        ),
    }
    foreign = {name: getattr(theirs, name) for name in junk}
    for _ in range(60):
        name = choose.choice(list(attempts))
        assert _seen(lambda n=name: attempts[n](foreign)) == _seen(lambda n=name: attempts[n](junk))
    verify = rival.signatures.verify
    for signature in (theirs.signature, bytes(len(own.signature))):
        assert not verify(b"signed", signature, 1, SIGNATURE, name="k-main").valid
    secret = acme.kem.decapsulate(theirs.kem_ciphertext, 1, name="k-main").shared_secret
    other = rival.kem.decapsulate(theirs.kem_ciphertext, 1, name="k-main").shared_secret
    assert other != secret
    assert snapshot(kms, "acme").keys == before.keys
    assert len(snapshot(kms, "acme").entries) == len(before.entries) + 1


def test_a_foreign_receipt_looks_like_an_invented_one(rival: Session, goods: Goods) -> None:
    """The other's receipt gives the very error that a receipt out of thin air gives."""
    for seq in (goods.receipt.seq, 0, 10_000):
        given = Receipt(goods.receipt.tenant_id, seq, goods.receipt.hash)
        invented = Receipt(goods.receipt.tenant_id, seq, bytes(32))
        foreign = _seen(lambda r=given: rival.audit.entry(r))
        assert foreign == _seen(lambda r=invented: rival.audit.entry(r))
        assert foreign[0] is IntegrityError


def test_store_reads_do_not_cross(kms: Qpher, acme: Session, rival: Session) -> None:
    """Each read of the store under one tenant's id gives nothing that is another's."""
    make_goods(acme, "their-")
    kms.policies.set('[{"rule":"plan"}]', tenant="acme")
    store, mine = kms._store, kms.tenants.get("rival").id
    for key in acme.keys.list():
        if key.name == "default":
            continue
        assert store.keys.get(KeyRef(mine, key.name, key.algorithm, key.version)) is None
        assert store.keys.active(mine, key.name, key.algorithm) is None
        assert not store.keys.find(mine, name=key.name)
    assert {record.key.ref.tenant_id for record in store.keys.find(mine)} == {mine}
    assert {entry.fields["tenant"] for entry in store.audit.read(mine)} == {str(mine)}
    assert store.policies.get(mine) is None
    assert [key.name for key in rival.keys.list()] == ["default", "default"]


def _failures(session: Session, goods: Goods) -> dict[str, Callable[[], object]]:
    kem, main = session.kem, goods.prefix + "main"
    start = read_header(goods.file)
    header, (file_key,) = len(start.encode()), start.recipients
    as_file = start.with_recipients([goods.ciphertext]).encode()

    def opens(data: bytes, context: dict[str, str] | None = None) -> Callable[[], object]:
        return lambda: kem.decrypt_file(
            io.BytesIO(data), io.BytesIO(), 1, name=main, context=context
        )

    return {
        "message as wrapped key": lambda: kem.unwrap(goods.ciphertext, 1, name=main),
        "wrapped key as message": lambda: kem.decrypt(goods.wrapped_key, 1, name=main),
        "kind of a wrapped key altered": lambda: kem.decrypt(
            goods.wrapped_key[:4] + b"\x01" + goods.wrapped_key[5:], 1, name=main
        ),
        "file key as message": lambda: kem.decrypt(file_key, 1, name=main),
        "file key as wrapped key": lambda: kem.unwrap(file_key, 1, name=main),
        "kind of a file key altered": lambda: kem.decrypt(
            file_key[:4] + b"\x01" + file_key[5:], 1, name=main
        ),
        "message as file key": opens(as_file + goods.file[header:]),
        "file with a context": opens(goods.file, {"a": "b"}),
        "file without its stream": opens(goods.file[:header]),
        "file cut by one": opens(goods.file[:-1]),
        "file with one more byte": opens(goods.file + b"\x00"),
        "file of another format": opens(b"X" + goods.file[1:]),
        "no file": opens(b""),
        "stream altered": opens(goods.file[:-1] + bytes([goods.file[-1] ^ 1])),
        "salt altered": opens(
            goods.file[:header] + bytes([goods.file[header] ^ 1]) + goods.file[header + 1 :]
        ),
        "suspended key of another name": lambda: kem.decrypt(
            goods.ciphertext, 1, name=goods.prefix + "suspended"
        ),
        "key as ciphertext": lambda: kem.decrypt(
            session.keys.get(KEM, 1, name=main).public_key, 1, name=main
        ),
    }


def test_every_cause_looks_the_same(acme: Session) -> None:
    """Ciphertexts of the wrong kind, name or form fail alike, down to what is chained to them."""
    goods = make_goods(acme)
    expected = (DecryptionFailed, "ERR_KEM_005", None, str(DecryptionFailed()), None, None)
    for name, attempt in _failures(acme, goods).items():
        assert _seen(attempt) == expected, name
    reasons = {entry.fields["reason"] for entry in acme.audit.entries()}
    assert {r for r in reasons if r.startswith("ERR_KEM")} <= {
        "ERR_KEM_005: the input cannot be decrypted"
    }
