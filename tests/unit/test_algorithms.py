# SPDX-License-Identifier: Apache-2.0
"""The algorithm registry against what providers really make."""

import pytest

from qpher_core.algorithms import ALGORITHMS, Kind, find
from qpher_core.discovery import open_primitives
from qpher_core.errors import ValidationError
from qpher_core.protocols import Primitives
from tests.contract.table import PROVIDERS

MADE = [
    (provider, name)
    for provider in PROVIDERS
    for name in ALGORITHMS
    if provider in ALGORITHMS[name].providers
]


@pytest.mark.parametrize(("provider", "name"), MADE)
def test_sizes_are_real(provider: str, name: str) -> None:
    """Lengths in the table are those of keys, ciphertexts and signatures that providers make."""
    primitives, row = open_primitives(provider), ALGORITHMS[name]
    if row.kind is Kind.KEM:
        kem = primitives.kems[name]
        seed = kem.generate_seed()
        opened = kem.open_seed(seed)
        public_key = opened.encapsulation_key
        output, secret = kem.open_encapsulation_key(public_key).encapsulate()
        assert len(output) == row.output_bytes
        assert opened.decapsulate(output) == secret
        assert len(secret) == 32
    else:
        scheme = primitives.signatures[name]
        seed = scheme.generate_seed()
        signing = scheme.open_seed(seed)
        public_key = signing.public_key
        signature = signing.sign(b"message")
        # A composite ends in a DER signature, whose length varies by a few bytes.
        assert row.output_bytes - 16 * row.hybrid <= len(signature) <= row.output_bytes
        assert scheme.open_public_key(public_key).verify(b"message", signature)
    assert (len(seed), len(public_key)) == (row.seed_bytes, row.public_key_bytes)


@pytest.mark.parametrize(("provider", "name"), MADE)
def test_seeds_repeat(provider: str, name: str) -> None:
    """The same seed always opens to the same key."""
    primitives = open_primitives(provider)
    if name in primitives.kems:
        kem = primitives.kems[name]
        seed = kem.generate_seed()
        assert kem.open_seed(seed).encapsulation_key == kem.open_seed(seed).encapsulation_key
    else:
        scheme = primitives.signatures[name]
        seed = scheme.generate_seed()
        assert scheme.open_seed(seed).public_key == scheme.open_seed(seed).public_key


@pytest.mark.parametrize(("provider", "name"), MADE)
def test_opened_keys_refuse_wrong_lengths(provider: str, name: str) -> None:
    """Seeds and public keys of another length are refused."""
    primitives = open_primitives(provider)
    row = ALGORITHMS[name]
    if name in primitives.kems:
        open_seed = primitives.kems[name].open_seed
        open_public = primitives.kems[name].open_encapsulation_key
    else:
        open_seed = primitives.signatures[name].open_seed
        open_public = primitives.signatures[name].open_public_key
    for size in (0, row.seed_bytes - 1, row.seed_bytes + 1):
        with pytest.raises(ValueError, match=r"."):
            open_seed(bytes(size))
    for size in (0, row.public_key_bytes - 1, row.public_key_bytes + 1):
        with pytest.raises(ValueError, match=r"."):
            open_public(bytes(size))


@pytest.mark.parametrize(("provider", "name"), MADE)
def test_closed_keys_refuse(provider: str, name: str) -> None:
    """A closed private key cannot be used, and may be closed again."""
    primitives = open_primitives(provider)
    row = ALGORITHMS[name]
    if name in primitives.kems:
        kem = primitives.kems[name]
        opened = kem.open_seed(kem.generate_seed())
        opened.close()
        opened.close()
        with pytest.raises(ValueError, match="closed"):
            opened.decapsulate(bytes(row.output_bytes))
        return
    scheme = primitives.signatures[name]
    signing = scheme.open_seed(scheme.generate_seed())
    signing.close()
    signing.close()
    with pytest.raises(ValueError, match="closed"):
        signing.sign(b"")


