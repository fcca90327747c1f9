# SPDX-License-Identifier: Apache-2.0
"""Public vectors on every provider, through the interface that all of them share.

That interface takes seeds and encoded public keys. Vectors that start from expanded keys, given
randomness or internal message representatives are for the C core alone (tests/native).
"""

import hashlib
from typing import Any

import cryptography_vectors
import pytest

from qpher_core.algorithms import ALGORITHMS, Algorithm, Kind
from qpher_core.discovery import open_primitives
from qpher_core.errors import AlgorithmUnavailable
from qpher_core.protocols import KemScheme, SignatureScheme, VerificationKey
from tests.vectors import lines, load_json

Case = dict[str, Any]
hexed = bytes.fromhex
WYCHEPROOF_KEMS = {"ML-KEM-512": "512", "ML-KEM-768": "768"}
WYCHEPROOF_SIGNATURES = {"ML-DSA-44": "44", "ML-DSA-65": "65"}


def _cases(kind: Kind, prefix: str) -> list[tuple[str, str]]:
    rows: list[Algorithm] = [
        r for r in ALGORITHMS.values() if r.kind is kind and r.name.startswith(prefix)
    ]
    return [(row.name, provider) for row in rows for provider in row.providers]


KEMS = pytest.mark.parametrize(("name", "provider"), _cases(Kind.KEM, "ML-KEM"))
SIGNATURES = pytest.mark.parametrize(("name", "provider"), _cases(Kind.SIGNATURE, "ML-DSA"))


def kem(name: str, provider: str) -> KemScheme:
    """One KEM of one provider."""
    return open_primitives(provider).kems[name]


def dsa(name: str, provider: str) -> SignatureScheme:
    """One signature algorithm of one provider."""
    return open_primitives(provider).signatures[name]


def acvp(file: str, name: str) -> list[tuple[Case, Case]]:
    """(group, test) pairs of one parameter set."""
    groups = load_json(f"acvp/{file}.json.gz")["testGroups"]
    return [(g, t) for g in groups if g["parameterSet"] == name for t in g["tests"]]


def wycheproof(file: str) -> list[tuple[Case, Case]]:
    """(group, test) pairs of one file."""
    groups = load_json(f"wycheproof/{file}.json.gz")["testGroups"]
    return [(g, t) for g in groups for t in g["tests"]]


# --- ML-KEM ------------------------------------------------------------------------------------


@KEMS
def test_acvp_kem_key_generation(name: str, provider: str) -> None:
    """Every seed gives its encapsulation key."""
    cases = acvp("ml-kem-keygen", name)
    for _, test in cases:
        key = kem(name, provider).open_seed(hexed(test["d"] + test["z"]))
        assert key.encapsulation_key == hexed(test["ek"])
    assert len(cases) == 25


@KEMS
def test_wycheproof_decapsulation(name: str, provider: str) -> None:
    """Valid ciphertexts give the stated secret; invalid ones another, or a ValueError."""
    if name not in WYCHEPROOF_KEMS:
        pytest.skip("Wycheproof has no such file here")
    for _, test in wycheproof(f"mlkem_{WYCHEPROOF_KEMS[name]}_test"):
        try:
            secret = (
                kem(name, provider).open_seed(hexed(test["seed"])).decapsulate(hexed(test["c"]))
            )
        except ValueError:
            assert test["result"] == "invalid", test["tcId"]
        else:
            assert (secret == hexed(test["K"])) == (test["result"] == "valid"), test["tcId"]


@KEMS
def test_bad_encapsulation_keys_are_refused(name: str, provider: str) -> None:
    """Keys with a coefficient out of range, of Wycheproof and of CCTV, do not open."""
    if name not in WYCHEPROOF_KEMS:
        pytest.skip("neither Wycheproof nor CCTV has such a file here")
    number = WYCHEPROOF_KEMS[name]
    tests = [t for _, t in wycheproof(f"mlkem_{number}_encaps_test") if t["result"] == "invalid"]
    keys = [test["ek"] for test in tests] + lines(f"cctv/ml-kem-{number}-modulus.txt.gz")
    for key in keys:
        with pytest.raises(ValueError):  # noqa: PT011 - each provider has its own words
            kem(name, provider).open_encapsulation_key(hexed(key))
    assert len(keys) > 700


@KEMS
def test_pq_crystals_kem(name: str, provider: str) -> None:
    """The known answers of the reference implementation decapsulate."""
    path = f"asymmetric/MLKEM/kat_MLKEM_{name.removeprefix('ML-KEM-')}.rsp"
    with cryptography_vectors.open_vector_file(path, "r") as file:
        blocks = file.read().split("count = ")[1:]
    for block in blocks[:100]:
        case = dict(line.split(" = ") for line in block.splitlines() if " = " in line)
        key = kem(name, provider).open_seed(hexed(case["d"] + case["z"]))
        assert key.encapsulation_key == hexed(case["pk"])
        assert key.decapsulate(hexed(case["ct"])) == hexed(case["ss"])


