# SPDX-License-Identifier: Apache-2.0
"""``session.resign``: signing anew with another key, with a link to the former signature.

The new signature's context is the former one's with one member more, ``previous-signature``: the
SHA-256 of the former signature. So it verifies as any other, only with that context, and whoever
keeps both signatures can follow the chain to the first one.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from qpher_core.errors import ValidationError
from qpher_core.results import SignResult
from qpher_core.session_signatures import Signatures
from qpher_core.validation import check_context

__all__ = ["PREVIOUS", "ResignResult", "resign"]

#: Member of a context that names the former signature.
PREVIOUS: Final = "previous-signature"


@frozen(kw_only=True)
class ResignResult(SignResult):
    """A signature that follows another one.

    Attributes:
        context: what it verifies with.
    """

    context: Mapping[str, str] = field(repr=False)


def resign(
    signatures: Signatures,
    message: bytes,
    signature: bytes,
    key_version: int,
    algorithm: str,
    *,
    to_algorithm: str,
    to_version: int | None,
    name: str,
    context: Mapping[str, str] | None,
    accept_compromised: bool,
) -> ResignResult:
    """Implement :meth:`Session.resign`."""
    bound = check_context(context)
    former = signatures.verify(
        message,
        signature,
        key_version,
        algorithm,
        name=name,
        context=bound,
        accept_compromised=accept_compromised,
    )
    if not former.valid:
        raise ValidationError(
            "signature must be valid before it is replaced", parameter="signature"
        )
    linked = {**bound, PREVIOUS: hashlib.sha256(signature).hexdigest()}
    signed = signatures.sign(message, to_version, to_algorithm, name=name, context=linked)
    return ResignResult(
        signature=signed.signature,
        key_version=signed.key_version,
        algorithm=signed.algorithm,
        request_id=signed.request_id,
        receipt=signed.receipt,
        context=linked,
    )
