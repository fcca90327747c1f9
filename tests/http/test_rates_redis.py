# SPDX-License-Identifier: Apache-2.0
"""Rates that several nodes count together in a real Redis, and what its death does to callers."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from qpher_core.asgi import Settings, create_app
from qpher_core.errors import ValidationError
from qpher_core.service import Qpher
from tests.http.server import client, serving
from tests.redis_server import MISSING, RedisServer

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))

GENERATE = {"algorithm": "Kyber768"}


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """Start a Redis."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def settings(redis_server: RedisServer) -> Settings:
    """Return settings that count in it."""
    return Settings(tenant_rate="20/minute", rate_storage=redis_server.url)


def keys_of(kms: Qpher) -> int:
    """Return how many key versions the tenant has."""
    return len(kms._store.keys.find(kms.tenants.get("acme").id))


def test_nodes_share_a_rate(kms: Qpher, settings: Settings, api_key: str) -> None:
    """Of 40 requests at once to two nodes exactly the 20 that the rate allows are answered."""
    statuses: Counter[int] = Counter()
    with ExitStack() as stack:
        bases = [stack.enter_context(serving(create_app(kms, settings))) for _ in range(2)]

        def ask(base: str) -> None:
            with client(base, api_key) as http:
                for _ in range(10):
                    statuses[http.get("/kms/keys").status_code] += 1

        threads = [threading.Thread(target=ask, args=(base,)) for base in bases * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for base in bases:
            with client(base, api_key) as http:
                answer = http.get("/kms/keys")
                assert answer.status_code == 429
                assert 1 <= int(answer.headers["retry-after"]) <= 60
                assert answer.headers["ratelimit-policy"] == '"tenant";q=20;w=60'
                assert answer.headers["ratelimit"].startswith('"tenant";r=0;t=')
    assert statuses == {200: 20, 429: 20}


def test_a_dead_redis_lets_nobody_pass(
    kms: Qpher, base: str, http: httpx.Client, redis_server: RedisServer
) -> None:
    """While it is gone every request is 503 and nothing is done; when it is back, they pass."""
    assert http.post("/kms/keys/generate", json=GENERATE).status_code == 201
    redis_server.kill()
    for _ in range(3):
        answer = http.post("/kms/keys/generate", json=GENERATE)
        assert answer.status_code == 503
        assert answer.json()["error"]["error_code"] == "ERR_SERVICE_001"
        assert "rate limits" in answer.json()["error"]["message"]
        assert str(redis_server.url) not in answer.text
    assert keys_of(kms) == 1
    ready = httpx.get(f"{base}/health/ready")
    assert ready.status_code == 503
    checks = ready.json()["checks"]
    assert {name for name, outcome in checks.items() if outcome != "ok"} == {"rate limits"}
    redis_server.start()
    assert http.post("/kms/keys/generate", json=GENERATE).status_code == 201
    time.sleep(1.05)  # readiness is kept for a second
    assert httpx.get(f"{base}/health/ready").status_code == 200


def test_a_redis_that_hangs_lets_nobody_pass(
    kms: Qpher, http: httpx.Client, redis_server: RedisServer
) -> None:
    """One that says nothing is given up within seconds, not when the request's deadline is."""
    assert http.post("/kms/keys/generate", json=GENERATE).status_code == 201
    redis_server.freeze()
    begun = time.monotonic()
    answer = http.post("/kms/keys/generate", json=GENERATE)
    waited = time.monotonic() - begun
    redis_server.thaw()
    assert answer.status_code == 503
    assert waited < Settings().deadline / 2
    assert keys_of(kms) == 1
    assert http.post("/kms/keys/generate", json=GENERATE).status_code == 201


def test_a_service_starts_without_its_redis(
    kms: Qpher, api_key: str, redis_server: RedisServer
) -> None:
    """It refuses until Redis is there, and needs no restart then."""
    redis_server.kill()
    app = create_app(kms, Settings(key_rate="9/minute", rate_storage=redis_server.url))
    with serving(app) as base, client(base, api_key) as http:
        assert http.get("/kms/keys").status_code == 503
        redis_server.start()
        assert http.get("/kms/keys").status_code == 200


@pytest.mark.parametrize("url", ["redis://:canary@127.0.0.1:port/", "what://canary"])
def test_refused_urls_are_not_shown(kms: Qpher, url: str) -> None:
    """An error about a URL shows its scheme and no password."""
    with pytest.raises(ValidationError) as refusal:
        create_app(kms, Settings(rate_storage=url))
    assert refusal.value.parameter == "rate_storage"
    assert "canary" not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None
