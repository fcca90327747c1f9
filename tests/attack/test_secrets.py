# SPDX-License-Identifier: Apache-2.0
"""Secrets stay where they belong: canaries are looked for everywhere else."""

import base64
import copy
import logging
import pickle
import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest

import qpher_core
from qpher_backends.primitives.openssl import OpenSSL
from qpher_core.protocols import KemScheme, SignatureScheme

PLAINTEXT = b"canary plaintext 5e1f0c"
SYMMETRIC_KEY = b"canary symmetric key 0123456789a"
CONTEXT_VALUE = "canary context value 77aa"


class _Recorder:
    """A scheme that remembers each seed it generated."""

    def __init__(self, inner: KemScheme | SignatureScheme, seeds: list[bytes]) -> None:
        self._inner = inner
        self._seeds = seeds

    def generate_seed(self) -> bytes:
        """Generate and remember."""
        self._seeds.append(self._inner.generate_seed())
        return self._seeds[-1]

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


class Recording:
    """The real primitives, with their seeds remembered."""

    name = "recording"

    def __init__(self) -> None:
        real = OpenSSL()
        self.seeds: list[bytes] = []
        self.kems: Mapping[str, KemScheme] = {
            n: _Recorder(s, self.seeds)  # type: ignore[misc]
            for n, s in real.kems.items()
        }
        self.signatures: Mapping[str, SignatureScheme] = {
            n: _Recorder(s, self.seeds)  # type: ignore[misc]
            for n, s in real.signatures.items()
        }


def _forms(secret: bytes) -> list[bytes]:
    """Return the ways in which a secret could be written down."""
    return [
        secret,
        secret.hex().encode(),
        secret.hex().upper().encode(),
        base64.b64encode(secret)[: len(secret)],
        repr(secret)[2:-1].encode(),
    ]


def _assert_absent(secrets: list[bytes], haystack: bytes, where: str) -> None:
    for secret in secrets:
        for form in _forms(secret):
            assert form not in haystack, where


