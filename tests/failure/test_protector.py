# SPDX-License-Identifier: Apache-2.0
"""A key protector that is missing, wrong, damaged or out of reach."""

import logging
from pathlib import Path

import pytest

import qpher_core
from qpher_backends.protectors.memory import open_protector
from qpher_core import KeyProtector, ProtectorUnavailable
from tests.failure.conftest import keys_of, last_entry


class Unreachable:
    """A protector that answered once, and does not any more."""

    def __init__(self, inner: KeyProtector) -> None:
        self.inner = inner
        self.reachable = True

    @property
    def kek_id(self) -> str:
        """Id of the KEK."""
        return self.inner.kek_id

    def derive(self, kek_id: str, info: bytes) -> bytes:
        """Derive while reachable."""
        if not self.reachable:
            raise ProtectorUnavailable(f"the token with the KEK {kek_id} does not answer")
        return self.inner.derive(kek_id, info)

    def close(self) -> None:
        """Close."""
        self.inner.close()


def test_a_missing_kek_is_refused_and_none_is_made(url: str, tmp_path: Path) -> None:
    """A store with keys does not open without their KEK; the error names its id and place."""
    kek = tmp_path / "q.db.kek"
    saved = kek.read_bytes()
    needed = saved.decode("ascii").split()[1]
    kek.unlink()
    with pytest.raises(ProtectorUnavailable, match=f"needs the KEK {needed}: .*{kek}"):
        qpher_core.open(url)
    assert not kek.exists()
    kek.touch(mode=0o600)
    kek.write_bytes(saved)
    assert keys_of(url)


def test_a_wrong_kek_is_named(url: str, tmp_path: Path) -> None:
    """The error names the id of the KEK that the records need."""
    kek = tmp_path / "q.db.kek"
    needed = kek.read_text(encoding="ascii").split()[1]
    other = tmp_path / "other.db"
    qpher_core.open(f"sqlite:///{other}").close()
    kek.write_bytes(other.with_name("other.db.kek").read_bytes())
    with pytest.raises(ProtectorUnavailable, match=needed):
        qpher_core.open(url)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"qpher-kek-1 00 AAAA\n", b"something else\n", b"\xff" * 50, b"qpher-kek-2 a b\n"],
)
def test_a_damaged_kek_file_is_refused(url: str, tmp_path: Path, content: bytes) -> None:
    """Whatever is not a KEK file is not taken for one."""
    (tmp_path / "q.db.kek").write_bytes(content)
    with pytest.raises(ProtectorUnavailable, match="kek"):
        qpher_core.open(url)


def test_one_flipped_bit_in_the_kek_is_noticed(url: str, tmp_path: Path) -> None:
    """The id follows from the KEK, so a changed one does not pass."""
    kek = tmp_path / "q.db.kek"
    tag, identifier, encoded = kek.read_text(encoding="ascii").split()
    flipped = ("B" if encoded[0] == "A" else "A") + encoded[1:]
    kek.write_text(f"{tag} {identifier} {flipped}\n", encoding="ascii")
    with pytest.raises(ProtectorUnavailable, match="damaged"):
        qpher_core.open(url)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620])
def test_a_kek_file_that_others_may_touch_is_refused(url: str, tmp_path: Path, mode: int) -> None:
    """Only mode 0600 will do."""
    (tmp_path / "q.db.kek").chmod(mode)
    with pytest.raises(ProtectorUnavailable, match="0600"):
        qpher_core.open(url)


def test_a_new_kek_comes_with_a_warning_that_names_its_path(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who creates a store is told what to back up; the file belongs to its owner alone."""
    with caplog.at_level(logging.WARNING, logger="qpher_core"):
        qpher_core.open(f"sqlite:///{tmp_path}/new.db").close()
    kek = tmp_path / "new.db.kek"
    assert str(kek) in caplog.text
    assert kek.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new.db").stat().st_mode & 0o777 == 0o600


def test_what_needs_the_protector_fails_and_changes_nothing() -> None:
    """Generating and opening need it; an error names the KEK, and nothing is stored."""
    protector = Unreachable(open_protector("memory:", create=True))
    with qpher_core.open("memory:", protector=protector) as kms:
        kms.tenants.create("acme")
        kms.tenants.create("other")
        session = kms.session("other", actor="test")
        protector.reachable = False
        with pytest.raises(ProtectorUnavailable, match=protector.kek_id):
            session.keys.generate("ML-KEM-768")
        assert list(session.keys.list()) == []
        assert list(session.audit.entries())[-1].fields["outcome"] == "failed"
        protector.reachable = True
        assert session.keys.generate("ML-KEM-768").version == 1


def test_a_key_that_is_not_open_yet_cannot_be_used(url: str, tmp_path: Path) -> None:
    """Every use of a key that was not met before fails; a public key once met goes on."""
    from qpher_backends.protectors.file import open_protector as open_file  # noqa: PLC0415

    protector = Unreachable(open_file(f"file://{tmp_path}/q.db.kek", create=False))
    with qpher_core.open(url, protector=protector) as kms:
        session = kms.session("acme", actor="test")
        box = session.kem.encrypt(b"m")
        protector.reachable = False
        kms._keys._sealer.close()  # as if the tenant's derived key had left the cache
        assert session.kem.encrypt(b"m").ciphertext
        with pytest.raises(ProtectorUnavailable, match=protector.kek_id):
            session.kem.decrypt(box.ciphertext, 1)
        with pytest.raises(ProtectorUnavailable):
            session.signatures.sign(b"m")
        protector.reachable = True
        assert session.kem.decrypt(box.ciphertext, 1).plaintext == b"m"
    assert last_entry(url)["outcome"] == "success"


def test_a_provider_that_lacks_an_algorithm_names_one_that_has_it(url: str) -> None:
    """The error says what to open instead."""
    with qpher_core.open(url, primitives="openssl") as kms:
        session = kms.session("acme", actor="test")
        with pytest.raises(qpher_core.AlgorithmUnavailable, match="SLH-DSA-SHA2-128f"):
            session.keys.generate("SLH-DSA-SHA2-128f")
        assert "SLH-DSA-SHA2-128f" not in {row.name for row in kms.algorithms}
