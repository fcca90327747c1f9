# SPDX-License-Identifier: Apache-2.0
"""What ``session.signatures`` promises."""

import hashlib

import pytest

from qpher_core.algorithms import ALGORITHMS
from qpher_core.errors import AlgorithmUnavailable, ValidationError
from qpher_core.service import Qpher
from qpher_core.session import Session
from tests.contract.table import Provider

CONTEXTS = [None, {}, b"", b"raw", {"document": "größe"}, {"a": "b", "c": ""}]


def hashes(algorithm: str) -> list[str]:
    """Return the hashes whose digests an algorithm signs."""
    return ["SHA-512"] if ALGORITHMS[algorithm].hybrid else ["SHA-256", "SHA-384", "SHA-512"]


def hash_of(name: str, message: bytes) -> bytes:
    """Return the digest of a message."""
    return hashlib.new(name.replace("-", ""), message).digest()


@pytest.fixture
def digest_signature(signature: str, provider: Provider) -> str:
    """Return an algorithm with which the provider signs digests."""
    if not provider.digests and not ALGORITHMS[signature].hybrid:
        pytest.skip("the provider does not sign digests")
    return signature


@pytest.mark.parametrize("message", [b"", b"message", bytes(100_000)], ids=len)
def test_signatures_verify(session: Session, signature: str, message: bytes) -> None:
    """A signature verifies over its message and over nothing else."""
    session.keys.generate(signature)
    signed = session.signatures.sign(message, algorithm=signature)
    assert len(signed.signature) <= ALGORITHMS[signature].output_bytes
    verify = session.signatures.verify
    assert verify(message, signed.signature, 1, signature).valid is True
    assert verify(message + b"\x00", signed.signature, 1, signature).valid is False


def test_results_carry_what_happened(session: Session, digest_signature: str) -> None:
    """Results name version and algorithm, and their receipt leads to the audit entry."""
    signature = digest_signature
    session.keys.generate(signature)
    digest = hash_of("SHA-512", b"x")
    signed = session.signatures.sign(b"x", algorithm=signature)
    verified = session.signatures.verify(b"x", signed.signature, 1, signature)
    hashed = session.signatures.sign_hash(digest, "SHA-512", algorithm=signature)
    checked = session.signatures.verify_hash(digest, "SHA-512", hashed.signature, 1, signature)
    assert (hashed.hash_algorithm, hashed.signature_type) == ("SHA-512", "detached")
    assert checked.hash_algorithm == "SHA-512"
    for result, action in (
        (signed, "sign"),
        (verified, "verify"),
        (hashed, "sign_hash"),
        (checked, "verify_hash"),
    ):
        fields = session.audit.entry(result.receipt).fields
        assert (fields["action"], fields["outcome"]) == (f"signatures.{action}", "success")
        assert (result.key_version, result.algorithm) == (1, signature)
        assert fields["request_id"] == result.request_id


