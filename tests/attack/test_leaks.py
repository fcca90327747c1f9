# SPDX-License-Identifier: Apache-2.0
"""Ways on which a secret could get out when something goes wrong."""

import gc
import io
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

import qpher_core
from qpher_backends.primitives.openssl import OpenSSL
from qpher_core.protocols import KemScheme, SignatureScheme
from qpher_core.sealing import Seed
from qpher_core.session import Session

CANARY = b"canary 0a1b2c3d4e5f of the file"


class _Talkative:
    """A scheme whose errors quote the seed, as a careless provider's could."""

    def __init__(self) -> None:
        self.seeds: list[bytes] = []

    def generate_seed(self) -> bytes:
        """Return a seed."""
        self.seeds.append(OpenSSL().kems["ML-KEM-768"].generate_seed())
        return self.seeds[-1]

    def open_seed(self, seed: bytes) -> object:
        """Fail, loudly."""
        raise ValueError(f"cannot use {seed.hex()}")


def test_the_text_of_an_unexpected_error_is_not_recorded() -> None:
    """Of an exception that is not ours, the log keeps the type and nothing else."""
    scheme = _Talkative()
    kems: Mapping[str, KemScheme] = {"ML-KEM-768": scheme}  # type: ignore[dict-item]
    signatures: Mapping[str, SignatureScheme] = {}
    provider = SimpleNamespace(name="talkative", kems=kems, signatures=signatures)
    with qpher_core.open("memory:", primitives=provider) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="test")
        with pytest.raises(ValueError, match="cannot use"):
            session.keys.generate("ML-KEM-768")
        (last,) = list(session.audit.entries())[-1:]
        assert last.fields["outcome"] == "failed"
        assert last.fields["reason"] == "ERR_INTERNAL_001: unexpected ValueError"
        assert scheme.seeds[0].hex().encode() not in last.body
        assert list(session.keys.list()) == []


def test_no_seed_outlives_its_sealing(acme: Session) -> None:
    """After a key is made, and after one could not be made, no seed is left in memory's heap."""
    acme.keys.generate("X-Wing")
    acme.keys.rotate("X-Wing")
    with pytest.raises(qpher_core.NotFound):
        acme.keys.rotate("X-Wing", name="none")
    gc.collect()
    assert not [thing for thing in gc.get_objects() if isinstance(thing, Seed)]


def test_seeds_are_found_while_they_are_there() -> None:
    """The search of the test above would find one."""
    kept = SimpleNamespace(seed=Seed(bytes(32), "X-Wing", b""))
    assert repr(kept.seed) == "<Seed of a X-Wing key>"
    assert [t for t in gc.get_objects() if isinstance(t, SimpleNamespace) and t == kept]
    holders = gc.get_referents(kept.__dict__)
    assert any(isinstance(thing, Seed) for thing in holders)


class _Breaks(io.BytesIO):
    """A file that fails after its first chunks."""

    def read(self, size: int | None = -1) -> bytes:
        """Read, or fail."""
        if self.tell() > 40_000:
            raise OSError("the disk is broken")
        return super().read(size)


def test_a_file_that_fails_midway_leaves_no_plaintext(acme: Session, tmp_path: Path) -> None:
    """Neither a broken source nor a cut ciphertext leaves a file, complete or not, behind."""
    folder = tmp_path / "out"
    folder.mkdir()
    box = io.BytesIO()
    acme.kem.encrypt_file(io.BytesIO(CANARY * 3000), box, key_version=1)
    attempts = {
        "cut": io.BytesIO(box.getvalue()[:-20]),
        "altered": io.BytesIO(box.getvalue()[:60_000] + b"\x00" + box.getvalue()[60_001:]),
        "broken": _Breaks(box.getvalue()),
    }
    for name, source in attempts.items():
        with pytest.raises((qpher_core.DecryptionFailed, OSError)):
            acme.kem.decrypt_file(source, folder / name, 1)
        assert list(folder.iterdir()) == []
    for path in tmp_path.glob("q.db*"):
        assert CANARY not in path.read_bytes()


def test_a_file_is_not_decrypted_without_a_record(
    kms: qpher_core.Qpher, acme: Session, tmp_path: Path
) -> None:
    """While the log cannot record, not one byte of a file's plaintext is written."""
    box, out = io.BytesIO(), io.BytesIO()
    acme.kem.encrypt_file(io.BytesIO(CANARY), box)
    (tmp_path / "q.db").rename(tmp_path / "gone.db")
    box.seek(0)
    with pytest.raises(qpher_core.AuditUnavailable):
        acme.kem.decrypt_file(box, out, 1)
    assert out.getvalue() == b""
