# SPDX-License-Identifier: Apache-2.0
"""``qpher-core serve``: the HTTP API under uvicorn."""

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from typing import Any, Final

import click

from qpher_core.cli._address import check_address
from qpher_core.cli._frame import Command
from qpher_core.cli._target import PROTECTORS, STORE, Target
from qpher_core.cli._tls import check_tls, tls_options
from qpher_core.errors import ValidationError

__all__ = ["serve"]

#: Seconds after which a worker that does not answer its parent is taken for hung and replaced.
_HEALTHCHECK_SECONDS: Final = 30


@click.command(
    cls=Command, example="qpher-core serve --store sqlite:///qpher.db --port 8443 --workers 2"
)
@STORE
@PROTECTORS
@click.option(
    "--policy", "policies", multiple=True, metavar="URL", help="Policy engines; rules: if none."
)
@click.option("--policy-deadline", default=0.5, show_default=True, help="Seconds for a decision.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 for any that is free.",
)
@click.option("--uds", type=click.Path(), help="A Unix socket instead of host and port.")
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 256),
    help="Processes that serve.",
)
@click.option(
    "--threads",
    default=32,
    show_default=True,
    type=click.IntRange(1, 1024),
    help="Threads of each worker that do the work.",
)
@click.option("--deadline", default=30.0, show_default=True, help="Seconds for one request.")
@click.option(
    "--stop-deadline",
    default=30,
    show_default=True,
    type=click.IntRange(0),
    help="Seconds to finish in.",
)
@click.option("--tenant-rate", help="Requests of one tenant, such as 100/second.")
@click.option("--key-rate", help="Requests of one API key, such as 100/second.")
@click.option(
    "--rate-storage",
    default="memory://",
    show_default=True,
    envvar="QPHER_RATE_STORAGE",
    help="Or redis://…; a password in it is better left in QPHER_RATE_STORAGE.",
)
@click.option(
    "--anchor-entries",
    default=1000,
    show_default=True,
    type=click.IntRange(1),
    help="Growth after which a log is anchored at once.",
)
@click.option(
    "--anchor-seconds",
    default=60.0,
    show_default=True,
    help="Between two anchors of a log that grew.",
)
@click.option("--anchor-name", help="The service's name in anchors; one of its own if left out.")
@click.option("--publish", "publishers", multiple=True, help="file:///folder or URL, for anchors.")
@click.option(
    "--witness",
    "witnesses",
    multiple=True,
    type=(str, click.Path(exists=True, dir_okay=False)),
    metavar="URL FILE",
    help="Who must cosign anchors, and a file with its vkey.",
)
@click.option("--trusted-proxy", "proxies", multiple=True, help="Networks of proxies.")
@click.option("--cors-origin", "origins", multiple=True, help="Origins of browsers.")
@click.option("--docs/--no-docs", default=True, help="Serve /docs and /openapi.json.")
@tls_options
def serve(**options: Any) -> None:
    """Serve a store over HTTP until it is told to stop (SIGTERM or Ctrl-C).

    It then takes no further requests and finishes those that it has.
    """
    target = Target(options["store"])
    target.require_here()
    try:
        import uvicorn  # noqa: PLC0415 - of an extra

        from qpher_core.asgi import serving  # noqa: PLC0415
    except ImportError as error:
        raise ValidationError(
            f"serve needs a package that is missing ({error.name}): pip install 'qpher-core[asgi]'"
        ) from error
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)  # where it serves, and how it ends
    workers = options["workers"]
    if workers > 1 and options["rate_storage"].startswith("memory:"):
        for rate in ("tenant_rate", "key_rate"):
            if options[rate]:
                raise click.UsageError("rates of several workers need --rate-storage redis://…")
    check_tls(options)
    target.require_store()
    check_address(options["host"], options["port"], options["uds"])
    password = options.pop("ssl_keyfile_password")
    serving.export_options(options)
    if workers > 1:
        serving.try_options()
    with _metrics_folder() if workers > 1 else contextlib.nullcontext():
        uvicorn.run(
            "qpher_core.asgi.serving:app_of_process",
            factory=True,
            http="qpher_core.asgi.connections:Connection",
            host=options["host"],
            port=options["port"],
            uds=options["uds"],
            workers=workers if workers > 1 else None,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=options["stop_deadline"],
            timeout_worker_healthcheck=_HEALTHCHECK_SECONDS,
            limit_concurrency=None,
            ssl_certfile=options["ssl_certfile"],
            ssl_keyfile=options["ssl_keyfile"],
            ssl_keyfile_password=password,
            ssl_ca_certs=options["ssl_ca_certs"],
            ssl_cert_reqs=2 if options["ssl_ca_certs"] else 0,
        )


@contextlib.contextmanager
def _metrics_folder() -> Iterator[None]:
    """Let the workers count together; one process alone counts in memory."""
    with tempfile.TemporaryDirectory(prefix="qpher-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield
