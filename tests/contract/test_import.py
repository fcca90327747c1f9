# SPDX-License-Identifier: Apache-2.0
"""Private keys that callers bring, and public keys in the encodings of others."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

import qpher_core
from qpher_core import (
    DecryptionFailed,
    ImportParameters,
    KeyState,
    NotFound,
    PermissionDenied,
    StateConflict,
    ValidationError,
    wrap_private_key,
)
from qpher_core.algorithms import ALGORITHMS, Kind
from qpher_core.audit.entry import digest
from qpher_core.discovery import open_primitives
from qpher_core.messages import HEADER_BYTES
from qpher_core.models import canonical_json
from qpher_core.public_keys import parse_jwk, parse_pem, parse_spki
from qpher_core.service import Qpher
from qpher_core.session import Session

KEM, SIGNATURE = "ML-KEM-768", "ML-DSA-65"
SEED = bytes(range(64))


def last(session: Session) -> dict[str, Any]:
    """Return the fields of the last audit entry."""
    return [*session.audit.entries()][-1].fields


def wrapped(session: Session, private: bytes = SEED, **what: str) -> bytes:
    """Wrap a private key for a session's tenant."""
    what.setdefault("algorithm", KEM)
    return wrap_private_key(session.keys.import_parameters(), private, **what)


def test_a_key_of_every_algorithm_is_imported(
    service: Qpher, session: Session, algorithm: str
) -> None:
    """The imported key is active, has the public key of its seed, and works."""
    primitives = service._primitives
    row = ALGORITHMS[algorithm]
    kem = row.kind is Kind.KEM
    scheme = (primitives.kems if kem else primitives.signatures)[algorithm]
    seed = scheme.generate_seed()
    key = session.keys.import_key(algorithm, wrapped(session, seed, algorithm=algorithm))
    opened = scheme.open_seed(seed)
    assert key.public_key == (opened.encapsulation_key if kem else opened.public_key)
    assert (key.state, key.version, key.reason) == (KeyState.ACTIVE, 1, "imported")
    assert session.keys.get(algorithm, 1) == key
    if kem:
        ciphertext, secret = scheme.open_encapsulation_key(key.public_key).encapsulate()
        assert session.kem.decapsulate(ciphertext, 1, algorithm).shared_secret == secret
        box = session.kem.encrypt(b"m", algorithm=algorithm)
        assert session.kem.decrypt(box.ciphertext, 1, algorithm).plaintext == b"m"
    else:
        assert session.signatures.verify(b"m", opened.sign(b"m"), 1, algorithm).valid
        signed = session.signatures.sign(b"m", algorithm=algorithm)
        assert scheme.open_public_key(key.public_key).verify(b"m", signed.signature)
    opened.close()


def test_an_import_is_recorded(session: Session) -> None:
    """The entry names the key, and its content is the public key."""
    key = session.keys.import_key(KEM, wrapped(session))
    fields = last(session)
    assert (fields["action"], fields["outcome"], fields["reason"]) == (
        "keys.import",
        "success",
        "imported",
    )
    assert fields["key"] == {"name": "default", "algorithm": KEM, "version": 1}
    content = digest(key.public_key)
    assert content is not None
    assert fields["content"] == content.hex()


def test_an_import_replaces_the_active_version(session: Session) -> None:
    """As generating does: the one before is retired; the next rotation goes on from it."""
    session.keys.generate(KEM)
    assert session.keys.import_key(KEM, wrapped(session)).version == 2
    assert session.keys.get(KEM, 1).state is KeyState.RETIRED
    assert session.keys.rotate(KEM).key_version == 3


def test_a_key_is_imported_once(session: Session) -> None:
    """The same private key does not become a second version, whatever its wrapping."""
    session.keys.import_key(KEM, wrapped(session))
    for _ in range(2):
        with pytest.raises(StateConflict, match="version 1"):
            session.keys.import_key(KEM, wrapped(session))
        session.keys.rotate(KEM)
    session.keys.import_key(KEM, wrapped(session, name="other"), name="other")


