# SPDX-License-Identifier: Apache-2.0
"""What the machine brings: versions, the C core and its code path, the clock, locked memory."""

import ctypes
import os
import platform
import resource
import sqlite3
from collections.abc import Iterator
from importlib.metadata import version
from typing import Final

from cryptography.hazmat.backends.openssl import backend

from qpher_core.discovery import open_primitives
from qpher_core.doctor.finding import Finding, ok, warning
from qpher_core.errors import QpherError

__all__ = ["examine_machine"]

_TIMEX_BYTES: Final = 512  # struct timex takes 208 on 64-bit Linux; the kernel writes no more
_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised
_LOCKABLE_BYTES: Final = 1024 * 1024  # a hundred opened keys or so


def examine_machine() -> Iterator[Finding]:
    """Yield what holds for every store on this machine."""
    yield ok("versions", ", ".join(f"{name} {number}" for name, number in _versions()))
    yield _primitives()
    yield _clock()
    yield _locked_memory()


def _versions() -> Iterator[tuple[str, str]]:
    yield "qpher-core", version("qpher-core")
    yield "Python", platform.python_version()
    yield "cryptography", version("cryptography")
    yield "OpenSSL", backend.openssl_version_text().split()[1]
    yield "SQLite", sqlite3.sqlite_version


def _primitives() -> Finding:
    try:
        provider = open_primitives(None)
    except QpherError as error:
        return warning("primitives", str(error), "reinstall qpher-core: its self-test failed")
    path = getattr(provider, "cpu_path", None)
    if path is None:
        return warning(
            "primitives",
            f"{provider.name}, not the C core: slower, and not all algorithms",
            "install a wheel, or reinstall with a C compiler and Python's headers",
        )
    vector = platform.machine() in {"x86_64", "AMD64"}
    if path == "portable" and vector:
        return warning(
            "primitives",
            f"{provider.name}, portable code",
            "operations take several times longer: the CPU lacks AVX2, or QPHER_NATIVE_CPU says so",
        )
    return ok("primitives", f"{provider.name}, code path {path}")


def _clock() -> Finding:
    """Ask the kernel whether something keeps the clock right (adjtimex, which changes nothing)."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    ask = getattr(ctypes.CDLL(None), "adjtimex", None)
    state = -1 if ask is None else ask(buffer)
    if state == _TIME_ERROR:
        return warning(
            "clock",
            "nothing keeps it synchronised",
            "run chrony or systemd-timesyncd: key ages and audit entries tell its time",
        )
    if state < 0:
        return warning("clock", "the system does not tell", "see that something synchronises it")
    return ok("clock", "synchronised")


def _locked_memory() -> Finding:
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if os.geteuid() == 0 or limit == resource.RLIM_INFINITY or limit >= _LOCKABLE_BYTES:
        return ok("locked memory", "opened keys stay out of swap")
    return warning(
        "locked memory",
        f"only {limit // 1024} KiB may be locked: opened keys can reach the swap",
        "raise the limit (LimitMEMLOCK= in systemd, memlock in limits.conf)",
    )
