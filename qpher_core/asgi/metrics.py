# SPDX-License-Identifier: Apache-2.0
"""Prometheus metrics. Labels are the route's template, method and status: no tenant data."""

import os
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

#: Set by ``qpher-core serve`` with several workers: they add up in files of this directory.
_SHARED: Final = "PROMETHEUS_MULTIPROC_DIR"


class Metrics:
    """What is counted of one application."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._found: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._requests = Counter(
            "qpher_http_requests_total",
            "Requests by route, method and status.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "qpher_http_request_seconds",
            "Seconds from the head of a request to its answer.",
            ("route", "method"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "qpher_http_requests_in_flight",
            "Requests that wait for a thread or are being worked on.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request."""
        counter, histogram = self._of(route, method, status)
        counter.inc()
        histogram.observe(seconds)

    def _of(self, route: str, method: str, status: int) -> tuple[Counter, Histogram]:
        """Return what counts, found once: there are few routes and statuses."""
        found = self._found.get((route, method, status))
        if found is None:
            counter = self._requests.labels(route, method, str(status))
            found = counter, self._seconds.labels(route, method)
            self._found[route, method, status] = found
        return found

    def render(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        if _SHARED in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return generate_latest(registry)
        return generate_latest(self._registry)
