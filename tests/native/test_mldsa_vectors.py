# SPDX-License-Identifier: Apache-2.0
"""ML-DSA against the public vectors: NIST ACVP, Wycheproof, CCTV, pq-crystals."""

from __future__ import annotations

import hashlib
from typing import Any

import cryptography_vectors
import pytest

from qpher_native import MLDSA
from qpher_native.mldsa import SigningKey, VerificationKey
from tests.native.mldsa_paths import every_path  # noqa: F401 (a fixture)
from tests.vectors import load_json

Case = dict[str, Any]
SETS = ("ML-DSA-44", "ML-DSA-65", "ML-DSA-87")


def groups(name: str) -> list[Case]:
    """The test groups of one file."""
    found: list[Case] = load_json(name)["testGroups"]
    return found


# ---- NIST ACVP: the internal interface, where the message is M' ------------------------------


def mu_of(tr: bytes, message: bytes) -> bytes:
    """Line 6 of algorithm 7."""
    return hashlib.shake_256(tr + message).digest(64)


def test_acvp_keygen() -> None:
    """Every seed gives the public key and the expanded key that it should."""
    for group in groups("acvp/ml-dsa-keygen.json.gz"):
        for case in group["tests"]:
            with MLDSA(group["parameterSet"]).from_seed(bytes.fromhex(case["seed"])) as sk:
                assert bytes(sk.public_key) == bytes.fromhex(case["pk"])
                assert sk.expanded() == bytes.fromhex(case["sk"])


def test_acvp_siggen() -> None:
    """Every signature, deterministic or with given randomness, comes out, and verifies."""
    for group in groups("acvp/ml-dsa-siggen.json.gz"):
        for case in group["tests"]:
            expanded = bytes.fromhex(case["sk"])
            mu = mu_of(expanded[64:128], bytes.fromhex(case["message"]))
            rnd = bytes.fromhex(case["rnd"]) if "rnd" in case else bytes(32)
            assert ("rnd" in case) != group["deterministic"]
            with MLDSA(group["parameterSet"]).from_expanded(expanded) as sk:
                signature = sk.sign_mu(mu, randomness=rnd)
                assert signature == bytes.fromhex(case["signature"])
                assert sk.public_key.verify_mu(mu, signature)
                assert sk.expanded() == expanded


def test_acvp_sigver() -> None:
    """Every signature is accepted or refused as stated."""
    for group in groups("acvp/ml-dsa-sigver.json.gz"):
        encoded = bytes.fromhex(group["pk"])
        pk = MLDSA(group["parameterSet"]).load_public_key(encoded)
        tr = hashlib.shake_256(encoded).digest(64)
        for case in group["tests"]:
            mu = mu_of(tr, bytes.fromhex(case["message"]))
            valid = pk.verify_mu(mu, bytes.fromhex(case["signature"]))
            assert valid is case["testPassed"], case["tcId"]


# ---- Wycheproof ------------------------------------------------------------------------------


def sign_case(sk: SigningKey, case: Case) -> bytes:
    """What the case asks for, from the message or from mu."""
    rnd = bytes.fromhex(case["rnd"]) if "rnd" in case else bytes(32)
    context = bytes.fromhex(case.get("ctx", ""))
    mu = bytes.fromhex(case["mu"]) if "mu" in case else None
    if "msg" not in case:
        assert mu is not None
        return sk.sign_mu(mu, randomness=rnd)
    message = bytes.fromhex(case["msg"])
    signature = sk.sign(message, context=context, randomness=rnd)
    if mu is not None:
        hasher = sk.public_key.mu_hasher(context)
        hasher.update(message)
        assert hasher.digest() == mu
        assert sk.sign_mu(mu, randomness=rnd) == signature
    return signature


def check_signing(group: Case, opener: Any, key: str) -> None:
    """All the cases of a group, valid or not."""
    for case in group["tests"]:
        if case["result"] == "invalid":
            with pytest.raises(ValueError, match=r"bytes, not|consistent"):
                sign_case(opener(bytes.fromhex(group[key])), case)
            continue
        with opener(bytes.fromhex(group[key])) as sk:
            if group.get("publicKey"):
                assert bytes(sk.public_key) == bytes.fromhex(group["publicKey"])
            assert sign_case(sk, case) == bytes.fromhex(case["sig"]), case["tcId"]


