# SPDX-License-Identifier: Apache-2.0
"""Rate limits per tenant and per API key, with the headers of the IETF's RateLimit draft.

A request must pass both; one that is refused counts for neither, but where another node comes
between (docs/http.md, What is not protected).
"""

import contextlib
import functools
import math
import threading
import time
from typing import Any, Final

from attrs import frozen
from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import MovingWindowRateLimiter

from qpher_core.asgi.settings import Settings
from qpher_core.errors import RateLimited, StoreUnavailable, ValidationError
from qpher_core.models import ApiKey, Tenant
from qpher_core.policy.plans import LIMITS

__all__ = ["RateLimits", "RateVerdict"]

_REDIS_SECONDS: Final = 0.5  # to connect, and for each answer


@frozen
class RateVerdict:
    """What the limits say of one request: headers to send, and why it is refused, if it is."""

    headers: tuple[tuple[bytes, bytes], ...] = ()
    refusal: RateLimited | None = None


_PASSED: Final = RateVerdict()

#: Whose rate it is, the rate, and the identity of whose it is.
_Rate = tuple[str, RateLimitItem, str]


class RateLimits:
    """Counts requests. Thread-safe.

    Attributes:
        local: they are counted in this process.
    """

    def __init__(self, settings: Settings) -> None:
        self._tenant_rate = _rate(settings.tenant_rate, "tenant_rate")
        self._key_rate = _rate(settings.key_rate, "key_rate")
        self._storage, self._limiter = _opened(settings.rate_storage)
        self.local = isinstance(self._storage, MemoryStorage)
        # Answers from elsewhere take time: threads would wait for one another, and other nodes not.
        self._counting = threading.Lock() if self.local else contextlib.nullcontext()

    def check(self, tenant: Tenant, key: ApiKey) -> RateVerdict:
        """Count one request.

        Raises:
            StoreUnavailable: the place where requests are counted does not answer.
        """
        rates = self._rates(tenant, key)
        if not rates:
            return _PASSED
        try:
            return self._check(rates)
        except Exception as error:
            raise StoreUnavailable(
                f"the rate limits cannot be counted ({type(error).__name__})"
            ) from error

    def probe(self) -> None:
        """Check that the place where requests are counted answers.

        Raises:
            StoreUnavailable: it does not.
        """
        if not self._storage.check():
            raise StoreUnavailable("the rate limits cannot be counted")

    def _rates(self, tenant: Tenant, key: ApiKey) -> list[_Rate]:
        planned = LIMITS[tenant.plan].rate if tenant.plan is not None else None
        of_tenant = self._tenant_rate or (parsed_rate(planned) if planned else None)
        found = []
        if of_tenant is not None:
            found.append(("tenant", of_tenant, str(tenant.id)))
        if self._key_rate is not None:
            found.append(("key", self._key_rate, key.id))
        return found

    def _count(self, rates: list[_Rate]) -> list[_Rate]:
        """Count a request, or return the rates that refuse it."""
        with self._counting:
            refused = [row for row in rates if not self._limiter.test(row[1], row[0], row[2])]
            if refused:
                return refused
            for row in reversed(rates):  # the tenant's last: its other keys pay for no refusal
                if not self._limiter.hit(row[1], row[0], row[2]):
                    return [row]
            return []

    def _check(self, rates: list[_Rate]) -> RateVerdict:
        refused = self._count(rates)
        policies, states, waits = [], [], []
        for name, item, identity in rates:
            left = self._limiter.get_window_stats(item, name, identity)
            wait = max(1, math.ceil(left.reset_time - time.time()))
            policies.append(f'"{name}";q={item.amount};w={item.get_expiry()}')
            states.append(f'"{name}";r={max(0, left.remaining)};t={wait}')
            if any(row[0] == name for row in refused):
                waits.append(wait)
        headers = [
            (b"ratelimit-policy", ", ".join(policies).encode()),
            (b"ratelimit", ", ".join(states).encode()),
        ]
        if not refused:
            return RateVerdict(tuple(headers))
        wait = max(waits)
        headers.append((b"retry-after", str(wait).encode()))
        names = " and ".join(row[0] for row in refused)
        return RateVerdict(
            tuple(headers),
            RateLimited(f"too many requests of this {names}; try again in {wait} s"),
        )


def _opened(url: str) -> tuple[Storage, MovingWindowRateLimiter]:
    """Open what requests are counted in. Errors name the scheme alone: a URL can hold a password.

    Raises:
        ValidationError: there is no such storage, it cannot count within windows that move, or
            the package for it is missing.
    """
    scheme = str(url).partition(":")[0]
    try:
        options = _redis_options() if scheme.startswith("redis") else {}
        storage: Any = storage_from_string(url, **options)
        if not isinstance(storage, Storage):
            raise TypeError("it is for coroutines")
        return storage, MovingWindowRateLimiter(storage)
    except ImportError:
        reason = "needs a package that is missing: pip install 'qpher-core[redis]'"
    except Exception as error:  # noqa: BLE001 - whatever the libraries raise
        reason = f"cannot be used ({type(error).__name__})"
    raise ValidationError(f"rate_storage {scheme!r} {reason}", parameter="rate_storage")


def _redis_options() -> dict[str, Any]:
    """Return how long Redis is waited for: a request costs two attempts, and then it is refused.

    The second attempt is for connections of the pool that a restart has closed. It can count a
    request twice, never not at all.
    """
    from redis.backoff import NoBackoff  # noqa: PLC0415 - of an extra
    from redis.retry import Retry  # noqa: PLC0415

    return {
        "socket_connect_timeout": _REDIS_SECONDS,
        "socket_timeout": _REDIS_SECONDS,
        "retry": Retry(NoBackoff(), 1),
    }


@functools.lru_cache(64)
def parsed_rate(text: str) -> RateLimitItem:
    """Return a rate such as ``100/second``. Raises ``ValueError``."""
    (rate,) = parse_many(text)  # of several one would count, and the others would be forgotten
    return rate


def _rate(text: str | None, parameter: str) -> RateLimitItem | None:
    if text is None:
        return None
    try:
        return parsed_rate(text)
    except ValueError as error:
        raise ValidationError(f"{parameter} must be like '100/second'", parameter=parameter) from (
            error
        )