def test_wrong_signatures_are_invalid(session: Session, signature: str) -> None:
    """Altered, cut, extended and empty signatures are invalid, not errors."""
    session.keys.generate(signature)
    good = session.signatures.sign(b"x", algorithm=signature).signature
    wrong = [b"", b"\x00", good[:-1], good + b"\x00", bytes(len(good)), b"\xff" * len(good)]
    wrong += [good[:2000], good[: len(good) // 2] + good]
    for place in (0, 31, 32, len(good) // 2, -80, -3, -1):
        altered = bytearray(good)
        altered[place] ^= 1
        wrong.append(bytes(altered))
    for data in wrong:
        assert session.signatures.verify(b"x", data, 1, signature).valid is False


def test_contexts_separate(session: Session, signature: str, provider: Provider) -> None:
    """A signature verifies under its own context alone; no context is the empty one."""
    session.keys.generate(signature)
    contexts = [*CONTEXTS, bytes(provider.longest_context)]
    for made in contexts:
        signed = session.signatures.sign(b"x", algorithm=signature, context=made).signature
        for given in contexts:
            same = (made or None) == (given or None)
            checked = session.signatures.verify(b"x", signed, 1, signature, context=given)
            assert checked.valid is same, (made, given)


def test_longer_contexts_than_the_provider_takes(
    session: Session, signature: str, provider: Provider
) -> None:
    """A context that the standard allows and the provider does not is refused as such."""
    if not signature.startswith("ML-DSA"):
        return
    session.keys.generate(signature)
    for size in range(provider.longest_context + 1, 256):
        with pytest.raises(AlgorithmUnavailable, match="native"):
            session.signatures.sign(b"x", algorithm=signature, context=bytes(size))


def test_keys_separate(service: Qpher, session: Session, signature: str) -> None:
    """A signature does not verify with another version, name or tenant."""
    session.keys.generate(signature)
    signed = session.signatures.sign(b"x", algorithm=signature).signature
    session.keys.rotate(signature)
    session.keys.generate(signature, name="other")
    stranger = service.session(service.tenants.create(f"s {signature} {id(session)}").id, actor="x")
    stranger.keys.generate(signature)
    assert session.signatures.verify(b"x", signed, 1, signature).valid is True
    assert session.signatures.verify(b"x", signed, 2, signature).valid is False
    assert session.signatures.verify(b"x", signed, 1, signature, name="other").valid is False
    assert stranger.signatures.verify(b"x", signed, 1, signature).valid is False


def test_signing_is_hedged(session: Session, signature: str) -> None:
    """Signing the same message twice gives different signatures."""
    session.keys.generate(signature)
    first, second = (session.signatures.sign(b"x", algorithm=signature) for _ in range(2))
    assert first.signature != second.signature


def test_deterministic_signing_repeats(
    session: Session, signature: str, provider: Provider
) -> None:
    """On request the ML-DSA part repeats itself; or the provider says that it cannot."""
    session.keys.generate(signature)

    def sign() -> bytes:
        return session.signatures.sign(b"x", algorithm=signature, deterministic=True).signature

    if not provider.deterministic:
        with pytest.raises(AlgorithmUnavailable, match="determinist"):
            sign()
        return
    first, second = sign(), sign()
    size = 3309 if signature == "MLDSA65-ECDSA-P256" else 4627
    end = size if ALGORITHMS[signature].hybrid else None
    assert first[:end] == second[:end]
    assert session.signatures.verify(b"x", first, 1, signature).valid


def test_digests_are_signed(session: Session, digest_signature: str) -> None:
    """A signature over a digest verifies for the digest, its hash and context alone."""
    signature = digest_signature
    session.keys.generate(signature)
    for name in hashes(signature):
        digest = hash_of(name, b"message")
        signed = session.signatures.sign_hash(digest, name, algorithm=signature, context=b"c")

        def valid(
            value: bytes,
            context: bytes = b"c",
            *,
            name: str = name,
            given: bytes = signed.signature,
        ) -> bool:
            checked = session.signatures.verify_hash(
                value, name, given, 1, signature, context=context
            )
            return checked.valid

        assert valid(digest)
        assert not valid(digest, b"")
        assert not valid(digest[:-1] + bytes([digest[-1] ^ 1]))
        assert not valid(digest, given=b"")


def test_prehash_and_message_signatures_relate_as_documented(
    session: Session, digest_signature: str
) -> None:
    """A digest's signature verifies over the message for composites, for ML-DSA never."""
    signature = digest_signature
    session.keys.generate(signature)
    digest = hash_of("SHA-512", b"message")
    hashed = session.signatures.sign_hash(digest, "SHA-512", algorithm=signature).signature
    signed = session.signatures.sign(b"message", algorithm=signature).signature
    composite = ALGORITHMS[signature].hybrid
    check = session.signatures
    assert check.verify(b"message", hashed, 1, signature).valid is composite
    assert check.verify_hash(digest, "SHA-512", signed, 1, signature).valid is composite
    assert check.verify(digest, hashed, 1, signature).valid is False


def test_digests_must_fit_their_hash(session: Session, signature: str) -> None:
    """A digest of another length, or a hash that the algorithm does not take, is refused."""
    session.keys.generate(signature)
    for method, more in (("sign_hash", ()), ("verify_hash", (b"", 1))):
        call = getattr(session.signatures, method)
        with pytest.raises(ValidationError) as caught:
            call(bytes(63), "SHA-512", *more, algorithm=signature)
        assert caught.value.parameter == "hash_value"
        for name in {"SHA-1", "sha512", 512, "SHA-256", "SHA-384"} - set(hashes(signature)):
            with pytest.raises(ValidationError) as caught:
                call(bytes(32), name, *more, algorithm=signature)
            assert caught.value.parameter == "hash_algorithm"


@pytest.mark.parametrize(
    ("method", "arguments", "parameter"),
    [
        ("sign", {"message": "text"}, "message"),
        ("sign", {"message": b"", "algorithm": "ML-KEM-768"}, "algorithm"),
        ("sign", {"message": b"", "algorithm": None}, "algorithm"),
        ("sign", {"message": b"", "key_version": -1}, "key_version"),
        ("sign", {"message": b"", "name": ""}, "name"),
        ("sign", {"message": b"", "context": bytes(256)}, "context"),
        ("sign", {"message": b"", "context": "text"}, "context"),
        ("verify", {"message": None, "signature": b"", "key_version": 1}, "message"),
        ("verify", {"message": b"", "signature": "text", "key_version": 1}, "signature"),
        ("verify", {"message": b"", "signature": b"", "key_version": None}, "key_version"),
        (
            "verify",
            {"message": b"", "signature": b"", "key_version": 1, "context": bytes(256)},
            "context",
        ),
        ("sign_hash", {"hash_value": "x", "hash_algorithm": "SHA-256"}, "hash_value"),
        ("sign_hash", {"hash_value": bytes(32), "hash_algorithm": []}, "hash_algorithm"),
        (
            "verify_hash",
            {
                "hash_value": bytes(32),
                "hash_algorithm": "SHA-256",
                "signature": None,
                "key_version": 1,
            },
            "signature",
        ),
    ],
)
def test_wrong_parameters_are_named(
    session: Session, method: str, arguments: dict[str, object], parameter: str
) -> None:
    """A parameter of the wrong type or value is refused by its name, and nothing is recorded."""
    before = len([*session.audit.entries()])
    with pytest.raises(ValidationError, match=parameter.split("_", maxsplit=1)[0]) as caught:
        getattr(session.signatures, method)(**arguments)
    assert caught.value.parameter == parameter
    assert len([*session.audit.entries()]) == before
