# SPDX-License-Identifier: Apache-2.0
"""What ``session.kem`` promises for messages, secrets and wrapped keys."""

import copy
import pickle

import pytest

from qpher_core.algorithms import ALGORITHMS
from qpher_core.errors import (
    AlgorithmUnavailable,
    DecryptionFailed,
    NotFound,
    QpherError,
    ValidationError,
)
from qpher_core.service import Qpher
from qpher_core.session import Session
from tests.contract.table import Provider

CONTEXT = {"table": "patients", "größe": "\U0001f511", "empty": ""}
HEADER = 11
TAG = 16
CANNOT = "the input cannot be decrypted"


@pytest.mark.parametrize("size", [0, 1, 15, 16, 1000, 100_000])
def test_messages_open_again(session: Session, kem: str, size: int) -> None:
    """A message of any size decrypts to itself and grows by header, encapsulation and tag."""
    session.keys.generate(kem)
    plaintext = bytes(range(256)) * 400
    plaintext = plaintext[:size]
    box = session.kem.encrypt(plaintext, algorithm=kem)
    assert len(box.ciphertext) == HEADER + ALGORITHMS[kem].output_bytes + size + TAG
    assert session.kem.decrypt(box.ciphertext, 1, kem).plaintext == plaintext


def test_results_carry_what_happened(session: Session, kem: str) -> None:
    """Results name version and algorithm, and their receipt leads to the audit entry."""
    session.keys.generate(kem)
    box = session.kem.encrypt(b"message", algorithm=kem)
    clear = session.kem.decrypt(box.ciphertext, box.key_version, kem)
    for result, action in ((box, "kem.encrypt"), (clear, "kem.decrypt")):
        assert (result.key_version, result.algorithm) == (1, kem)
        fields = session.audit.entry(result.receipt).fields
        assert (fields["action"], fields["outcome"]) == (action, "success")
        assert fields["request_id"] == result.request_id
        assert fields["key"] == {"name": "default", "algorithm": kem, "version": 1}
    assert box.request_id != clear.request_id


def test_equal_messages_differ_encrypted(session: Session, kem: str) -> None:
    """Encrypting the same message twice gives unrelated ciphertexts."""
    session.keys.generate(kem)
    first, second = (session.kem.encrypt(b"same", algorithm=kem) for _ in range(2))
    assert first.ciphertext[HEADER:] != second.ciphertext[HEADER:]


def test_bytes_like_messages_are_taken(session: Session) -> None:
    """Plaintext and ciphertext may be bytes, bytearray or memoryview."""
    session.keys.generate("ML-KEM-768")
    for kind in (bytes, bytearray, memoryview):
        box = session.kem.encrypt(kind(b"message"))
        assert session.kem.decrypt(kind(box.ciphertext), 1).plaintext == b"message"


def test_older_versions_still_open(session: Session, kem: str) -> None:
    """After a rotation new messages use the new version and old ones open with the old."""
    session.keys.generate(kem)
    old = session.kem.encrypt(b"old", algorithm=kem)
    session.keys.rotate(kem)
    new = session.kem.encrypt(b"new", algorithm=kem)
    assert (old.key_version, new.key_version) == (1, 2)
    assert session.kem.decrypt(old.ciphertext, 1, kem).plaintext == b"old"
    assert session.kem.decrypt(new.ciphertext, 2, kem).plaintext == b"new"


def test_a_named_version_is_used(session: Session, kem: str) -> None:
    """Naming the active version gives the same as leaving it out."""
    session.keys.generate(kem)
    assert session.kem.encrypt(b"", 1, algorithm=kem).key_version == 1
    assert session.kem.encapsulate(1, kem).key_version == 1
    assert session.kem.wrap(bytes(16), 1, kem).key_version == 1


