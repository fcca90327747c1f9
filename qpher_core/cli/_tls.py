# SPDX-License-Identifier: Apache-2.0
"""The options of TLS, tried before anything is served with them."""

import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final

import click

__all__ = ["check_tls", "tls_options"]

_FILES: Final = "--ssl-certfile, --ssl-keyfile or --ssl-ca-certs"

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def tls_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command."""
    file = click.Path(exists=True, dir_okay=False)
    options: tuple[Decorator, ...] = (
        click.option("--ssl-certfile", type=file, help="For TLS."),
        click.option("--ssl-keyfile", type=file, help="For TLS."),
        click.option(
            "--ssl-keyfile-password",
            envvar="QPHER_SSL_KEYFILE_PASSWORD",
            help="If the key is encrypted; better left in QPHER_SSL_KEYFILE_PASSWORD.",
        ),
        click.option("--ssl-ca-certs", type=file, help="To ask clients for theirs."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def check_tls(options: Mapping[str, Any]) -> None:
    """Refuse options of TLS that would be without effect or cannot be used.

    Without a certificate there is no TLS, and nobody is asked for theirs; a worker that cannot use
    its files would be started again and again.
    """
    for option in ("keyfile", "ca-certs"):
        if options[f"ssl_{option.replace('-', '_')}"] and not options["ssl_certfile"]:
            raise click.UsageError(f"--ssl-{option} needs --ssl-certfile")
    if options["ssl_certfile"]:
        _try(options)


def _try(options: Mapping[str, Any]) -> None:
    def password() -> str:
        if options["ssl_keyfile_password"] is None:
            raise click.UsageError("the key is encrypted: set QPHER_SSL_KEYFILE_PASSWORD")
        return str(options["ssl_keyfile_password"])

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(options["ssl_certfile"], options["ssl_keyfile"], password)
        if options["ssl_ca_certs"]:
            context.load_verify_locations(options["ssl_ca_certs"])
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{_FILES} cannot be used: {error}") from None