@pytest.mark.parametrize("number", [44, 65])
def test_wycheproof_sign_from_seed(number: int) -> None:
    """Every case that starts from a seed ends as stated."""
    for group in groups(f"wycheproof/mldsa_{number}_sign_seed_test.json.gz"):
        check_signing(group, MLDSA(f"ML-DSA-{number}").from_seed, "privateSeed")


@pytest.mark.parametrize("number", [44, 65])
def test_wycheproof_sign_from_expanded(number: int) -> None:
    """Every case that starts from an expanded key ends as stated."""
    for group in groups(f"wycheproof/mldsa_{number}_sign_noseed_test.json.gz"):
        check_signing(group, MLDSA(f"ML-DSA-{number}").from_expanded, "privateKey")


def verifies(pk: VerificationKey, case: Case) -> bool:
    """Whether the case's signature is accepted; a context that is too long is an error."""
    context = bytes.fromhex(case.get("ctx", ""))
    message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
    if len(context) > 255:
        with pytest.raises(ValueError, match="context must be at most 255 bytes"):
            pk.verify(message, signature, context=context)
        return False
    return pk.verify(message, signature, context=context)


@pytest.mark.parametrize("number", [44, 65])
def test_wycheproof_verify(number: int) -> None:
    """Every signature is accepted or refused as stated, and so is every public key."""
    dsa = MLDSA(f"ML-DSA-{number}")
    for group in groups(f"wycheproof/mldsa_{number}_verify_test.json.gz"):
        encoded = bytes.fromhex(group["publicKey"])
        if len(encoded) != dsa.public_key_bytes:
            assert all(case["result"] == "invalid" for case in group["tests"])
            with pytest.raises(ValueError, match="data must be"):
                dsa.load_public_key(encoded)
            continue
        pk = dsa.load_public_key(encoded)
        for case in group["tests"]:
            assert verifies(pk, case) == (case["result"] == "valid"), case["tcId"]


# ---- CCTV benchmark messages -----------------------------------------------------------------


@pytest.mark.parametrize("number", [44, 65])
def test_cctv_messages(number: int) -> None:
    """Signatures of the benchmark messages verify, one by one and as a batch."""
    messages = [text.encode() for text in load_json(f"cctv/ml-dsa-{number}-benchmark.json.gz")]
    with MLDSA(f"ML-DSA-{number}").from_seed(bytes(32)) as sk:
        one_by_one = [sk.sign(message, deterministic=True) for message in messages]
        assert sk.sign_many(messages, deterministic=True) == one_by_one
        assert sk.sign_many(messages, deterministic=True, threads=3) == one_by_one
        assert all(sk.public_key.verify_many(zip(messages, one_by_one, strict=True)))


# ---- pq-crystals -----------------------------------------------------------------------------


def kat_cases(name: str) -> list[dict[str, bytes]]:
    """The cases of a response file: lines ``key = hex``, a ``count`` before each case."""
    path = f"asymmetric/MLDSA/kat_{name.replace('-', '_')}_det_pure.rsp".replace("ML_DSA", "MLDSA")
    with cryptography_vectors.open_vector_file(path, "r") as file:
        pairs = [line.strip().partition(" = ")[::2] for line in file if " = " in line]
    cases: list[dict[str, bytes]] = []
    for key, value in pairs:
        if key == "count":
            cases.append({})
        elif key not in ("mlen", "smlen"):
            cases[-1][key] = bytes.fromhex(value)
    return cases


@pytest.mark.parametrize("name", SETS)
def test_pq_crystals(name: str) -> None:
    """Keys and deterministic signatures are those of the reference implementation."""
    for case in kat_cases(name):
        with MLDSA(name).from_seed(case["xi"]) as sk:
            assert bytes(sk.public_key) == case["pk"]
            assert sk.expanded() == case["sk"]
            context = case.get("ctx", b"")
            signature = sk.sign(case["msg"], context=context, deterministic=True)
            assert signature + case["msg"] == case["sm"]
            assert sk.public_key.verify(case["msg"], signature, context=context)