class Used:
    """A service after every operation on every algorithm, and all that it gave out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.primitives = Recording()
        self.kms = qpher_core.open(f"sqlite:///{folder}/q.db", primitives=self.primitives)
        self.kms.tenants.create("acme")
        self.session = self.kms.session("acme", actor="test")
        self.shown: list[object] = [self.kms, self.session, self.session.keys, self.session.kem]
        self.shown += [self.session.signatures, self.session.audit, self.kms._pipeline]
        self.shown += [self.kms._keys, self.kms._keys._sealer, self.kms._protector]
        self.secrets = [PLAINTEXT, SYMMETRIC_KEY, CONTEXT_VALUE.encode()]
        for row in self.kms.algorithms:
            self.shown.append(self.session.keys.generate(row.name))
            if row.kind == "kem":
                self._use_kem(row.name)
            else:
                self._use_signature(row.name)
        self.errors = [self._fail(number) for number in range(4)]
        self.secrets += self.primitives.seeds
        kek = (folder / "q.db.kek").read_text(encoding="ascii").split()[2]
        self.secrets.append(base64.b64decode(kek))

    def _use_kem(self, name: str) -> None:
        kem, context = self.session.kem, {"row": CONTEXT_VALUE}
        box = kem.encrypt(PLAINTEXT, algorithm=name, context=context)
        wrapped = kem.wrap(SYMMETRIC_KEY, algorithm=name, context=context)
        sent = kem.encapsulate(algorithm=name)
        received = kem.decapsulate(sent.kem_ciphertext, 1, name)
        assert sent.shared_secret == received.shared_secret
        self.secrets.append(sent.shared_secret)
        self.shown += [box, wrapped, sent, received]
        self.shown.append(kem.decrypt(box.ciphertext, 1, name, context=context))
        self.shown.append(kem.unwrap(wrapped.wrapped_key, 1, name, context=context))
        key = self.session.keys.get(name, 1)
        self.shown.append(self.kms._keys.open_decapsulation(key))

    def _use_signature(self, name: str) -> None:
        signed = self.session.signatures.sign(PLAINTEXT, algorithm=name)
        self.shown.append(signed)
        self.shown.append(self.session.signatures.verify(PLAINTEXT, signed.signature, 1, name))
        self.shown.append(self.kms._keys.open_signing(self.session.keys.get(name, 1)))

    def _fail(self, number: int) -> qpher_core.QpherError:
        kem, context = self.session.kem, {"row": CONTEXT_VALUE}
        box = kem.encrypt(PLAINTEXT, context=context).ciphertext
        attempts = (
            lambda: kem.decrypt(box[:-1], 1, context=context),
            lambda: kem.wrap(SYMMETRIC_KEY + b"!"),
            lambda: kem.encrypt(PLAINTEXT, key_version=9, context=context),
            lambda: kem.encrypt(PLAINTEXT, context={"row": CONTEXT_VALUE + "\x00"}),
        )
        with pytest.raises(qpher_core.QpherError) as caught:
            attempts[number]()
        return caught.value


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Used:
    """Use everything once, with all logging on."""
    folder = tmp_path_factory.mktemp("secrets")
    handler = logging.FileHandler(folder / "log.txt")
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        return Used(folder)
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
        handler.close()


def test_the_canaries_would_be_found(used: Used) -> None:
    """There is a seed for every algorithm, and a planted one is found."""
    assert len(used.primitives.seeds) == len(used.kms.algorithms)
    with pytest.raises(AssertionError, match="planted"):
        _assert_absent(used.secrets, b"..." + used.primitives.seeds[0].hex().encode(), "planted")


def test_the_database_holds_no_secret(used: Used) -> None:
    """Neither the database nor its write-ahead log contains one, in any form."""
    files = [file for file in used.folder.iterdir() if file.name.startswith("q.db")]
    files = [file for file in files if file.suffix != ".kek"]
    assert files
    for file in files:
        _assert_absent(used.secrets, file.read_bytes(), file.name)


def test_logs_hold_no_secret(used: Used) -> None:
    """With every logger at DEBUG, nothing secret is logged; that something is logged shows it."""
    log = (used.folder / "log.txt").read_bytes()
    assert b"key encryption key" in log
    _assert_absent(used.secrets, log, "log")


def test_audit_entries_hold_no_secret(used: Used) -> None:
    """The log of all these operations contains none of their secrets and no context value."""
    for entry in used.session.audit.entries():
        _assert_absent(used.secrets, entry.body, str(entry.seq))


def test_representations_hold_no_secret(used: Used) -> None:
    """``repr`` and ``str`` of everything that can be reached show none."""
    for thing in used.shown:
        _assert_absent(used.secrets, f"{thing!r}{thing}".encode(), type(thing).__name__)


def test_errors_and_tracebacks_hold_no_secret(used: Used) -> None:
    """Neither the text of an error, nor its causes, nor its traceback shows one."""
    for error in used.errors:
        text = "".join(traceback.TracebackException.from_exception(error).format())
        _assert_absent(used.secrets, f"{error!r}{error.args}{text}".encode(), type(error).__name__)


def test_what_carries_a_secret_cannot_be_pickled_or_copied(used: Used) -> None:
    """Results with plaintexts, opened keys, the sealer and the KEKs refuse; nothing else tells."""
    for thing in used.shown:
        try:
            data = pickle.dumps(thing)
        except TypeError:
            with pytest.raises(TypeError):
                copy.deepcopy(thing)
            continue
        _assert_absent(used.secrets, data, type(thing).__name__)


def test_destroying_erases_the_seed_from_the_database(used: Used) -> None:
    """After destroy the sealed seed is in no file of the database either."""
    name = "ML-DSA-44"
    ref = used.session.keys.get(name, 1).ref
    record = used.kms._store.keys.get(ref)
    assert record is not None
    assert record.sealed is not None
    used.session.keys.compromise(name, 1)
    used.session.keys.destroy(name, 1)
    used.kms.close()  # the last connection merges the write-ahead log
    assert record.sealed not in (used.folder / "q.db").read_bytes()
