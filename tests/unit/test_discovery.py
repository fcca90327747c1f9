# SPDX-License-Identifier: Apache-2.0
"""From URLs and names to the code behind them, and opening a service."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import qpher_core
from qpher_core import discovery
from qpher_core.discovery import (
    open_policy,
    open_primitives,
    open_protector,
    open_store,
    providers_of,
)
from qpher_core.errors import (
    PolicyUnavailable,
    ProtectorUnavailable,
    StoreUnavailable,
    ValidationError,
)
from qpher_core.models import Decision, PolicyRequest


@pytest.fixture
def extra_points(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install entry points of a stranger: one whose package is missing, one that is not."""
    real = discovery.entry_points

    def entry_points(*, group: str) -> list[EntryPoint]:
        points = [*real(group=group), EntryPoint("absent", "no_such_package.module:open", group)]
        if group == "qpher.backends":
            points.append(EntryPoint("guest", "qpher_backends.memory:open_store", group))
        return points

    monkeypatch.setattr(discovery, "entry_points", entry_points)
    discovery._table.cache_clear()
    providers_of.cache_clear()
    yield
    discovery._table.cache_clear()
    providers_of.cache_clear()


@pytest.mark.parametrize(
    "url", ["", "qpher.db", ":", ":memory:", "/path/to/db", "file:///a\0b", "sqlite:///a\0b"]
)
def test_a_store_needs_a_url(url: str) -> None:
    """What has no scheme, or has a NUL as no place has, is refused with an example."""
    with pytest.raises(ValidationError, match="must be a URL such as") as caught:
        open_store(url, parameter="url")
    assert caught.value.parameter == "url"


@pytest.mark.parametrize("scheme", ["sqlite:///", "file://"])
def test_stores_in_files_take_no_parameters(tmp_path: Path, scheme: str) -> None:
    """Parameters as other libraries take them are refused, not made part of a file's name."""
    for parameters in ("?mode=ro", "?timeout=5&cache=shared"):
        with pytest.raises(ValidationError, match="without parameters"):
            open_store(f"{scheme}{tmp_path}/q{parameters}", parameter="url")
    assert not list(tmp_path.iterdir())
    open_store(f"{scheme}{tmp_path}/what?", parameter="url").close()


def test_unknown_schemes_are_named() -> None:
    """An unknown scheme is refused, and what is installed is told."""
    with pytest.raises(ValidationError, match=r"'carrierpigeon'.*memory.*sqlite"):
        open_store("carrierpigeon://coop", parameter="keys")
    with pytest.raises(ValidationError, match="'carrierpigeon'"):
        open_protector("carrierpigeon://coop", create=True)
    with pytest.raises(ValidationError, match=r"'nonsense'.*openssl"):
        open_primitives("nonsense")


@pytest.mark.usefixtures("extra_points")
def test_a_missing_package_names_the_extra() -> None:
    """A scheme whose package is missing tells which package and how to install it."""
    with pytest.raises(ValidationError, match=r"no_such_package.*install 'qpher-core\[absent\]'"):
        open_store("absent://x", parameter="url")
    assert "absent" not in providers_of("ML-KEM-768")


@pytest.mark.usefixtures("extra_points")
def test_strangers_register_as_built_ins_do() -> None:
    """An entry point of another distribution is found under its scheme and gets the whole URL."""
    with pytest.raises(ValidationError, match="url must be 'memory:'"):
        open_store("guest://place", parameter="url")


def test_ready_made_objects_pass_through() -> None:
    """Wherever a URL is taken, an object is taken instead, as it is."""
    store = open_store("memory:", parameter="url")
    protector = open_protector("memory:", create=True)
    primitives = open_primitives("openssl")
    assert open_store(store, parameter="url") is store
    assert open_protector(protector, create=False) is protector
    assert open_primitives(primitives) is primitives
    engine = open_policy("rules:", store)
    assert open_policy(engine, store) is engine
    with qpher_core.open(store, protector=protector, primitives=primitives, policy=engine) as kms:
        assert kms.tenants.create("acme") == store.tenants.all()[0]


def test_no_provider_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any provider the error says so."""
    monkeypatch.setattr(discovery, "_table", lambda _group: {})
    with pytest.raises(ValidationError, match="installed: none"):
        open_primitives(None)


def test_the_default_is_the_c_core_where_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name the C core is taken, or OpenSSL's primitives where it was not built."""
    monkeypatch.setattr(discovery, "_native_is_built", lambda: False)
    assert open_primitives(None).name == "openssl"
    monkeypatch.undo()
    pytest.importorskip("qpher_native", reason="the C core is not built")
    assert open_primitives(None).name == "native"