def test_a_wrapping_opens_for_its_key_alone(service: Qpher, session: Session) -> None:
    """Another tenant, name or algorithm is refused like any damage, with one message."""
    name = "a stranger to " + str(id(session))
    service.tenants.create(name)
    stranger = service.session(name, actor="test")
    good = wrapped(session, name="mine")
    other = wrapped(session, bytes(32), algorithm=SIGNATURE, name="mine")
    attempts = [
        (stranger, KEM, good, "mine"),
        (session, KEM, good, "Mine"),
        (session, KEM, good, "default"),
        (session, "ML-KEM-1024", good, "mine"),
        (session, KEM, other, "mine"),
        (session, KEM, good[:-1], "mine"),
        (session, KEM, good + b"\x00", "mine"),
        (session, KEM, b"", "mine"),
        (session, KEM, good[:HEADER_BYTES], "mine"),
        (session, KEM, b"\x00" * len(good), "mine"),
        (session, KEM, good[: HEADER_BYTES - 1] + b"\x63" + good[HEADER_BYTES:], "mine"),
        (session, KEM, session_message(session), "mine"),
    ]
    for where in range(0, len(good), 97):
        spoiled = bytearray(good)
        spoiled[where] ^= 1
        attempts.append((session, KEM, bytes(spoiled), "mine"))
    messages = set()
    for who, algorithm, data, key_name in attempts:
        with pytest.raises(DecryptionFailed) as caught:
            who.keys.import_key(algorithm, data, name=key_name)
        messages.add(str(caught.value))
        assert last(who)["outcome"] == "failed"
    assert len(messages) == 1
    assert [key.name for key in session.keys.list()] == ["m"]
    assert session.keys.import_key(KEM, good, name="mine").version == 1


def session_message(session: Session) -> bytes:
    """Return a message of another kind."""
    session.keys.generate("ML-KEM-1024", name="m")
    return session.kem.encrypt(SEED, algorithm="ML-KEM-1024", name="m").ciphertext


