# SPDX-License-Identifier: Apache-2.0
"""What a signature is bound to besides its message: the context string of FIPS 204."""

import hashlib
from collections.abc import Mapping
from typing import Final

from qpher_core.errors import ValidationError
from qpher_core.models import canonical_json
from qpher_core.validation import check_context

__all__ = ["Context", "context_string"]

_LONGEST_CONTEXT_STRING: Final = 255

#: As callers give it.
Context = Mapping[str, str] | bytes | None


def context_string(context: Context) -> bytes:
    """Return the context string (FIPS 204 section 5.2) that a context stands for.

    Bytes, at most 255, stand for themselves. A mapping stands for ``qpher-context/1:`` followed
    by SHA-256 of its canonical JSON; an empty one for the empty string.
    """
    if isinstance(context, bytes | bytearray | memoryview):
        raw = bytes(context)
        if len(raw) > _LONGEST_CONTEXT_STRING:
            raise ValidationError(
                f"context must have at most 255 bytes, not {len(raw)}", parameter="context"
            )
        return raw
    mapping = check_context(context)
    if not mapping:
        return b""
    return b"qpher-context/1:" + hashlib.sha256(canonical_json(mapping)).digest()
