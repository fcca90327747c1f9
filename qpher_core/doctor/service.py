# SPDX-License-Identifier: Apache-2.0
"""Examining a service elsewhere, as far as an API key's tenant can."""

import email.utils
import http.client
import ssl
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from qpher_core.doctor.finding import Finding, ok, problem, warning
from qpher_core.errors import QpherError
from qpher_core.remote import is_loopback
from qpher_core.session import Session

__all__ = ["examine_service"]

_SKEW_SECONDS: Final = 5
_TIMEOUT: Final = 10.0


def examine_service(url: str, session: Session, *, ca: str | None) -> Iterator[Finding]:
    """Yield what can be seen of a service from here."""
    yield _transport(url)
    yield _clocks(url, ca)
    try:
        usage = session.usage.current()
        yield ok("API key", f"accepted, of tenant {usage.tenant.name}")
        report = session.audit.verify()
    except QpherError as error:
        yield problem("API key", str(error), "check QPHER_API_KEY and its scopes")
        return
    if report.ok:
        yield ok("audit log", f"{report.entries:,} entries, the service says that they are sound")
    else:
        yield problem(
            "audit log",
            f"entry {report.bad_seq}: {report.problem}",
            "export the log and keep it; tell who runs the service",
        )


def _transport(url: str) -> Finding:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https":
        return ok("transport", "TLS")
    if is_loopback(parts.hostname or ""):
        return ok("transport", "plain HTTP within this machine")
    return problem("transport", "plain HTTP: the network reads keys and data", "use https://")


def _clocks(url: str, ca: str | None) -> Finding:
    """Compare the service's clock with ours, to within what an answer takes."""
    context = ssl.create_default_context(cafile=ca) if url.startswith("https:") else None
    address = urllib.parse.urljoin(url, "/health/live")
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT, context=context) as answer:  # noqa: S310 - the scheme is http or https
            told = answer.headers["Date"]
    except (OSError, http.client.HTTPException) as error:
        return problem("clocks", f"no answer from {address}: {error}", "is the service up?")
    moment = _moment(told)
    if moment is None:
        return warning("clocks", "the service does not tell its time", "compare them by hand")
    apart = abs((moment - datetime.now(UTC)).total_seconds())
    if apart > _SKEW_SECONDS:
        return warning("clocks", f"{apart:.0f} seconds apart", "synchronise both machines")
    return ok("clocks", "agree")


def _moment(told: str | None) -> datetime | None:
    """Return the time of a ``Date`` header; None if there is none, or it is malformed."""
    if told is None:
        return None
    try:
        moment = email.utils.parsedate_to_datetime(told)
    except (ValueError, OverflowError):
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC)  # "-0000" is UTC without a zone