# --- ML-DSA ------------------------------------------------------------------------------------


@SIGNATURES
def test_acvp_dsa_key_generation(name: str, provider: str) -> None:
    """Every seed gives its public key."""
    cases = acvp("ml-dsa-keygen", name)
    for _, test in cases:
        assert dsa(name, provider).open_seed(hexed(test["seed"])).public_key == hexed(test["pk"])
    assert len(cases) == 25


#: pqcrypto 1.0 refuses the two longest contexts that FIPS 204 allows.
LONGEST_CONTEXT = {"rustcrypto": 253}


def _beyond(provider: str, case: Case) -> bool:
    """Whether a valid case has a context that the provider is known to refuse."""
    return case["result"] == "valid" and len(case.get("ctx", "")) // 2 > LONGEST_CONTEXT.get(
        provider, 255
    )


def _verdict(key: VerificationKey, case: Case) -> bool:
    context = hexed(case.get("ctx", ""))
    try:
        return key.verify(hexed(case["msg"]), hexed(case["sig"]), context=context)
    except (ValueError, AlgorithmUnavailable):
        return False  # a context that is too long, for the standard or for the provider


@SIGNATURES
def test_wycheproof_verify(name: str, provider: str) -> None:
    """Every signature and every public key is accepted or refused as stated."""
    if name not in WYCHEPROOF_SIGNATURES:
        pytest.skip("Wycheproof has no such file here")
    for group, test in wycheproof(f"mldsa_{WYCHEPROOF_SIGNATURES[name]}_verify_test"):
        try:
            key = dsa(name, provider).open_public_key(hexed(group["publicKey"]))
        except ValueError:
            assert test["result"] == "invalid", test["tcId"]
        else:
            valid = test["result"] == "valid" and not _beyond(provider, test)
            assert _verdict(key, test) == valid, test["tcId"]


@SIGNATURES
def test_wycheproof_signatures_verify(name: str, provider: str) -> None:
    """The deterministic signatures of Wycheproof verify under the keys of their seeds."""
    if name not in WYCHEPROOF_SIGNATURES:
        pytest.skip("Wycheproof has no such file here")
    checked = 0
    for group, test in wycheproof(f"mldsa_{WYCHEPROOF_SIGNATURES[name]}_sign_seed_test"):
        if test["result"] != "valid" or "msg" not in test or _beyond(provider, test):
            continue
        key = dsa(name, provider).open_seed(hexed(group["privateSeed"]))
        assert _verdict(dsa(name, provider).open_public_key(key.public_key), test), test["tcId"]
        checked += 1
    assert checked > 20


@SIGNATURES
def test_pq_crystals_dsa(name: str, provider: str) -> None:
    """The known answers of the reference implementation verify."""
    path = f"asymmetric/MLDSA/kat_{name.replace('ML-DSA-', 'MLDSA_')}_det_pure.rsp"
    with cryptography_vectors.open_vector_file(path, "r") as file:
        blocks = file.read().split("count = ")[1:]
    for block in blocks[:100]:
        case = dict(line.split(" = ") for line in block.splitlines() if " = " in line)
        key = dsa(name, provider).open_seed(hexed(case["xi"]))
        message, context = hexed(case["msg"]), hexed(case.get("ctx", ""))
        assert key.public_key == hexed(case["pk"])
        signature = hexed(case["sm"])[: ALGORITHMS[name].output_bytes]
        opened = dsa(name, provider).open_public_key(key.public_key)
        assert opened.verify(message, signature, context=context)


@SIGNATURES
def test_cctv_messages(name: str, provider: str) -> None:
    """The benchmark messages sign and verify under the all-zero seed."""
    if name not in WYCHEPROOF_SIGNATURES:
        pytest.skip("CCTV has no such file here")
    messages = load_json(f"cctv/ml-dsa-{WYCHEPROOF_SIGNATURES[name]}-benchmark.json.gz")
    key = dsa(name, provider).open_seed(bytes(32))
    opened = dsa(name, provider).open_public_key(key.public_key)
    for text in messages[:50]:
        assert opened.verify(text.encode(), key.sign(text.encode()))


@SIGNATURES
def test_accumulated_public_keys_agree(name: str, provider: str) -> None:
    """Over 100 seeds the public keys are those of the C core, whose digest is published."""
    stream = hashlib.shake_128(b"").digest(100 * 32)
    for start in range(0, len(stream), 32):
        seed = stream[start : start + 32]
        ours = open_primitives("native").signatures[name].open_seed(seed).public_key
        assert dsa(name, provider).open_seed(seed).public_key == ours
