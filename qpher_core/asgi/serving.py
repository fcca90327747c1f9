# SPDX-License-Identifier: Apache-2.0
"""What ``qpher-core serve`` hands to its workers, which are processes of their own."""

import gc
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette

import qpher_core
from qpher_core import AnchorSettings, Witness
from qpher_core.asgi.app import create_app
from qpher_core.asgi.settings import Settings
from qpher_core.service import Qpher

__all__ = ["app_of_process", "export_options", "try_options"]

_OPTIONS: Final = "QPHER_SERVE_OPTIONS"

#: Seconds after which a thread that computes lets another one run. Less than Python's 5 ms lets the
#: event loop answer sooner beside long work; much less makes the threads of short work take turns.
_SWITCH_INTERVAL: Final = 0.002


def export_options(options: Mapping[str, Any]) -> None:
    """Leave the options where the workers find them."""
    os.environ[_OPTIONS] = json.dumps(options)


def app_of_process() -> Starlette:
    """Open the service and return its application, which closes it in the end."""
    sys.setswitchinterval(_SWITCH_INTERVAL)
    app = _opened()[1]
    gc.freeze()  # what is there now stays: it need not be looked through again and again
    return app


def try_options() -> None:
    """Open and close the service once: a worker that cannot would be started again and again.

    Raises:
        QpherError: the service cannot be opened, or a setting is not one.
    """
    _opened()[0].close()


def _anchors(options: Mapping[str, Any]) -> AnchorSettings:
    witnesses = [
        Witness(url, Path(key).read_text(encoding="utf-8").strip())
        for url, key in options["witnesses"]
    ]
    return AnchorSettings(
        every_entries=options["anchor_entries"],
        every_seconds=options["anchor_seconds"],
        service=options["anchor_name"],
        publishers=options["publishers"],
        witnesses=witnesses,
    )


def _opened() -> tuple[Qpher, Starlette]:
    options = json.loads(os.environ[_OPTIONS])
    kms = qpher_core.open(
        options["store"],
        protector=options["protectors"] or None,
        policy=options["policies"] or "rules:",
        policy_deadline=options["policy_deadline"],
        anchors=_anchors(options),
    )
    settings = Settings(
        threads=options["threads"],
        deadline=options["deadline"],
        tenant_rate=options["tenant_rate"],
        key_rate=options["key_rate"],
        rate_storage=options["rate_storage"],
        trusted_proxies=tuple(options["proxies"]),
        cors_origins=tuple(options["origins"]),
        docs=options["docs"],
    )
    try:
        return kms, create_app(kms, settings, closes=True)
    except BaseException:
        kms.close()
        raise
