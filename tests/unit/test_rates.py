# SPDX-License-Identifier: Apache-2.0
"""A request that the rates refuse counts for none of them, whoever else is counted meanwhile."""

import contextlib
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

from limits import RateLimitItem
from limits.strategies import MovingWindowRateLimiter

from qpher_core.asgi.limits import RateLimits, RateVerdict, parsed_rate
from qpher_core.asgi.settings import Settings
from qpher_core.models import ApiKey, Tenant, TenantStatus
from tests.records import NOW

ACME = Tenant(uuid.uuid4(), "acme", None, TenantStatus.ACTIVE, NOW, NOW)
KEY = ApiKey("k" * 12, ACME.id, "default", frozenset(), 1, NOW)


def left(limits: RateLimits, name: str, rate: str, identity: str) -> int:
    """Return how many more requests a rate allows."""
    return limits._limiter.get_window_stats(parsed_rate(rate), name, identity).remaining


def test_threads_that_race_count_what_passes_alone() -> None:
    """Of two requests at once, for one of which there is a place, the other counts for nothing."""
    limits = RateLimits(Settings(tenant_rate="9/minute", key_rate="1/minute"))
    together = threading.Barrier(2)

    class Meeting(MovingWindowRateLimiter):
        """Lets both find the place free, where they can."""

        def test(self, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
            free = super().test(item, *identifiers, cost=cost)
            with contextlib.suppress(threading.BrokenBarrierError):
                together.wait(timeout=0.1)
            return free

    limits._limiter = Meeting(limits._storage)
    with ThreadPoolExecutor(2) as pool:
        verdicts: list[RateVerdict] = list(pool.map(lambda _: limits.check(ACME, KEY), range(2)))
    assert sorted(verdict.refusal is None for verdict in verdicts) == [False, True]
    assert left(limits, "tenant", "9/minute", str(ACME.id)) == 8


def test_another_node_that_comes_between_costs_the_tenant_nothing() -> None:
    """What another node takes between test and count makes the request count for its key at most.

    The other node takes the last place of one rate, as soon as this one has found it free.
    """
    for taken, (tenant_left, key_left) in {"key": (5, 0), "tenant": (0, 4)}.items():
        limits = RateLimits(Settings(tenant_rate="5/minute", key_rate="5/minute"))

        class Overtaken(MovingWindowRateLimiter):
            """Has another node count all that is left of one rate."""

            def test(self, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
                free = super().test(item, *identifiers, cost=cost)
                if identifiers[0] == taken:  # noqa: B023 - used within this round
                    self.hit(item, *identifiers, cost=5)
                return free

        limits._limiter = Overtaken(limits._storage)
        refusal = limits.check(ACME, KEY).refusal
        assert refusal is not None
        assert taken in str(refusal)
        assert left(limits, "tenant", "5/minute", str(ACME.id)) == tenant_left
        assert left(limits, "key", "5/minute", KEY.id) == key_left