def test_a_message_to_the_import_key_is_no_key(service: Qpher, session: Session) -> None:
    """What HPKE opens is checked: its length, its form, and that both halves belong together."""
    parameters = session.keys.import_parameters()

    def sealed(plaintext: bytes, algorithm: str) -> bytes:
        public_key = mlkem.MLKEM1024PublicKey.from_public_bytes(parameters.encapsulation_key)
        info = canonical_json(
            {
                "algorithm": "ML-KEM-1024",
                "context": {
                    "algorithm": algorithm,
                    "name": "default",
                    "tenant": str(parameters.tenant_id),
                },
                "format": "qpher-imported-key/1",
                "name": "import",
                "tenant": "00000000-0000-0000-0000-000000000000",
                "version": parameters.key_version,
            }
        )
        suite = hpke.Suite(hpke.KEM.MLKEM1024, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
        header = b"QPH\x01\x04\x00\x42" + parameters.key_version.to_bytes(4)
        return header + suite.encrypt(plaintext, public_key, info)

    for plaintext, algorithm in (
        (b"", KEM),
        (bytes(32), KEM),
        (bytes(63), KEM),
        (bytes(65), KEM),
        (bytes(2400), KEM),
        (bytes(64), SIGNATURE),
        (bytes(4032), SIGNATURE),
        (bytes(83), "MLDSA65-ECDSA-P256"),
        (bytes(31), "X-Wing"),
    ):
        with pytest.raises((ValidationError, qpher_core.AlgorithmUnavailable)):
            session.keys.import_key(algorithm, sealed(plaintext, algorithm))
        assert last(session)["outcome"] == "failed"
    assert session.keys.list() == []
    # The format is HPKE as others have it: this one was sealed without any code of ours.
    assert session.keys.import_key(KEM, sealed(SEED, KEM)).version == 1
    assert service._primitives


def test_an_expanded_key_is_imported_where_the_provider_opens_it(
    service: Qpher, session: Session
) -> None:
    """FIPS 203 and 204 keys in expanded form work like their seeds; spoiled ones are refused."""
    native = pytest.importorskip("qpher_native")
    for algorithm, made in (
        (KEM, native.MLKEM(KEM).from_seed(SEED)),
        (SIGNATURE, native.MLDSA(SIGNATURE).from_seed(bytes(32))),
    ):
        expanded = bytes(made.expanded())
        blob = wrapped(session, expanded, algorithm=algorithm)
        if service._primitives.name != "native":
            with pytest.raises(qpher_core.AlgorithmUnavailable, match="native"):
                session.keys.import_key(algorithm, blob)
            continue
        for place in (0, len(expanded) // 2, len(expanded) - 40):
            spoiled = bytearray(expanded)
            spoiled[place] ^= 0x40
            with pytest.raises(ValidationError, match="valid private key"):
                session.keys.import_key(
                    algorithm, wrapped(session, bytes(spoiled), algorithm=algorithm)
                )
        key = session.keys.import_key(algorithm, blob)
        public = made.encapsulation_key if algorithm == KEM else made.public_key
        assert key.public_key == bytes(public)
    if service._primitives.name == "native":
        box = session.kem.encrypt(b"m")
        assert session.kem.decrypt(box.ciphertext, 1).plaintext == b"m"
        signed = session.signatures.sign(b"m", algorithm=SIGNATURE)
        assert session.signatures.verify(b"m", signed.signature, 1, SIGNATURE).valid
        with pytest.raises(StateConflict, match="version 1"):  # its seed is the same key
            session.keys.import_key(KEM, wrapped(session))


def test_import_keys_are_rotated(service: Qpher, session: Session) -> None:
    """What was wrapped to the key before still opens; the one before that is destroyed."""
    first, second = (wrapped(session, bytes([n]) * 64, name=f"k{n}") for n in (1, 2))
    before = session.keys.import_parameters()
    rotated = service.imports.rotate(actor="operator")
    after = session.keys.import_parameters()
    assert (after.key_version, after.encapsulation_key) == (rotated.version, rotated.public_key)
    assert after.key_version == before.key_version + 1
    session.keys.import_key(KEM, first, name="k1")
    service.imports.rotate()
    with pytest.raises(DecryptionFailed):
        session.keys.import_key(KEM, second, name="k2")
    assert service.audit.verify().ok


def test_policy_decides_on_imports(service: Qpher, session: Session) -> None:
    """An import is an action of its own; a profile applies to the algorithm."""
    tenant = session.keys.import_parameters().tenant_id
    blob = wrapped(session)
    service.policies.set('[{"rule": "deny", "actions": ["keys.import"]}]', tenant=tenant)
    with pytest.raises(PermissionDenied):
        session.keys.import_key(KEM, blob)
    assert last(session)["outcome"] == "denied"
    with pytest.raises(NotFound):
        session.keys.get(KEM, 1)


def test_wrapping_works_offline(session: Session, tmp_path: Path) -> None:
    """The parameters go as text to a machine that has nothing else, and the wrapping comes back."""
    parameters = session.keys.import_parameters()
    assert ImportParameters.from_json(parameters.to_json()) == parameters
    (tmp_path / "parameters").write_text(parameters.to_json())
    script = (
        "import pathlib, qpher_core\n"
        "text = pathlib.Path('parameters').read_text()\n"
        "parameters = qpher_core.ImportParameters.from_json(text)\n"
        f"blob = qpher_core.wrap_private_key(parameters, bytes(range(64)), algorithm={KEM!r})\n"
        "pathlib.Path('wrapped').write_bytes(blob)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    key = session.keys.import_key(KEM, (tmp_path / "wrapped").read_bytes())
    expected = open_primitives(None).kems[KEM].open_seed(SEED).encapsulation_key
    assert key.public_key == expected


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", "1", '{"format": "qpher-import-parameters/2"}', '{"tenant": 1}'],
)
def test_other_text_is_no_parameters(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValidationError, match="parameters"):
        ImportParameters.from_json(text)


@pytest.mark.parametrize("length", [0, 1, 31, 33, 63, 65, 2399, 4032])
def test_wrapping_refuses_what_no_private_key_is(session: Session, length: int) -> None:
    """A wrong length is noticed before anything is sent."""
    with pytest.raises(ValidationError, match="private_key") as caught:
        wrapped(session, bytes(length))
    assert caught.value.parameter == "private_key"


# --- public keys -------------------------------------------------------------------------------


def test_public_keys_are_encoded(session: Session, algorithm: str) -> None:
    """SPKI and PEM of every algorithm, and JWK of ML-DSA, are read back; pyca agrees."""
    key = session.keys.generate(algorithm)
    expected = (algorithm, key.public_key)
    assert parse_spki(key.to_spki()) == expected
    assert parse_pem(key.to_pem()) == expected
    if algorithm in {"ML-KEM-768", "ML-KEM-1024", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87"}:
        loaded: Any = load_der_public_key(key.to_spki())
        assert loaded.public_bytes_raw() == key.public_key
        pem = loaded.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        assert pem.decode() == key.to_pem()
    if algorithm.startswith("ML-DSA"):
        jwk = key.to_jwk()
        assert (jwk["kty"], jwk["alg"], set(jwk)) == (
            "AKP",
            algorithm,
            {"kty", "alg", "pub", "kid"},
        )
        assert parse_jwk(jwk) == expected
        with pytest.raises(ValidationError, match="private"):
            parse_jwk({**jwk, "priv": "AAAA"})
    else:
        with pytest.raises(ValidationError, match="JWK"):
            key.to_jwk()