@pytest.mark.parametrize(("provider", "name"), MADE)
def test_batches_are_single_calls_together(provider: str, name: str) -> None:
    """Batch calls give what as many single calls would."""
    primitives = open_primitives(provider)
    if name in primitives.kems:
        kem = primitives.kems[name]
        opened = kem.open_seed(kem.generate_seed())
        public = kem.open_encapsulation_key(opened.encapsulation_key)
        pairs = public.encapsulate_many(3)
        assert len({secret for _, secret in pairs}) == 3
        assert opened.decapsulate_many([c for c, _ in pairs]) == [s for _, s in pairs]
        return
    scheme = primitives.signatures[name]
    signing = scheme.open_seed(scheme.generate_seed())
    messages = [b"a", b"b", b"c"]
    signatures = signing.sign_many(messages, context=b"ctx")
    public_key = scheme.open_public_key(signing.public_key)
    made = list(zip(messages, signatures, strict=True))
    assert public_key.verify_many(made, context=b"ctx") == [True] * 3
    assert public_key.verify_many([(b"x", signatures[0])], context=b"ctx") == [False]


def test_names_and_aliases_find_their_row() -> None:
    """Every name and alias finds its row, and no two rows share one."""
    seen: set[str] = set()
    for row in ALGORITHMS.values():
        for alias in row.aliases:
            assert find(alias) is row
            assert find(alias, kind=row.kind) is row
        assert not seen & row.aliases
        seen |= row.aliases


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("Kyber768", "ML-KEM-768"),
        ("Dilithium3", "ML-DSA-65"),
        ("Composite-ML-DSA", "MLDSA65-ECDSA-P256"),
    ],
)
def test_wire_names(alias: str, name: str) -> None:
    """The names that the HTTP interface uses are accepted and are the rows' wire names."""
    assert find(alias).name == name
    assert ALGORITHMS[name].wire_name == alias


@pytest.mark.parametrize("name", ["", "ml-kem-768", "ML-KEM-768 ", "RSA", None, 768, [], b"X-Wing"])
def test_unknown_names_are_refused(name: object) -> None:
    """A name that is not exactly one of the table is refused, and the choice is told."""
    with pytest.raises(ValidationError, match="X-Wing") as caught:
        find(name)
    assert (caught.value.parameter, caught.value.code) == ("algorithm", "ERR_KMS_001")


def test_algorithms_of_another_kind_are_refused() -> None:
    """Where a KEM is needed a signature algorithm is refused, and the other way round."""
    with pytest.raises(ValidationError, match="kem algorithm") as caught:
        find("ML-DSA-65", kind=Kind.KEM, parameter="which")
    assert caught.value.parameter == "which"
    assert "ML-DSA" not in str(caught.value)
    with pytest.raises(ValidationError, match="signature algorithm"):
        find("X-Wing", kind=Kind.SIGNATURE)


def test_rows_know_their_providers() -> None:
    """Each row names exactly the installed providers that have the algorithm."""
    providers: dict[str, Primitives] = {name: open_primitives(name) for name in PROVIDERS}
    for name, row in ALGORITHMS.items():
        having = [
            provider
            for provider, primitives in sorted(providers.items())
            if name in primitives.kems or name in primitives.signatures
        ]
        assert [p for p in row.providers if p in providers] == having
        assert row.available is bool(row.providers)


def test_providers_have_known_algorithms_only() -> None:
    """No provider offers what the table lacks, or an algorithm of another kind."""
    for name in PROVIDERS:
        primitives = open_primitives(name)
        assert primitives.name == name
        assert all(ALGORITHMS[kem].kind is Kind.KEM for kem in primitives.kems)
        assert all(ALGORITHMS[s].kind is Kind.SIGNATURE for s in primitives.signatures)


def test_the_table_is_complete() -> None:
    """The table holds the promised algorithms, KEMs with a KEM identifier, drafts with revision."""
    assert [*ALGORITHMS] == [
        "ML-KEM-512",
        "ML-KEM-768",
        "ML-KEM-1024",
        "X-Wing",
        "ML-DSA-44",
        "ML-DSA-65",
        "ML-DSA-87",
        "MLDSA65-ECDSA-P256",
        "MLDSA87-ECDSA-P384",
        "SLH-DSA-SHA2-128s",
        "SLH-DSA-SHA2-128f",
        "SLH-DSA-SHA2-192s",
        "SLH-DSA-SHA2-256s",
    ]
    for row in ALGORITHMS.values():
        assert (row.hpke_kem_id is not None) == (row.kind is Kind.KEM)
        assert row.final == row.source.startswith("FIPS")
        assert row.final or row.source[-3:].lstrip("-").isdigit()
        assert 1 <= row.category <= 5
    ids = [row.hpke_kem_id for row in ALGORITHMS.values() if row.hpke_kem_id]
    assert ids == [0x0040, 0x0041, 0x0042, 0x647A]
