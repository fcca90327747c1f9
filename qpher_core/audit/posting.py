# SPDX-License-Identifier: Apache-2.0
"""Posting to endpoints that others run: witnesses, and places where anchors are published."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from qpher_core._deadline import call_with_deadline
from qpher_core.errors import Unavailable, ValidationError

__all__ = ["check_endpoint", "post"]

_TIMEOUT_SECONDS: Final = 10.0
_LONGEST_ANSWER: Final = 1 << 16


def check_endpoint(url: str, parameter: str) -> None:
    """Check a URL; what is wrong with it is not shown, because it can hold a credential.

    Raises:
        ValidationError: it is none of HTTP, or has credentials before its host.
    """
    try:
        parts = urlsplit(url)
        sound = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.username is not None:
        raise ValidationError(
            f"{parameter} must be http(s)://host[:port]/path, without credentials before the host",
            parameter=parameter,
        )


def post(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Return status and beginning of an answer, whatever the status is.

    Raises:
        Unavailable: there is no answer, or none in time.
    """

    def send() -> tuple[int, bytes]:
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            url, data=body, headers=dict(headers), method="POST"
        )
        with _answer(request) as answer:
            return answer.status, answer.read(_LONGEST_ANSWER)

    try:
        # A socket's own timeout begins anew with every byte that arrives.
        return call_with_deadline(send, _TIMEOUT_SECONDS)
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = getattr(error, "reason", None) or error.__class__.__name__
        raise Unavailable(f"{urlsplit(url).hostname} does not answer ({why})") from error


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows none: a POST would go on as a GET, without its body, and look well received."""

    def redirect_request(self, *_: object) -> None:
        """Let the redirect be the answer."""


def _answer(request: urllib.request.Request) -> Any:
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        return opener.open(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as refused:
        return refused  # an answer as any other
