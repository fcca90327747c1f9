# SPDX-License-Identifier: Apache-2.0
"""Encrypted messages, wrapped keys and file keys: a header, then HPKE (docs/formats.md).

header (11 bytes) ‖ enc ‖ sealed
header = "QPH" ‖ format 0x01 ‖ kind (1) ‖ KEM id (2) ‖ key version (4), big-endian
"""

import enum
import functools
import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import Final

from attrs import frozen
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qpher_core import hpke
from qpher_core.algorithms import ALGORITHMS
from qpher_core.errors import DecryptionFailed
from qpher_core.models import KeyRef, KeyVersion, canonical_json
from qpher_core.protocols import DecapsulationKey, EncapsulationKey

__all__ = [
    "HEADER_BYTES",
    "Binding",
    "Header",
    "Kind",
    "PublicBinding",
    "decrypt",
    "decrypt_all",
    "digests",
    "encrypt",
    "encrypt_all",
    "file_binding",
    "is_for_public_key",
    "read_header",
    "version_of",
]

_MAGIC: Final = b"QPH\x01"
_HEADER: Final = struct.Struct(">4sBHI")
HEADER_BYTES: Final = _HEADER.size
_PARSED_HEADERS: Final = 256

#: Bytes of randomness that an encapsulation draws; X-Wing draws for both of its parts.
_RANDOMNESS_BYTES: Final = {"X-Wing": 64}


#: KEM id to algorithm.
_ALGORITHMS: Final = {
    row.hpke_kem_id: row.name for row in ALGORITHMS.values() if row.hpke_kem_id is not None
}


class Kind(enum.IntEnum):
    """What is inside; each kind is bound under its own name, so none opens as another."""

    MESSAGE = 1
    WRAPPED_KEY = 2
    FILE_KEY = 3
    IMPORTED_KEY = 4
    FIELD_KEY = 5
    #: Bound to a public key, not to a tenant's key version: its header has no version.
    PUBLIC_FILE_KEY = 6


_VERSIONED: Final = frozenset(Kind) - {Kind.PUBLIC_FILE_KEY}

_INFO_NAMES: Final = {
    Kind.MESSAGE: "qpher-message/1",
    Kind.WRAPPED_KEY: "qpher-wrapped-key/1",
    Kind.FILE_KEY: "qpher-file-key/1",
    Kind.IMPORTED_KEY: "qpher-imported-key/1",
    Kind.FIELD_KEY: "qpher-field-key/1",
    Kind.PUBLIC_FILE_KEY: "qpher-public-file-key/1",
}


@frozen
class Binding:
    """All that a ciphertext is bound to: it opens only under the same."""

    ref: KeyRef
    kind: Kind
    context: dict[str, str]

    @property
    def info(self) -> bytes:
        """HPKE info: canonical JSON."""
        return canonical_json(
            {
                "format": _INFO_NAMES[self.kind],
                "tenant": str(self.ref.tenant_id),
                "name": self.ref.name,
                "algorithm": self.ref.algorithm,
                "version": self.ref.version,
                "context": self.context,
            }
        )

    @property
    def algorithm(self) -> str:
        """Canonical name of the key's algorithm."""
        return self.ref.algorithm

    @property
    def kem_id(self) -> int:
        """HPKE KEM identifier of the key's algorithm."""
        return _kem_id(self.algorithm)

    @property
    def header(self) -> bytes:
        """The 11 bytes that every ciphertext of this binding begins with."""
        return _HEADER.pack(_MAGIC, self.kind, self.kem_id, self.ref.version)


@frozen
class PublicBinding:
    """What the key of a file is bound to where its recipient has no account: a public key."""

    algorithm: str
    public_key: bytes
    context: dict[str, str]

    @property
    def info(self) -> bytes:
        """HPKE info: canonical JSON."""
        return canonical_json(
            {
                "format": _INFO_NAMES[Kind.PUBLIC_FILE_KEY],
                "algorithm": self.algorithm,
                "public_key": hashlib.sha256(self.public_key).hexdigest(),
                "context": self.context,
            }
        )

    @property
    def kem_id(self) -> int:
        """HPKE KEM identifier of the key's algorithm."""
        return _kem_id(self.algorithm)

    @property
    def header(self) -> bytes:
        """The first 11 bytes; in the place of a version the start of the public key's SHA-256."""
        start = int.from_bytes(hashlib.sha256(self.public_key).digest()[:4])
        return _HEADER.pack(_MAGIC, Kind.PUBLIC_FILE_KEY, self.kem_id, start)


def file_binding(
    wrapped: bytes, key: KeyVersion, context: dict[str, str]
) -> Binding | PublicBinding | None:
    """Return what a recipient of a file is bound to, if by its header it may be this key."""
    own = Binding(key.ref, Kind.FILE_KEY, context)
    if wrapped.startswith(own.header):
        return own
    public = PublicBinding(key.algorithm, key.public_key, context)
    return public if wrapped.startswith(public.header) else None


def is_for_public_key(wrapped: bytes, key: KeyVersion) -> bool:
    """Return whether a recipient of a file names the public key of a key version."""
    if ALGORITHMS[key.algorithm].hpke_kem_id is None:
        return False
    return wrapped.startswith(PublicBinding(key.algorithm, key.public_key, {}).header)


def _kem_id(algorithm: str) -> int:
    kem_id = ALGORITHMS[algorithm].hpke_kem_id
    if kem_id is None:
        raise TypeError(f"{algorithm} is not a KEM")
    return kem_id