def test_context_is_needed_to_open(session: Session, kem: str) -> None:
    """A message opens under exactly the context that it was encrypted under."""
    session.keys.generate(kem)
    box = session.kem.encrypt(b"message", algorithm=kem, context=CONTEXT)
    reordered = dict(reversed(CONTEXT.items()))
    assert session.kem.decrypt(box.ciphertext, 1, kem, context=reordered).plaintext == b"message"
    for wrong in (
        None,
        {},
        {"table": "patients"},
        CONTEXT | {"table": "Patients"},
        CONTEXT | {"more": ""},
    ):
        with pytest.raises(DecryptionFailed, match=CANNOT):
            session.kem.decrypt(box.ciphertext, 1, kem, context=wrong)


def test_no_context_is_the_empty_one(session: Session, kem: str) -> None:
    """Leaving the context out is the same as an empty one, and differs from any other."""
    session.keys.generate(kem)
    box = session.kem.encrypt(b"message", algorithm=kem)
    assert session.kem.decrypt(box.ciphertext, 1, kem, context={}).plaintext == b"message"
    with pytest.raises(DecryptionFailed):
        session.kem.decrypt(box.ciphertext, 1, kem, context={"a": ""})


def test_nothing_opens_elsewhere(service: Qpher, session: Session, kem: str) -> None:
    """A message does not open with another version, name, algorithm or tenant."""
    session.keys.generate(kem)
    box = session.kem.encrypt(b"message", algorithm=kem).ciphertext
    session.keys.rotate(kem)
    session.keys.generate(kem, name="other")
    stranger = service.session(service.tenants.create(f"s {kem} {id(session)}").id, actor="x")
    stranger.keys.generate(kem)
    attempts = [
        lambda: session.kem.decrypt(box, 2, kem),
        lambda: session.kem.decrypt(box, 1, kem, name="other"),
        lambda: stranger.kem.decrypt(box, 1, kem),
    ]
    for algorithm in {row.name for row in service.algorithms if row.kind == "kem"} - {kem}:
        session.keys.generate(algorithm)
        attempts.append(lambda algorithm=algorithm: session.kem.decrypt(box, 1, algorithm))
    for attempt in attempts:
        with pytest.raises(DecryptionFailed, match=CANNOT):
            attempt()


def test_altered_messages_fail_alike(session: Session, kem: str) -> None:
    """Every alteration, cut or extension gives the same error and text."""
    session.keys.generate(kem)
    box = session.kem.encrypt(b"message", algorithm=kem).ciphertext
    enc = ALGORITHMS[kem].output_bytes
    places = [*range(HEADER), HEADER, HEADER + enc - 33, HEADER + enc - 1, HEADER + enc, -1]
    wrong = [b"", box[:1], box[:HEADER], box[: HEADER + enc], box[: HEADER + enc + TAG - 1]]
    wrong += [box[:-1], box + b"\x00", bytes(len(box))]
    for place in places:
        altered = bytearray(box)
        altered[place] ^= 1
        wrong.append(bytes(altered))
    for data in wrong:
        with pytest.raises(DecryptionFailed) as caught:
            session.kem.decrypt(data, 1, kem)
        assert (str(caught.value), caught.value.code) == (CANNOT, "ERR_KEM_005")


def test_a_failed_decryption_is_recorded(session: Session) -> None:
    """A failed decryption leaves an entry that says no more than the error."""
    session.keys.generate("ML-KEM-768")
    with pytest.raises(DecryptionFailed):
        session.kem.decrypt(b"nonsense", 1)
    fields = [*session.audit.entries()][-1].fields
    assert (fields["action"], fields["outcome"]) == ("kem.decrypt", "failed")
    assert fields["reason"] == f"ERR_KEM_005: {CANNOT}"


def test_kinds_do_not_open_as_each_other(session: Session, kem: str) -> None:
    """A message is no wrapped key and a wrapped key is no message, even with its kind changed."""
    session.keys.generate(kem)
    message = session.kem.encrypt(bytes(32), algorithm=kem).ciphertext
    wrapped = session.kem.wrap(bytes(32), algorithm=kem).wrapped_key
    for data in (message, message[:4] + b"\x02" + message[5:]):
        with pytest.raises(DecryptionFailed):
            session.kem.unwrap(data, 1, kem)
    for data in (wrapped, wrapped[:4] + b"\x01" + wrapped[5:]):
        with pytest.raises(DecryptionFailed):
            session.kem.decrypt(data, 1, kem)


