# SPDX-License-Identifier: Apache-2.0
"""ML-KEM against public vectors: ACVP, Wycheproof, CCTV, the pq-crystals KATs."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from cryptography_vectors import open_vector_file

from qpher_native import MLKEM
from tests import vectors

NAMES = ("ML-KEM-512", "ML-KEM-768", "ML-KEM-1024")
WYCHEPROOF = ("512", "768")
hexed = bytes.fromhex


@cache
def scheme(name: str) -> MLKEM:
    """One object for each parameter set."""
    return MLKEM(name)


def acvp(name: str, function: str | None = None) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(group, test) pairs of an ACVP file."""
    groups = vectors.load_json(f"acvp/{name}.json.gz")["testGroups"]
    chosen = [group for group in groups if function in {None, group.get("function")}]
    return [(group, test) for group in chosen for test in group["tests"]]


def wycheproof(kind: str) -> list[tuple[str, dict[str, Any]]]:
    """(parameter set, test) pairs of both files of a kind."""
    found = []
    for size in WYCHEPROOF:
        data = vectors.load_json(f"wycheproof/mlkem_{size}_{kind}.json.gz")
        tests = [(g["parameterSet"], t) for g in data["testGroups"] for t in g["tests"]]
        assert len(tests) == data["numberOfTests"]
        found += tests
    return found


def test_acvp_key_generation() -> None:
    """Every seed gives its encapsulation key and expanded decapsulation key."""
    cases = acvp("ml-kem-keygen")
    for group, test in cases:
        with scheme(group["parameterSet"]).from_seed(hexed(test["d"] + test["z"])) as dk:
            assert bytes(dk.encapsulation_key) == hexed(test["ek"])
            assert dk.expanded() == hexed(test["dk"])
            assert dk.seed() == hexed(test["d"] + test["z"])
    assert len(cases) == 75


def test_acvp_encapsulation() -> None:
    """Every m gives its ciphertext and shared secret, and the key gets it back."""
    cases = acvp("ml-kem-encapdecap", "encapsulation")
    for group, test in cases:
        kem = scheme(group["parameterSet"])
        ek = kem.load_encapsulation_key(hexed(test["ek"]))
        assert ek.encapsulate(hexed(test["m"])) == (hexed(test["c"]), hexed(test["k"]))
        with kem.from_expanded(hexed(test["dk"])) as dk:
            assert dk.decapsulate(hexed(test["c"])) == hexed(test["k"])
    assert len(cases) == 75


def test_acvp_decapsulation() -> None:
    """Good and modified ciphertexts give the stated secret: implicit rejection is as specified."""
    cases = acvp("ml-kem-encapdecap", "decapsulation")
    for group, test in cases:
        with scheme(group["parameterSet"]).from_expanded(hexed(group["dk"])) as dk:
            assert dk.decapsulate(hexed(test["c"])) == hexed(test["k"])
    assert len(cases) == 30


def test_wycheproof_keygen_seed() -> None:
    """Every seed gives its keys."""
    for name, test in wycheproof("keygen_seed_test"):
        with scheme(name).from_seed(hexed(test["seed"])) as dk:
            assert bytes(dk.encapsulation_key) == hexed(test["ek"])
            assert dk.expanded() == hexed(test["dk"])


def test_wycheproof_encaps() -> None:
    """Valid keys encapsulate as stated; wrong lengths and large coefficients are refused."""
    for name, test in wycheproof("encaps_test"):
        if test["result"] == "invalid":
            with pytest.raises(ValueError):
                scheme(name).load_encapsulation_key(hexed(test["ek"]))
            continue
        ek = scheme(name).load_encapsulation_key(hexed(test["ek"]))
        assert ek.encapsulate(hexed(test["m"])) == (hexed(test["c"]), hexed(test["K"]))


def test_wycheproof_decapsulation() -> None:
    """From a seed: valid ciphertexts give the secret, others of wrong length are refused."""
    for name, test in wycheproof("test"):
        try:
            with scheme(name).from_seed(hexed(test["seed"])) as dk:
                secret = dk.decapsulate(hexed(test["c"]))
                assert bytes(dk.encapsulation_key) == hexed(test["ek"])
        except ValueError:
            assert test["result"] == "invalid", test["tcId"]
        else:
            assert (secret == hexed(test["K"])) == (test["result"] == "valid"), test["tcId"]


def test_wycheproof_semi_expanded_decapsulation() -> None:
    """From an expanded key: keys that fail the checks of FIPS 203 section 7.3 are refused."""
    for name, test in wycheproof("semi_expanded_decaps_test"):
        try:
            with scheme(name).from_expanded(hexed(test["dk"])) as dk:
                secret = dk.decapsulate(hexed(test["c"]))
        except ValueError:
            assert test["result"] == "invalid", test["tcId"]
        else:
            assert test["result"] == "valid", test["tcId"]
            assert secret == hexed(test["K"])


@pytest.mark.parametrize("size", WYCHEPROOF)
def test_cctv_modulus(size: str) -> None:
    """Every encapsulation key with one coefficient out of range is refused."""
    keys = vectors.lines(f"cctv/ml-kem-{size}-modulus.txt.gz")
    for key in keys:
        with pytest.raises(ValueError, match="section 7"):
            scheme(f"ML-KEM-{size}").load_encapsulation_key(hexed(key))
    assert len(keys) > 700


def fields(name: str) -> dict[str, str]:
    """The ``name = value`` lines of a CCTV file."""
    return dict(line.split(" = ", 1) for line in vectors.lines(name))


@pytest.mark.parametrize("size", WYCHEPROOF)
def test_cctv_unlucky_sampling(size: str) -> None:
    """A matrix that takes far more XOF output than usual is sampled right.

    The file's d belongs to the draft, whose key generation did not hash k; its keys do not.
    """
    case, kem = (
        fields(f"cctv/ml-kem-{size}-unluckysample.txt.gz"),
        scheme(f"ML-KEM-{size}"),
    )
    ek = kem.load_encapsulation_key(hexed(case["ek"]))
    assert ek.encapsulate(hexed(case["m"])) == (hexed(case["c"]), hexed(case["K"]))
    with kem.from_expanded(hexed(case["dk"])) as dk:
        assert dk.decapsulate(hexed(case["c"])) == hexed(case["K"])


@pytest.mark.parametrize("size", WYCHEPROOF)
def test_cctv_strcmp(size: str) -> None:
    """A rejection that a comparison which stops at a zero byte would miss."""
    case = fields(f"cctv/ml-kem-{size}-strcmp.txt.gz")
    with scheme(f"ML-KEM-{size}").from_expanded(hexed(case["dk"])) as dk:
        assert dk.decapsulate(hexed(case["c"])) == hexed(case["K"])


@pytest.mark.parametrize("name", NAMES)
def test_pq_crystals_kat(name: str) -> None:
    """The known answers of the reference implementation."""
    file = f"asymmetric/MLKEM/kat_MLKEM_{name.removeprefix('ML-KEM-')}.rsp"
    with open_vector_file(file, "r") as opened:
        blocks = opened.read().split("count = ")
    cases = [dict(line.split(" = ") for line in b.splitlines() if " = " in line) for b in blocks]
    cases = [case for case in cases if "ct" in case]
    for case in cases:
        with scheme(name).from_seed(hexed(case["d"] + case["z"])) as dk:
            assert bytes(dk.encapsulation_key) == hexed(case["pk"])
            assert dk.expanded() == hexed(case["sk"])
            answer = dk.encapsulation_key.encapsulate(hexed(case["msg"]))
            assert answer == (hexed(case["ct"]), hexed(case["ss"]))
    assert len(cases) >= 100
