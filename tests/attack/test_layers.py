# SPDX-License-Identifier: Apache-2.0
"""Each layer of isolation alone: the others are made to let the rival through, this one refuses.

The layers are those of docs/architecture.md: the store's own conditions, the seal that names the
tenant, the context that every call carries, and the gateway that takes the tenant from the API
key. (Row-level security, PostgreSQL's own part of the second, is in tests/postgresql.)
"""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest

import qpher_core
from qpher_core.asgi import create_app
from qpher_core.errors import IntegrityError, NotFound
from qpher_core.keystore import SealedKeyStore
from qpher_core.models import KeyRecord, KeyRef, KeyVersion
from qpher_core.pipeline import Pipeline
from qpher_core.sealing import Sealer
from tests.attack.conftest import KEM
from tests.contract.table import BACKENDS, backends
from tests.http.server import serving


class World:
    """A service with two tenants; only acme has a key."""

    def __init__(self, kms: qpher_core.Qpher) -> None:
        self.kms = kms
        self.ids = {name: kms.tenants.create(name).id for name in ("acme", "rival")}
        self.acme = kms.session("acme", actor="acme")
        self.rival = kms.session("rival", actor="rival")
        self.acme.keys.generate(KEM)
        self.sent = self.acme.kem.encapsulate()

    def attack(self) -> bytes:
        """Decapsulate what was sent to acme, as the rival."""
        return self.rival.kem.decapsulate(self.sent.kem_ciphertext, 1).shared_secret


@pytest.fixture(params=backends())
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Open a service on each backend."""
    with qpher_core.open(BACKENDS[request.param].url(tmp_path)) as kms:
        yield World(kms)


def _forgetful_store(world: World, patch: pytest.MonkeyPatch) -> None:
    """Give acme's record, whoever asks: conditions forget the tenant."""
    get = SealedKeyStore.get
    records = world.kms._store.keys
    ref = KeyRef(world.ids["acme"], "default", KEM, 1)

    def forgetful(keys: SealedKeyStore, asked: KeyRef) -> KeyVersion | None:
        return get(keys, attrs.evolve(asked, tenant_id=ref.tenant_id))

    patch.setattr(SealedKeyStore, "get", forgetful)
    patch.setattr(SealedKeyStore, "_record", lambda _keys, _key: records.get(ref))
    patch.setattr(SealedKeyStore, "confirm", lambda *_: True)


def _forgetful_context(patch: pytest.MonkeyPatch) -> None:
    """Take any key for the caller's own."""

    def forgetful(pipeline: Pipeline, context: Any, selector: Any) -> KeyVersion | None:
        key = pipeline._keys.get(KeyRef(context.tenant_id, selector.name, KEM, 1))
        # As far as the context can tell, it is the caller's own.
        return (
            None
            if key is None
            else attrs.evolve(key, ref=attrs.evolve(key.ref, tenant_id=context.tenant_id))
        )

    patch.setattr(Pipeline, "_look_up", forgetful)


def _forgetful_seal(world: World, patch: pytest.MonkeyPatch) -> None:
    """Open what is acme's for everybody: the seal does not name the tenant."""
    opened: Callable[..., Any] = Sealer.open
    ref = KeyRef(world.ids["acme"], "default", KEM, 1)
    record = world.kms._store.keys.get(ref)
    assert record is not None

    def forgetful(sealer: Sealer, _record: KeyRecord, use: Callable[[bytes], Any]) -> Any:
        return opened(sealer, record, use)

    patch.setattr(Sealer, "open", forgetful)


def test_with_all_of_them_disabled_the_attack_succeeds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attack of this module is one: without the layers the rival reads acme's secret."""
    _forgetful_store(world, monkeypatch)
    _forgetful_context(monkeypatch)
    _forgetful_seal(world, monkeypatch)
    assert world.attack() == world.sent.shared_secret


def test_the_store_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the store does not find under the caller's tenant is not there."""
    _forgetful_context(monkeypatch)
    _forgetful_seal(world, monkeypatch)
    with pytest.raises(NotFound):
        world.attack()


def test_the_seal_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that is taken for the rival's does not open: its seal names acme."""
    _forgetful_context(monkeypatch)
    ref = KeyRef(world.ids["acme"], "default", KEM, 1)
    record = world.kms._store.keys.get(ref)
    assert record is not None
    own = attrs.evolve(record.key, ref=attrs.evolve(ref, tenant_id=world.ids["rival"]))
    stolen = attrs.evolve(record, key=own)
    monkeypatch.setattr(SealedKeyStore, "get", lambda _keys, _ref: own)
    monkeypatch.setattr(SealedKeyStore, "_record", lambda _keys, _key: stolen)
    monkeypatch.setattr(SealedKeyStore, "confirm", lambda *_: True)
    with pytest.raises(IntegrityError, match="does not authenticate"):
        world.attack()


def test_the_context_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of another tenant than the call's is refused, although it would open."""
    _forgetful_store(world, monkeypatch)
    _forgetful_seal(world, monkeypatch)
    with pytest.raises(IntegrityError, match="another tenant's"):
        world.attack()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        world.rival._context.tenant_id = world.ids["acme"]  # type: ignore[misc]


def test_the_gateway_alone(tmp_path: Path) -> None:
    """Whatever a request says of tenants, its API key says whose it is."""
    with qpher_core.open(f"sqlite:///{tmp_path}/q.db") as kms:
        world = World(kms)
        key = kms.api_keys.create("rival", name="rival", scopes=["kem"])[1]
        acme = str(world.ids["acme"])
        body = {
            "kem_ciphertext": base64.b64encode(world.sent.kem_ciphertext).decode(),
            "key_version": 1,
        }
        with serving(create_app(kms)) as base:
            for claim in ("X-Tenant-Id", "X-Tenant", "Tenant", "X-Forwarded-Tenant"):
                answer = httpx.post(
                    f"{base}/kem/decapsulate",
                    json=body,
                    headers={"x-api-key": key, claim: acme},
                    params={"tenant_id": acme},
                )
                assert answer.status_code in {400, 404}, answer.text
            told = {**body, "tenant_id": acme}
            answer = httpx.post(f"{base}/kem/decapsulate", json=told, headers={"x-api-key": key})
            assert answer.status_code in {400, 404, 422}
        actors = {e.fields["actor"] for e in world.acme.audit.entries()}
        assert "rival" not in actors