# --- encapsulation -----------------------------------------------------------------------------


def test_secrets_are_shared(session: Session, kem: str) -> None:
    """Decapsulating gives the 32-byte secret that encapsulating gave; each time another."""
    session.keys.generate(kem)
    first, second = session.kem.encapsulate(algorithm=kem), session.kem.encapsulate(None, kem)
    assert len(first.kem_ciphertext) == ALGORITHMS[kem].output_bytes
    assert len(first.shared_secret) == 32
    assert first.shared_secret != second.shared_secret
    for sent in (first, second):
        got = session.kem.decapsulate(sent.kem_ciphertext, sent.key_version, kem)
        assert got.shared_secret == sent.shared_secret


def test_wrong_ciphertexts_give_another_secret(session: Session, kem: str) -> None:
    """An altered KEM ciphertext is rejected implicitly: the same other secret each time."""
    session.keys.generate(kem)
    sent = session.kem.encapsulate(algorithm=kem)
    altered = bytes([sent.kem_ciphertext[0] ^ 1]) + sent.kem_ciphertext[1:]
    first, second = (session.kem.decapsulate(altered, 1, kem).shared_secret for _ in range(2))
    assert first == second != sent.shared_secret


def test_ciphertext_length_is_checked(session: Session, kem: str) -> None:
    """A KEM ciphertext of another length is a wrong parameter."""
    session.keys.generate(kem)
    size = ALGORITHMS[kem].output_bytes
    for wrong in (0, size - 1, size + 1):
        with pytest.raises(ValidationError, match=f"must have {size} bytes") as caught:
            session.kem.decapsulate(bytes(wrong), 1, kem)
        assert caught.value.parameter == "kem_ciphertext"


def test_all_zero_x25519_is_a_failed_decryption(session: Session) -> None:
    """An X-Wing ciphertext with a point of small order is an ordinary failure."""
    session.keys.generate("X-Wing")
    sent = session.kem.encapsulate(algorithm="X-Wing").kem_ciphertext
    with pytest.raises(DecryptionFailed, match=CANNOT):
        session.kem.decapsulate(sent[:-32] + bytes(32), 1, "X-Wing")


# --- key wrap ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [16, 24, 32, 48, 64])
def test_wrapped_keys_unwrap(session: Session, kem: str, size: int) -> None:
    """A key of each allowed size unwraps to itself, under its own context alone."""
    session.keys.generate(kem)
    key = bytes(range(size))
    wrapped = session.kem.wrap(key, algorithm=kem, context=CONTEXT)
    assert (wrapped.wrapping_method, wrapped.key_version) == ("HPKE", 1)
    opened = session.kem.unwrap(wrapped.wrapped_key, 1, kem, context=CONTEXT)
    assert opened.symmetric_key == key
    with pytest.raises(DecryptionFailed):
        session.kem.unwrap(wrapped.wrapped_key, 1, kem)


