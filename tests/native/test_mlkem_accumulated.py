# SPDX-License-Identifier: Apache-2.0
"""ML-KEM against published digests that stand for up to a million cases each.

They are of FIPS 203 as it is final: those of ML-KEM-768 from Go's crypto/mlkem, those of the
other sets agreed on by PQClean, kyber-py, CIRCL and Go. The digests that C2SP/CCTV publishes are
of the draft; test_mlkem_draft.py is about them.
"""

import pytest

from qpher_native import selftest

MILLION = "424bf8f0e8ae99b78d788a6e2e8e9cdaf9773fc0c08a6f433507cb559edfd0f0"


@pytest.mark.parametrize("name", selftest.KEM_ACCUMULATED)
def test_ten_thousand_cases_give_one_digest(name: str) -> None:
    """Keys, ciphertexts, secrets and rejections of 10,000 cases are all as they must be."""
    assert selftest.kem_accumulated(name, 10_000) == selftest.KEM_ACCUMULATED[name]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_million_cases_give_one_digest() -> None:
    """The same for a million cases of ML-KEM-768."""
    assert selftest.kem_accumulated("ML-KEM-768", 1_000_000) == MILLION
