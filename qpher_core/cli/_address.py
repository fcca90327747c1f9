# SPDX-License-Identifier: Apache-2.0
"""Whether an address can be listened on, told in one line before anything is opened."""

import errno
import socket
from pathlib import Path
from typing import Final

from qpher_core.errors import ValidationError

__all__ = ["check_address"]

#: Of one address these say that listening fails, whatever other addresses the host has.
_FINAL: Final = (errno.EADDRINUSE, errno.EACCES)


def check_address(host: str, port: int, uds: str | None) -> None:
    """Refuse what cannot be listened on; where the socket is a file, only its folder is looked at.

    Raises:
        ValidationError: by the name of the option.
    """
    if uds is None:
        _check_host(host, port)
    elif not Path(uds).absolute().parent.is_dir():
        raise ValidationError(f"--uds must be in a folder that exists: {uds}", parameter="uds")


def _check_host(host: str, port: int) -> None:
    flags = socket.AI_PASSIVE
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=flags)
    except OSError as error:
        raise ValidationError(f"--host {host!r} is no address: {error}", parameter="host") from None
    failures = [failure for one in found if (failure := _failure(one[0], one[4])) is not None]
    final = [failure for failure in failures if failure.errno in _FINAL]
    if final or len(failures) == len(found):
        reason = (final or failures)[0].strerror
        raise ValidationError(f"cannot listen on {host} port {port}: {reason}", parameter="port")


def _failure(
    family: socket.AddressFamily, address: tuple[str | int | bytes, ...]
) -> OSError | None:
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            listener.bind(address)
        except OSError as error:
            return error
    return None