@pytest.mark.parametrize("size", [0, 1, 15, 17, 33, 65, 128])
def test_other_sizes_are_not_keys(session: Session, size: int) -> None:
    """A key of another size is refused by name."""
    session.keys.generate("ML-KEM-768")
    with pytest.raises(ValidationError) as caught:
        session.kem.wrap(bytes(size))
    assert caught.value.parameter == "symmetric_key"


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "arguments", "parameter"),
    [
        ("encrypt", {"plaintext": "text"}, "plaintext"),
        ("encrypt", {"plaintext": b"", "algorithm": "ML-DSA-65"}, "algorithm"),
        ("encrypt", {"plaintext": b"", "algorithm": "kyber768"}, "algorithm"),
        ("encrypt", {"plaintext": b"", "algorithm": 768}, "algorithm"),
        ("encrypt", {"plaintext": b"", "key_version": 0}, "key_version"),
        ("encrypt", {"plaintext": b"", "name": " x"}, "name"),
        ("encrypt", {"plaintext": b"", "context": ["a"]}, "context"),
        ("encrypt", {"plaintext": b"", "context": b"raw"}, "context"),
        ("encrypt", {"plaintext": b"", "mode": "other"}, "mode"),
        ("encrypt", {"plaintext": b"", "salt": bytes(32)}, "salt"),
        ("encrypt", {"plaintext": b"", "mode": "deterministic"}, "salt"),
        ("encrypt", {"plaintext": b"", "mode": "deterministic", "salt": bytes(31)}, "salt"),
        ("decrypt", {"ciphertext": "text", "key_version": 1}, "ciphertext"),
        ("decrypt", {"ciphertext": b"", "key_version": None}, "key_version"),
        ("decrypt", {"ciphertext": b"", "key_version": 1, "algorithm": "ML-DSA-44"}, "algorithm"),
        ("encapsulate", {"algorithm": "ML-DSA-44"}, "algorithm"),
        ("encapsulate", {"key_version": "1"}, "key_version"),
        ("decapsulate", {"kem_ciphertext": None, "key_version": 1}, "kem_ciphertext"),
        ("decapsulate", {"kem_ciphertext": bytes(1088), "key_version": None}, "key_version"),
        ("wrap", {"symmetric_key": "x" * 16}, "symmetric_key"),
        ("unwrap", {"wrapped_key": 5, "key_version": 1}, "wrapped_key"),
        ("unwrap", {"wrapped_key": b"", "key_version": True}, "key_version"),
    ],
)
def test_wrong_parameters_are_named(
    session: Session, method: str, arguments: dict[str, object], parameter: str
) -> None:
    """A parameter of the wrong type or value is refused by its name, and nothing is recorded."""
    before = len([*session.audit.entries()])
    with pytest.raises(ValidationError, match=parameter) as caught:
        getattr(session.kem, method)(**arguments)
    assert caught.value.parameter == parameter
    assert len([*session.audit.entries()]) == before


def test_deterministic_mode_repeats(session: Session, kem: str, provider: Provider) -> None:
    """Equal input gives equal output and any difference another; or the provider says it cannot."""
    session.keys.generate(kem)

    def encrypt(plaintext: bytes = b"message", salt: bytes = bytes(32), **more: object) -> bytes:
        return session.kem.encrypt(
            plaintext, mode="deterministic", salt=salt, algorithm=kem, **more
        ).ciphertext

    if not provider.deterministic:
        with pytest.raises(AlgorithmUnavailable, match="randomness"):
            encrypt()
        return
    first = encrypt()
    assert first == encrypt()
    enc = slice(HEADER, HEADER + ALGORITHMS[kem].output_bytes)
    others = [encrypt(b"messagf"), encrypt(salt=bytes(31) + b"\x01"), encrypt(context={"a": "b"})]
    assert len({data[enc] for data in (first, *others)}) == 4
    assert session.kem.decrypt(first, 1, kem).plaintext == b"message"


def test_secrets_do_not_leave_by_accident(session: Session) -> None:
    """Results with a secret neither show it nor can be pickled or copied."""
    session.keys.generate("ML-KEM-768")
    canary = b"canary-canary-canary-canary-1234"
    box = session.kem.encrypt(canary)
    sent = session.kem.encapsulate()
    wrapped = session.kem.wrap(canary)
    for result in (
        session.kem.decrypt(box.ciphertext, 1),
        session.kem.unwrap(wrapped.wrapped_key, 1),
        sent,
        session.kem.decapsulate(sent.kem_ciphertext, 1),
    ):
        assert "canary" not in repr(result)
        assert sent.shared_secret.hex() not in repr(result)
        assert repr(sent.shared_secret) not in repr(result)
        for leave in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="secret"):
                leave(result)


def test_missing_key_comes_before_input(session: Session) -> None:
    """Without the key every input fails alike: nobody learns whether it was well-formed."""
    for data in (b"", bytes(2000)):
        with pytest.raises(QpherError) as caught:
            session.kem.decrypt(data, 1)
        assert isinstance(caught.value, NotFound)