def test_a_core_that_fails_its_test_is_not_replaced() -> None:
    """A C core that is built and refuses to work stops the opening; nothing steps in for it."""
    pytest.importorskip("qpher_native", reason="the C core is not built")
    code = "import qpher_core; qpher_core.open('memory:')"
    environment = {**os.environ, "QPHER_NATIVE_CPU": "abacus"}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode != 0
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("qpher_core.errors.AlgorithmUnavailable: primitives 'native' refuses")
    assert "abacus" in last


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("memory://x", "memory:"),
        ("memory:x", "memory:"),
        ("sqlite:", "sqlite:///"),
        ("sqlite://x", "sqlite:///"),
        ("sqlite:///", "sqlite:///"),
    ],
)
def test_malformed_urls_of_built_ins(url: str, what: str) -> None:
    """Each backend refuses a URL that is not of its form, and shows the form."""
    with pytest.raises(ValidationError, match=what) as caught:
        open_store(url, parameter="url")
    assert caught.value.parameter == "url"


def test_policy_urls() -> None:
    """The rule chain takes no more than its scheme."""
    store = open_store("memory:", parameter="url")
    with pytest.raises(ValidationError, match="rules:"):
        open_policy("rules:more", store)


def test_open_needs_a_store() -> None:
    """Without any URL the error shows one."""
    with pytest.raises(ValidationError, match=r"sqlite:///qpher\.db"):
        qpher_core.open()


def test_open_takes_one_store_of_keys() -> None:
    """Two stores of keys are refused; the same store may be named for both parts."""
    with pytest.raises(ValidationError, match="must not differ from url"):
        qpher_core.open("memory:", keys="sqlite:///x")
    with qpher_core.open(keys="memory:", audit="memory:") as kms:
        assert kms.tenants.list() == []


@pytest.mark.parametrize("url", ["mixed:", "mixed:keys=memory:", "mixed:memory: audit=memory:"])
def test_a_mixed_url_names_two_stores(url: str) -> None:
    """A URL of a mixed set-up that lacks one of the stores is refused with its form."""
    with pytest.raises(ValidationError, match="mixed:keys=<URL> audit=<URL>"):
        qpher_core.open(url)


def test_open_needs_the_kek_of_what_is_stored(tmp_path: Path) -> None:
    """A store with keys does not open under a new or a missing KEK, and the error names it."""
    url, kek = f"sqlite:///{tmp_path}/q.db", tmp_path / "q.db.kek"
    with qpher_core.open(url) as kms:
        kms.tenants.create("acme")
        kms.session("acme", actor="x").keys.generate("ML-KEM-768")
    content = kek.read_bytes()
    kek.unlink()
    with pytest.raises(ProtectorUnavailable, match=r"q\.db\.kek"):
        qpher_core.open(url)
    assert not kek.exists()
    with pytest.raises(ProtectorUnavailable, match="cannot hold the KEK"):
        qpher_core.open(url, protector="memory:")
    with pytest.raises(ProtectorUnavailable, match=content.split()[1].decode()):
        qpher_core.open(url, protector=open_protector("memory:", create=True))
    kek.write_bytes(content)
    kek.chmod(0o644)
    with pytest.raises(ProtectorUnavailable, match="0600"):
        qpher_core.open(url)
    kek.chmod(0o600)
    with qpher_core.open(url) as kms:
        assert kms.session("acme", actor="x").kem.encrypt(b"").key_version == 1


def test_open_needs_a_place(tmp_path: Path) -> None:
    """A database in a folder that does not exist is unavailable, by its path."""
    with pytest.raises(StoreUnavailable, match="nowhere"):
        qpher_core.open(f"sqlite:///{tmp_path}/nowhere/q.db")


def test_a_service_can_be_opened_twice_by_name(tmp_path: Path) -> None:
    """Two services on one file are one service."""
    url = f"sqlite:///{tmp_path}/q.db"
    with qpher_core.open(url) as one, qpher_core.open(url) as two:
        one.tenants.create("acme")
        two.session("acme", actor="x").keys.generate("ML-DSA-44")
        signed = one.session("acme", actor="y").signatures.sign(b"", algorithm="ML-DSA-44")
        assert two.audit.has(signed.receipt)
        two.tenants.suspend("acme")
        with pytest.raises(qpher_core.AuthenticationError):
            one.session("acme", actor="y").keys.list()


class Raising:
    """A policy engine that cannot answer."""

    def decide(self, request: PolicyRequest) -> Decision:
        """Raise."""
        raise OSError(request.action)


def test_a_policy_engine_may_be_any_object() -> None:
    """An engine that raises makes every operation unavailable."""
    with qpher_core.open("memory:", policy=Raising()) as kms:
        kms.tenants.create("acme")
        with pytest.raises(PolicyUnavailable, match="OSError"):
            kms.session("acme", actor="x").keys.generate("ML-KEM-768")
