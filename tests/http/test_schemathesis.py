# SPDX-License-Identifier: Apache-2.0
"""Schemathesis reads the OpenAPI document and attacks the service: every answer is documented."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import qpher_core
from qpher_core.api_keys import SCOPES
from qpher_core.asgi import Settings, create_app
from tests.http.samples import prepare
from tests.http.server import serving

#: Examples of each operation; ``make schemathesis`` asks for more.
EXAMPLES = int(os.environ.get("QPHER_SCHEMATHESIS_EXAMPLES", "8"))

_CONFIG = """
[checks]
positive_data_acceptance.enabled = false  # a well-formed request may still be about no key
ensure_resource_availability.enabled = false
missing_required_header.enabled = false
use_after_free.enabled = false
"""

#: SLH-DSA is another provider's: that it is missing here is 503 by design.
_HOOKS = """
import schemathesis

@schemathesis.hook
def filter_body(context, body):
    return "SLH-DSA" not in str(body)

@schemathesis.hook
def filter_query(context, query):
    return "SLH-DSA" not in str(query)
"""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Serve a service that has something of everything; give its URL and an API key."""
    with qpher_core.open(f"sqlite:///{tmp_path}/q.db") as kms:
        kms.tenants.create("acme")
        prepare(kms, "acme")
        key = kms.api_keys.create("acme", name="attack", scopes=SCOPES)[1]
        with serving(create_app(kms, Settings(largest_body=1 << 18))) as base:
            yield base, key


def test_no_answer_is_undocumented(address: tuple[str, str], tmp_path: Path) -> None:
    """Whatever is sent, the answer is documented, of its schema, and no error of the server."""
    base, key = address
    config = tmp_path / "schemathesis.toml"
    config.write_text(_CONFIG)
    (tmp_path / "hooks.py").write_text(_HOOKS)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"),
        *(f"{base}/openapi.json", "--header", f"x-api-key: {key}"),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES)),
        *("--exclude-path-regex", "rewrap|revoke|rotate|/admin/tenants/\\\\{tenant_id\\\\}$"),
        *("--seed", "1", "--workers", "2", "--request-timeout", "60", "--no-color"),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(tmp_path)},
        check=False,
        timeout=280 + 60 * EXAMPLES,
    )
    assert done.returncode == 0, done.stdout[-60000:] + done.stderr[-2000:]
    assert httpx.get(f"{base}/health/ready").status_code == 200
