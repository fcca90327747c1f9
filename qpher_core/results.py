# SPDX-License-Identifier: Apache-2.0
"""What operations on keys return. Those that carry a secret hide it and refuse to be pickled."""

from collections.abc import Mapping
from typing import Any, NoReturn

from attrs import define, field, frozen

from qpher_core.models import KeyVersion, Receipt

__all__ = [
    "DecapsulateResult",
    "DecryptResult",
    "EncapsulateResult",
    "EncryptResult",
    "FieldKeysUnwrapResult",
    "FieldKeysWrapResult",
    "FileResult",
    "FileRewrapResult",
    "KeyUnwrapResult",
    "KeyWrapResult",
    "RotateResult",
    "SignHashResult",
    "SignResult",
    "VerifyHashResult",
    "VerifyResult",
]


class _Secret:
    """Mix-in for values that carry a secret."""

    __slots__ = ()

    def __reduce_ex__(self, _protocol: Any) -> NoReturn:
        raise TypeError(f"{type(self).__name__} carries a secret and cannot be pickled or copied")


@define(frozen=True, kw_only=True)
class _Result:
    key_version: int
    algorithm: str
    request_id: str
    receipt: Receipt


@frozen(kw_only=True)
class RotateResult(_Result):
    """A new active key version. ``old_key_version`` is now retired."""

    public_key: bytes = field(repr=lambda b: f"<{len(b)} bytes>")
    old_key_version: int
    key: KeyVersion


@frozen(kw_only=True)
class EncryptResult(_Result):
    """An encrypted message (docs/formats.md, Message)."""

    ciphertext: bytes = field(repr=lambda b: f"<{len(b)} bytes>")


@frozen(kw_only=True)
class DecryptResult(_Result, _Secret):
    """A decrypted message."""

    plaintext: bytes = field(repr=False)


@frozen(kw_only=True)
class EncapsulateResult(_Result, _Secret):
    """A KEM ciphertext and the 32-byte shared secret that it carries."""

    kem_ciphertext: bytes = field(repr=lambda b: f"<{len(b)} bytes>")
    shared_secret: bytes = field(repr=False)


@frozen(kw_only=True)
class DecapsulateResult(_Result, _Secret):
    """A 32-byte shared secret."""

    shared_secret: bytes = field(repr=False)


@frozen(kw_only=True)
class KeyWrapResult(_Result):
    """A wrapped symmetric key (docs/formats.md, Wrapped key)."""

    wrapped_key: bytes = field(repr=lambda b: f"<{len(b)} bytes>")
    wrapping_method: str


@frozen(kw_only=True)
class KeyUnwrapResult(_Result, _Secret):
    """An unwrapped symmetric key."""

    symmetric_key: bytes = field(repr=False)


@frozen(kw_only=True)
class FieldKeysWrapResult(_Result):
    """Wrapped keys of encrypted fields (docs/formats.md, Field value), in order."""

    wrapped_keys: tuple[bytes, ...] = field(repr=lambda keys: f"<{len(keys)} keys>")


@frozen(kw_only=True)
class FieldKeysUnwrapResult(_Result, _Secret):
    """Keys of encrypted fields of 32 bytes, in order; None in the place of one that fails."""

    field_keys: tuple[bytes | None, ...] = field(repr=False)


@frozen(kw_only=True)
class FileResult(_Result):
    """A file that was encrypted or decrypted. Sizes in bytes.

    Attributes:
        metadata: what it was encrypted with.
    """

    plaintext_bytes: int
    ciphertext_bytes: int
    metadata: Mapping[str, str] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class FileRewrapResult(_Result):
    """A file that changed its recipients; key and receipt are those of opening it.

    Attributes:
        in_place: whether its header was rewritten where it is; else the file was copied.
        recipients: how many it has now.
    """

    in_place: bool
    recipients: int


@frozen(kw_only=True)
class SignResult(_Result):
    """A signature."""

    signature: bytes = field(repr=lambda b: f"<{len(b)} bytes>")


@frozen(kw_only=True)
class SignHashResult(SignResult):
    """A signature over a digest that the caller computed."""

    hash_algorithm: str
    signature_type: str


@frozen(kw_only=True)
class VerifyResult(_Result):
    """Whether a signature is valid."""

    valid: bool


@frozen(kw_only=True)
class VerifyHashResult(VerifyResult):
    """Whether a signature over a digest is valid."""

    hash_algorithm: str