def encrypt(
    key: EncapsulationKey,
    binding: Binding | PublicBinding,
    plaintext: bytes,
    *,
    salt: bytes | None = None,
) -> bytes:
    """Encrypt to an encapsulation key.

    With ``salt`` (a secret of at least 32 bytes) the result depends on nothing else than salt,
    plaintext, key and binding: equal input gives equal output, and any difference in it gives
    an unrelated encapsulation.
    """
    info = binding.info
    randomness = None if salt is None else _randomness(binding, salt, plaintext)
    enc, shared_secret = key.encapsulate(randomness=randomness)
    return binding.header + enc + hpke.seal(binding.kem_id, shared_secret, info, plaintext)


def decrypt(key: DecapsulationKey, binding: Binding | PublicBinding, data: bytes) -> bytes:
    """Decrypt what :func:`encrypt` gave, or raise :class:`DecryptionFailed` for any cause."""
    enc_end = HEADER_BYTES + ALGORITHMS[binding.algorithm].output_bytes
    if data[:HEADER_BYTES] != binding.header or len(data) < enc_end + hpke.OVERHEAD:
        raise DecryptionFailed
    shared_secret = key.decapsulate(data[HEADER_BYTES:enc_end])
    return hpke.open_sealed(binding.kem_id, shared_secret, binding.info, data[enc_end:])


def encrypt_all(
    key: EncapsulationKey, bindings: Sequence[Binding], plaintexts: Sequence[bytes]
) -> list[bytes]:
    """Encrypt several plaintexts to one key, each with its own encapsulation and binding."""
    of = _Schedules().of
    made = key.encapsulate_many(len(plaintexts))
    return [
        header + enc + schedule.seal(secret, plaintext)
        for binding, plaintext, (enc, secret) in zip(bindings, plaintexts, made, strict=True)
        for header, schedule in (of(binding),)
    ]


def decrypt_all(
    key: DecapsulationKey, bindings: Sequence[Binding], ciphertexts: Sequence[bytes]
) -> list[bytes | DecryptionFailed]:
    """Decrypt several messages under one key; an error stands in the place of one that fails."""
    results: list[bytes | DecryptionFailed] = [DecryptionFailed()] * len(ciphertexts)
    if not bindings:
        return results
    of = _Schedules().of
    enc_end = HEADER_BYTES + ALGORITHMS[bindings[0].algorithm].output_bytes
    good = [
        n
        for n, (binding, data) in enumerate(zip(bindings, ciphertexts, strict=True))
        if data.startswith(of(binding)[0]) and len(data) >= enc_end + hpke.OVERHEAD
    ]
    if not good:
        return results
    secrets = _decapsulate_all(key, [ciphertexts[n][HEADER_BYTES:enc_end] for n in good])
    for n, secret in zip(good, secrets, strict=True):
        if secret is not None:
            plaintext = of(bindings[n])[1].open(secret, ciphertexts[n][enc_end:])
            if plaintext is not None:
                results[n] = plaintext
    return results


def _decapsulate_all(key: DecapsulationKey, ciphertexts: list[bytes]) -> list[bytes | None]:
    try:
        return list(key.decapsulate_many(ciphertexts))
    except DecryptionFailed:  # one of them has an all-zero X25519 part; the others are good
        return [_decapsulate(key, ciphertext) for ciphertext in ciphertexts]


def _decapsulate(key: DecapsulationKey, ciphertext: bytes) -> bytes | None:
    try:
        return key.decapsulate(ciphertext)
    except DecryptionFailed:
        return None


class _Schedules:
    """Headers and key schedules of one batch, by what they are bound to."""

    def __init__(self) -> None:
        self._of: dict[tuple[bytes, bytes], tuple[bytes, hpke.KeySchedule]] = {}
        self._last: tuple[Binding, tuple[bytes, hpke.KeySchedule]] | None = None

    def of(self, binding: Binding) -> tuple[bytes, hpke.KeySchedule]:
        """Return header and key schedule of a binding."""
        if self._last is not None and self._last[0] is binding:
            return self._last[1]
        header, info = binding.header, binding.info
        found = self._of.get((header, info))
        if found is None:
            found = self._of[header, info] = header, hpke.KeySchedule(binding.kem_id, info)
        self._last = (binding, found)
        return found


@frozen
class Header:
    """What the header of a ciphertext says."""

    kind: Kind
    algorithm: str
    version: int


def read_header(data: bytes) -> Header | None:
    """Return what the header of a ciphertext says, or None if it has none."""
    return _parse_header(bytes(data[:HEADER_BYTES]))


@functools.lru_cache(_PARSED_HEADERS)
def _parse_header(data: bytes) -> Header | None:
    if len(data) < HEADER_BYTES:
        return None
    magic, kind, kem_id, version = _HEADER.unpack(data)
    algorithm = _ALGORITHMS.get(kem_id)
    if magic != _MAGIC or kind not in _VERSIONED or algorithm is None or version < 1:
        return None
    return Header(Kind(kind), algorithm, version)


def version_of(data: bytes) -> int | None:
    """Return the key version that the header of a ciphertext names, or None if it has none."""
    if len(data) < HEADER_BYTES:
        return None
    magic, _, _, version = _HEADER.unpack_from(data)
    return int(version) if magic == _MAGIC else None


def digests(ciphertexts: Iterable[bytes]) -> bytes:
    """Return SHA-256 of each, 32 bytes, joined: what an audit entry about several covers."""
    return b"".join(hashlib.sha256(ciphertext).digest() for ciphertext in ciphertexts)


def _randomness(binding: Binding | PublicBinding, salt: bytes, plaintext: bytes) -> bytes:
    length = _RANDOMNESS_BYTES.get(binding.algorithm, 32)
    info = b"qpher-deterministic/1\x00" + binding.info
    return HKDF(SHA256(), length, salt, info).derive(plaintext)
