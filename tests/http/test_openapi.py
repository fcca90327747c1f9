# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document says what the application does."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

from qpher_core.asgi import Settings, create_app
from qpher_core.asgi.openapi import build_document, document_bytes
from qpher_core.asgi.table import BASE, ENDPOINTS
from qpher_core.key_usage import OF_MIGRATIONS
from qpher_core.operations import OPERATIONS
from qpher_core.service import Qpher
from tests.http.server import serving

KEPT = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"


def test_the_kept_document_is_the_served_one(base: str) -> None:
    """``docs/openapi.json`` is what the application serves (``make openapi`` writes it)."""
    served = httpx.get(f"{base}/openapi.json")
    assert served.headers["content-type"] == "application/json"
    assert served.content == document_bytes() == KEPT.read_bytes()
    assert served.json()["openapi"].startswith("3.1")


def test_every_route_is_in_the_document(kms: Qpher) -> None:
    """The document has each route of the application, and no other, but its own pages."""
    pages = {"/openapi.json", "/docs", "/docs/page.js", "/health"}
    routes = {
        (route.path_format, method)
        for route in create_app(kms).routes
        for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
        if route.path_format not in pages  # type: ignore[attr-defined]
    }
    documented = {
        (path, method.upper())
        for path, item in build_document()["paths"].items()
        for method in item
    }
    assert routes == documented


def test_every_reference_leads_somewhere() -> None:
    """Each ``$ref`` names a component, and each component is used."""
    document = build_document()
    text = json.dumps(document)
    named = set(re.findall(r'"#/components/(\w+/\w+)"', text))
    parts = {
        f"{kind}/{name}"
        for kind in ("schemas", "responses")
        for name in document["components"][kind]
    }
    assert named <= parts
    assert {part for part in parts - named if not part.startswith("responses/")} == set()


def test_operations_of_the_document_are_rows() -> None:
    """Each endpoint names rows of the table of operations; all but the tenant's own have one."""
    used = {action for endpoint in ENDPOINTS for action in endpoint.operations}
    assert used <= set(OPERATIONS)
    in_process_only = {"anchors.rotate", "audit.move_out", "imports.rotate", "protector.use"}
    assert set(OPERATIONS) - used == in_process_only | OF_MIGRATIONS


def test_identifiers_are_unique() -> None:
    """No two operations share an ``operationId``; every path is below the base."""
    document = build_document()
    found = [o["operationId"] for item in document["paths"].values() for o in item.values()]
    assert len(found) == len(set(found))
    assert all(f"{BASE}{endpoint.path}" in document["paths"] for endpoint in ENDPOINTS)


class _Links(HTMLParser):
    """Collects what a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, _: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note addresses."""
        self.found += [value or "" for name, value in attributes if name in {"src", "href"}]


def test_the_docs_page_needs_no_outside_network(base: str) -> None:
    """All that the page loads is the application's own, and its policy allows nothing else."""
    page = httpx.get(f"{base}/docs")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    links = _Links()
    links.feed(page.text)
    assert links.found == ["openapi.json", "docs/page.js"]
    for link in links.found:
        assert httpx.get(f"{base}/{link}").status_code == 200
    script = httpx.get(f"{base}/docs/page.js").text
    assert re.findall(r"https?://", script) == []


def test_a_browser_shows_every_operation_without_a_network(kms: Qpher, tmp_path: Path) -> None:
    """Chromium, which can resolve no name, draws each operation, and asks for our own files."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("chromium is missing (Debian: chromium)")
    asked: set[str] = set()
    app = create_app(kms)

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        asked.add(scope.get("path", ""))
        await app(scope, receive, send)

    with serving(watched) as base:
        done = subprocess.run(
            [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu"),
                *(f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=10000"),
                *("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--dump-dom"),
                f"{base}/docs",
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
    operations = sum(len(item) for item in build_document()["paths"].values())
    assert done.stdout.count("<details") == operations
    for endpoint in ENDPOINTS:
        assert endpoint.summary in html.unescape(done.stdout)
    assert asked - {"", "/favicon.ico"} == {"/docs", "/docs/page.js", "/openapi.json"}


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_the_pages_can_be_left_out(kms: Qpher, path: str) -> None:
    """With ``docs=False`` neither is served."""
    with serving(create_app(kms, Settings(docs=False))) as base:
        assert httpx.get(base + path).status_code == 404
