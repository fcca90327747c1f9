# SPDX-License-Identifier: Apache-2.0
"""URLs of protectors: a place, and options after a question mark."""

from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from qpher_core.errors import ValidationError

__all__ = ["absolute", "given", "refused", "split"]


def split(url: str, form: str, *options: str) -> tuple[str, dict[str, str]]:
    """Return what stands between ``scheme://`` and the question mark, and the options.

    Args:
        url: the URL; the two slashes may be left out.
        form: how it must look, for the message.
        options: the names of those that exist.

    Raises:
        ValidationError: an option is unknown, empty or given twice, or there is a fragment.
    """
    try:
        parts = urlsplit(url)
        pairs = given(parts.query)
    except ValueError:
        raise refused(form) from None
    found = dict(pairs)
    wrong = len(found) != len(pairs) or not set(found) <= set(options) or "" in found.values()
    if wrong or parts.fragment:
        raise refused(form)
    return unquote(parts.netloc + parts.path), found


def given(query: str) -> list[tuple[str, str]]:
    """Return the options of a query; a plus is one, as nobody wrote this into a form.

    Raises:
        ValueError: it holds something else.
    """
    plain = query.replace("+", "%2B")
    return parse_qsl(plain, keep_blank_values=True, strict_parsing=bool(query))


def absolute(text: str, form: str) -> Path:
    """Return an absolute path."""
    path = Path(text)
    if not path.is_absolute() or "\x00" in text:
        raise refused(form)
    return path


def refused(form: str) -> ValidationError:
    """Return the error of a wrong URL; it does not repeat it, as a secret may be there."""
    return ValidationError(f"protector must be {form}", parameter="protector")
