# SPDX-License-Identifier: Apache-2.0
"""Where anchors are published besides the store: out of reach of whoever runs the database."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from attrs import field, frozen

from qpher_core.audit.posting import check_endpoint, post
from qpher_core.errors import Unavailable, ValidationError
from qpher_core.file_io import open_target

__all__ = ["AnchorPublisher", "CallPublisher", "FilePublisher", "HttpPublisher", "open_publisher"]


class AnchorPublisher(Protocol):
    """Takes every new anchor of every log. Called by one thread at a time for each log.

    The same anchor may come more than once: after a crash, the last one is published again.
    """

    def publish(self, tenant_id: uuid.UUID, note: str) -> None:
        """Publish an anchor. Raises ``Unavailable`` if it could not; it will be tried again."""

    def latest(self, tenant_id: uuid.UUID) -> str | None:
        """Return the last anchor published, where the place can tell; None where it cannot.

        A store that is behind it, or has another history, is then noticed before it is
        anchored: a backup was restored, or the log was altered.
        """


@frozen
class FilePublisher:
    """Keeps the last anchor of each log in a folder, as ``<tenant id>.checkpoint``.

    Files appear and change whole: written beside, flushed to disk, renamed.
    """

    folder: Path

    def publish(self, tenant_id: uuid.UUID, note: str) -> None:
        """Replace the file of a log."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open_target(self._path(tenant_id)) as file:
                file.write(note.encode())
        except OSError as error:
            raise Unavailable(f"cannot publish to {self.folder}: {error.strerror}") from error

    def latest(self, tenant_id: uuid.UUID) -> str | None:
        """Return the content of the file of a log."""
        try:
            return self._path(tenant_id).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise Unavailable(f"cannot read {self._path(tenant_id)}") from error

    def _path(self, tenant_id: uuid.UUID) -> Path:
        return self.folder / f"{tenant_id}.checkpoint"


@frozen
class HttpPublisher:
    """Posts each anchor as text to an endpoint, which answers with 2xx; it must not redirect."""

    url: str = field(repr=lambda url: repr(urlsplit(url).hostname))  # a path can be a secret

    def publish(self, tenant_id: uuid.UUID, note: str) -> None:
        """POST the note; the header ``Qpher-Log`` names the tenant."""
        headers = {"Content-Type": "text/plain; charset=utf-8", "Qpher-Log": str(tenant_id)}
        status, _ = post(self.url, note.encode(), headers)
        if not 200 <= status < 300:
            raise Unavailable(f"{urlsplit(self.url).hostname} answered an anchor with {status}")

    def latest(self, tenant_id: uuid.UUID) -> str | None:  # noqa: ARG002 - it cannot tell
        """Return None: an endpoint only takes."""
        return None


@frozen
class CallPublisher:
    """Hands each anchor to a function of the caller."""

    function: Callable[[uuid.UUID, str], None]

    def publish(self, tenant_id: uuid.UUID, note: str) -> None:
        """Call it; whatever it raises means that the anchor is not published."""
        try:
            self.function(tenant_id, note)
        except Exception as error:
            raise Unavailable(f"the publisher failed ({type(error).__name__})") from error

    def latest(self, tenant_id: uuid.UUID) -> str | None:  # noqa: ARG002 - it cannot tell
        """Return None: a function only takes."""
        return None


def open_publisher(
    target: str | AnchorPublisher | Callable[[uuid.UUID, str], None],
) -> AnchorPublisher:
    """Return the publisher for ``file:///folder``, ``https://…``, a function or a publisher.

    Raises:
        ValidationError: it is none of these.
    """
    if hasattr(target, "publish") and hasattr(target, "latest"):
        return target
    if callable(target):
        return CallPublisher(target)
    if isinstance(target, str) and target.startswith("file:///"):
        return FilePublisher(Path(target.removeprefix("file://")))
    if isinstance(target, str) and target.startswith(("https://", "http://")):
        check_endpoint(target, "publishers")
        return HttpPublisher(target)
    raise ValidationError(
        "publishers must be file:///folder, an http(s) URL or a function", parameter="publishers"
    )
