# SPDX-License-Identifier: Apache-2.0
"""The algorithm registry: one row per algorithm. All sizes are in bytes."""

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from attrs import frozen

from qpher_core.errors import ValidationError

__all__ = ["ALGORITHMS", "DEFAULT_KEM", "DEFAULT_SIGNATURE", "Algorithm", "Kind", "find"]

#: Where a caller names none.
DEFAULT_KEM: Final = "ML-KEM-768"
DEFAULT_SIGNATURE: Final = "ML-DSA-65"


class Kind(enum.StrEnum):
    """What an algorithm does."""

    KEM = "kem"
    SIGNATURE = "signature"


@frozen
class Algorithm:
    """One algorithm.

    Attributes:
        name: canonical name, used everywhere but on the wire.
        kind: KEM or signature.
        wire_name: name in HTTP answers.
        public_key_bytes: length of an encapsulation key or public key.
        output_bytes: length of a KEM ciphertext or signature; the longest, where it varies.
        seed_bytes: length of the private seed that is sealed and stored.
        category: NIST security category, 1 to 5.
        source: the standard, or the draft with its revision.
        final: whether the standard is final and FIPS-approved.
        hybrid: whether a classical algorithm is composed in.
        hpke_kem_id: HPKE KEM identifier, for KEMs.
        oid: object identifier, where one is assigned.
        expanded_bytes: length of the expanded private key of FIPS 203 or 204, which can be
            imported instead of a seed.
    """

    name: str
    kind: Kind
    wire_name: str
    public_key_bytes: int
    output_bytes: int
    seed_bytes: int
    category: int
    source: str
    final: bool = True
    hybrid: bool = False
    hpke_kem_id: int | None = None
    oid: str | None = None
    expanded_bytes: int | None = None

    @property
    def aliases(self) -> frozenset[str]:
        """Every name that is accepted for this algorithm."""
        return frozenset({self.name, self.wire_name})

    @property
    def providers(self) -> tuple[str, ...]:
        """Names of the installed primitives providers that have this algorithm."""
        from qpher_core.discovery import providers_of  # noqa: PLC0415 - discovery imports us

        return providers_of(self.name)

    @property
    def how_to_get(self) -> str:
        """What to install for an algorithm that no installed provider has."""
        if self.source == _FIPS205:
            return "'rustcrypto' has it: pip install 'qpher-core[rustcrypto]'"
        return "'native' has it: install a wheel, or reinstall with a C compiler"

    @property
    def available(self) -> bool:
        """Whether an installed provider has this algorithm."""
        return bool(self.providers)


_FIPS203 = "FIPS 203"
_FIPS204 = "FIPS 204"
_FIPS205 = "FIPS 205"
_XWING = "draft-connolly-cfrg-xwing-kem-10"
_COMPOSITE = "draft-ietf-lamps-pq-composite-sigs-19"
_NIST_SIG = "2.16.840.1.101.3.4.3"
_NIST_KEM = "2.16.840.1.101.3.4.4"


def _kem(
    name: str,
    wire: str,
    ek: int,
    ct: int,
    category: int,
    kem_id: int,
    *,
    seed: int = 64,
    source: str = _FIPS203,
    final: bool = True,
    hybrid: bool = False,
    oid: str | None = None,
    expanded: int | None = None,
) -> Algorithm:
    return Algorithm(
        name, Kind.KEM, wire, ek, ct, seed, category, source, final, hybrid, kem_id, oid, expanded
    )


def _sig(
    name: str,
    wire: str,
    pk: int,
    sig: int,
    seed: int,
    category: int,
    source: str,
    oid: str,
    *,
    final: bool = True,
    hybrid: bool = False,
    expanded: int | None = None,
) -> Algorithm:
    return Algorithm(
        name,
        Kind.SIGNATURE,
        wire,
        pk,
        sig,
        seed,
        category,
        source,
        final,
        hybrid,
        None,
        oid,
        expanded,
    )


# A composite public key is ML-DSA's followed by an uncompressed point (1 + 2n); its signature is
# ML-DSA's followed by a DER Ecdsa-Sig-Value, at most 72 bytes for P-256 and 104 for P-384; its
# seed is ML-DSA's 32 bytes followed by a DER ECPrivateKey (RFC 5915), 51 and 64 bytes.
_ROWS: Final = (
    _kem("ML-KEM-512", "ML-KEM-512", 800, 768, 1, 0x0040, oid=f"{_NIST_KEM}.1", expanded=1632),
    _kem("ML-KEM-768", "Kyber768", 1184, 1088, 3, 0x0041, oid=f"{_NIST_KEM}.2", expanded=2400),
    _kem("ML-KEM-1024", "ML-KEM-1024", 1568, 1568, 5, 0x0042, oid=f"{_NIST_KEM}.3", expanded=3168),
    _kem(
        "X-Wing",
        "X-Wing",
        1216,
        1120,
        3,
        0x647A,
        seed=32,
        source=_XWING,
        final=False,
        hybrid=True,
        oid="1.3.6.1.4.1.62253.25722",
    ),
    _sig("ML-DSA-44", "ML-DSA-44", 1312, 2420, 32, 2, _FIPS204, f"{_NIST_SIG}.17", expanded=2560),
    _sig("ML-DSA-65", "Dilithium3", 1952, 3309, 32, 3, _FIPS204, f"{_NIST_SIG}.18", expanded=4032),
    _sig("ML-DSA-87", "ML-DSA-87", 2592, 4627, 32, 5, _FIPS204, f"{_NIST_SIG}.19", expanded=4896),
    _sig(
        "MLDSA65-ECDSA-P256",
        "Composite-ML-DSA",
        2017,
        3309 + 72,
        32 + 51,
        3,
        _COMPOSITE,
        "1.3.6.1.5.5.7.6.45",
        final=False,
        hybrid=True,
    ),
    _sig(
        "MLDSA87-ECDSA-P384",
        "MLDSA87-ECDSA-P384",
        2689,
        4627 + 104,
        32 + 64,
        5,
        _COMPOSITE,
        "1.3.6.1.5.5.7.6.49",
        final=False,
        hybrid=True,
    ),
    *(
        _sig(name, name, pk, sig, 2 * pk, category, _FIPS205, f"{_NIST_SIG}.{arc}")
        for name, pk, sig, category, arc in (
            ("SLH-DSA-SHA2-128s", 32, 7856, 1, 20),
            ("SLH-DSA-SHA2-128f", 32, 17088, 1, 21),
            ("SLH-DSA-SHA2-192s", 48, 16224, 3, 22),
            ("SLH-DSA-SHA2-256s", 64, 29792, 5, 24),
        )
    ),
)

#: Canonical name to row, in the order of the table above.
ALGORITHMS: Final[Mapping[str, Algorithm]] = MappingProxyType({row.name: row for row in _ROWS})

_BY_ALIAS: Final = {alias: row for row in _ROWS for alias in row.aliases}


def find(name: object, *, kind: Kind | None = None, parameter: str = "algorithm") -> Algorithm:
    """Return the row for a canonical name or alias.

    Raises:
        ValidationError: the name is unknown, or names an algorithm of another kind.
    """
    row = _BY_ALIAS.get(name) if isinstance(name, str) else None
    if row is not None and kind in {None, row.kind}:
        return row
    choice = ", ".join(r.name for r in _ROWS if kind in {None, r.kind})
    what = "an algorithm" if kind is None else f"a {kind} algorithm"
    raise ValidationError(
        f"{parameter} must be {what}, one of: {choice}",
        parameter=parameter,
        code="ERR_KMS_001",
    )
