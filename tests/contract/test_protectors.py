# SPDX-License-Identifier: Apache-2.0
"""What every key protector must do."""

import copy
import pickle
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import qpher_core
from qpher_core.discovery import open_protector
from qpher_core.errors import ProtectorUnavailable, QpherError
from qpher_core.models import SERVICE
from qpher_core.protocols import KeyProtector
from tests.contract.protectors import PROTECTORS, Place

KEM = "ML-KEM-768"


@pytest.fixture(scope="module", params=PROTECTORS)
def scheme(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Run what a protector needs: a token, a server."""
    running, _ = PROTECTORS[request.param]
    with running(tmp_path_factory.mktemp("running")):
        yield request.param


@pytest.fixture
def place(scheme: str, tmp_path: Path) -> Place:
    """Return places for KEKs."""
    return PROTECTORS[scheme][1](tmp_path)


@pytest.fixture
def protector(place: Place) -> Iterator[KeyProtector]:
    """Open a protector with a new KEK."""
    opened = open_protector(place.url("one"), create=True)
    yield opened
    opened.close()


def test_keys_are_derived(protector: KeyProtector) -> None:
    """A derived key is 32 bytes; it follows from the info, and from all of it."""
    infos = [b"", b"a", b"b", b"ab", b"a" * 300, b"a\x00"]
    keys = [protector.derive(protector.kek_id, info) for info in infos]
    assert {len(key) for key in keys} == {32}
    assert len(set(keys)) == len(infos)
    assert keys == [protector.derive(protector.kek_id, info) for info in infos]


def test_a_kek_is_there_when_it_is_opened_again(place: Place, protector: KeyProtector) -> None:
    """The same place gives the same KEK, also to one who may make a new one."""
    if not place.durable:
        pytest.skip("this protector keeps nothing")
    expected = protector.kek_id, protector.derive(protector.kek_id, b"x")
    protector.close()
    for create in (False, True):
        again = open_protector(place.url("one"), create=create)
        assert (again.kek_id, again.derive(again.kek_id, b"x")) == expected
        again.close()


def test_two_can_be_open_at_once(place: Place, protector: KeyProtector) -> None:
    """Closing one of two that are open leaves the other."""
    if not place.durable:
        pytest.skip("this protector keeps nothing")
    other = open_protector(place.url("one"), create=False)
    assert other.derive(other.kek_id, b"x") == protector.derive(other.kek_id, b"x")
    other.close()
    assert len(protector.derive(protector.kek_id, b"x")) == 32


def test_other_places_have_other_keks(place: Place, protector: KeyProtector) -> None:
    """Each KEK has an id and derived keys of its own."""
    other = open_protector(place.url("two"), create=True)
    assert other.kek_id != protector.kek_id
    assert other.derive(other.kek_id, b"x") != protector.derive(protector.kek_id, b"x")
    with pytest.raises(ProtectorUnavailable, match=protector.kek_id):
        other.derive(protector.kek_id, b"x")
    other.close()


def test_no_kek_is_made_unasked(place: Place) -> None:
    """Where there is none, opening refuses, names the scheme, and makes none."""
    if place.creates:
        url = place.url("missing")
    else:
        url = place.url("missing")
        place.lose("missing")
    for _ in range(2):
        with pytest.raises(ProtectorUnavailable, match=url.partition(":")[0] + "|file|json"):
            open_protector(url, create=False)


def test_unknown_keks_are_named(scheme: str, protector: KeyProtector) -> None:
    """The error tells the id that was asked for, and the scheme."""
    with pytest.raises(ProtectorUnavailable, match="0123456789abcdef") as caught:
        protector.derive("0123456789abcdef", b"x")
    assert scheme in str(caught.value)


def test_a_closed_protector_derives_nothing(protector: KeyProtector) -> None:
    """Closing is final, and can be repeated."""
    kek_id = protector.kek_id
    for _ in range(2):
        protector.close()
        with pytest.raises(ProtectorUnavailable, match=kek_id):
            protector.derive(kek_id, b"x")


def test_threads_share_a_protector(protector: KeyProtector) -> None:
    """Derivations at the same time do not mix."""
    infos = [str(number).encode() for number in range(32)]
    expected = [protector.derive(protector.kek_id, info) for info in infos]
    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(lambda i: protector.derive(protector.kek_id, i), infos)] == expected


def test_nothing_secret_is_shown(place: Place, protector: KeyProtector) -> None:
    """A protector shows no secret, and can be neither copied nor pickled."""
    shown = repr(protector) + str(protector)
    try:
        protector.derive("0123456789abcdef", b"x")
    except ProtectorUnavailable:
        shown += traceback.format_exc()
    assert not [secret for secret in place.secrets() if secret in shown]
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leave(protector)


def test_tenants_have_keys_of_their_own(place: Place, tmp_path: Path) -> None:
    """Each tenant's records are sealed under a key of its own, derived from the KEK."""
    asked: list[tuple[str, bytes]] = []

    class Spy:
        def __init__(self, inner: KeyProtector) -> None:
            self.inner, self.kek_id = inner, inner.kek_id

        def derive(self, kek_id: str, info: bytes) -> bytes:
            key = self.inner.derive(kek_id, info)
            asked.append((info.hex(), key))
            return key

        def close(self) -> None:
            self.inner.close()

    spy = Spy(open_protector(place.url("tenants"), create=True))
    with qpher_core.open("memory:", protector=spy) as kms:
        tenants = [kms.tenants.create(name).id for name in ("acme", "rival")]
        for tenant in tenants:
            kms.session(tenant, actor="test").keys.generate(KEM)
    for tenant in (*tenants, SERVICE):
        assert [info for info, _ in asked if info.endswith(tenant.hex)]
    keys = dict(asked)
    assert len(set(keys.values())) == len(keys) >= 3


def test_a_service_is_opened_again(place: Place, tmp_path: Path) -> None:
    """What was sealed under a protector opens with it, and with no other KEK in its place."""
    if not place.durable:
        pytest.skip("this protector keeps nothing")
    store = f"sqlite:///{tmp_path}/service.db"
    with qpher_core.open(store, protector=place.url("service")) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="test")
        session.keys.generate(KEM)
        box = session.kem.encrypt(b"m")
        kek_id = kms.protector.status().kek_id
    with qpher_core.open(store, protector=place.url("service")) as kms:
        session = kms.session("acme", actor="test")
        assert session.kem.decrypt(box.ciphertext, 1).plaintext == b"m"
    before = (tmp_path / "service.db").read_bytes()
    other = place.url("another")
    open_protector(other, create=True).close()
    with pytest.raises(ProtectorUnavailable, match=kek_id):
        qpher_core.open(store, protector=other)
    place.lose("service")
    with pytest.raises(ProtectorUnavailable):
        qpher_core.open(store, protector=place.url("service") if place.creates else "env://GONE")
    with pytest.raises(QpherError):  # nothing new was put in the place of what was lost
        open_protector(place.url("service") if place.creates else "env://GONE", create=False)
    assert (tmp_path / "service.db").read_bytes() == before


def test_a_second_kek_in_the_same_place(place: Place, tmp_path: Path) -> None:
    """Where a place can hold several KEKs, a new one is made there and the old one stays."""
    store = f"sqlite:///{tmp_path}/service.db"
    with qpher_core.open(store, protector=place.url("one")) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="test")
        session.keys.generate(KEM)
        box = session.kem.encrypt(b"m")
        old = kms.protector.status().kek_id
        if not place.renews:
            with pytest.raises(qpher_core.ValidationError, match="no second KEK"):
                kms.protector.use()
            return
        new = kms.protector.use()
        report = kms.protector.rewrap()
        assert (report.kek_id, report.replaced) == (new, (old,))
    with qpher_core.open(store, protector=place.url("one")) as kms:
        session = kms.session("acme", actor="test")
        assert session.kem.decrypt(box.ciphertext, 1).plaintext == b"m"
        assert kms.protector.status().kek_id == new
