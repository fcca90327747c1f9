# SPDX-License-Identifier: Apache-2.0
"""URLs of protectors: a place, and options after a question mark."""

from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from qpher_core.errors import ValidationError

__all__ = ["absolute", "refused", "split"]


def split(url: str, form: str, *options: str) -> tuple[str, dict[str, str]]:
    """Return what stands between ``scheme://`` and the question mark, and the options.

    Args:
        url: the URL; the two slashes may be left out.
        form: how it must look, for the message.
        options: the names of those that exist.

    Raises:
        ValidationError: an option is unknown, empty or given twice, or there is a fragment.
    """
    parts = urlsplit(url)
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise refused(form) from None
    given = dict(pairs)
    wrong = len(given) != len(pairs) or not set(given) <= set(options) or "" in given.values()
    if wrong or parts.fragment:
        raise refused(form)
    return unquote(parts.netloc + parts.path), given


def absolute(text: str, form: str) -> Path:
    """Return an absolute path."""
    path = Path(text)
    if not path.is_absolute() or "\x00" in text:
        raise refused(form)
    return path


def refused(form: str) -> ValidationError:
    """Return the error of a wrong URL; it does not repeat it, as a secret may be there."""
    return ValidationError(f"protector must be {form}", parameter="protector")
