"""The shared cache. While it does not answer, at most one call every few seconds waits for it."""

from collections import defaultdict
from functools import partial
from threading import Lock
from time import monotonic
from typing import Any

from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis import ConnectionError as NoConnection
from redis import Redis
from redis import TimeoutError as NoAnswer
from redis.backoff import NoBackoff
from redis.retry import Retry

_PAUSE_S = 5.0
"""How long the cache is left alone after it did not answer."""


class Breaker:
    """Remembers, for all threads of this process, that a server did not answer just now."""

    def __init__(self) -> None:
        self._closed_until: float | None = None
        self._lock = Lock()

    def check(self) -> None:
        """Raise NoConnection during the pause; after it one call is let through, to try."""
        if self._closed_until is None:
            return
        with self._lock:
            now = monotonic()
            if self._closed_until is not None and now < self._closed_until:
                raise NoConnection("The cache did not answer just now: left alone for a moment.")
            self._closed_until = now + _PAUSE_S

    def trip(self) -> None:
        with self._lock:
            self._closed_until = monotonic() + _PAUSE_S

    def reset(self) -> None:
        if self._closed_until is not None:
            with self._lock:
                self._closed_until = None


_breakers: defaultdict[str, Breaker] = defaultdict(Breaker)
"""By the server's URL."""


class _Client(Redis):
    """Raises at once what it would raise after a timeout."""

    def __init__(self, *, breaker: Breaker, **options: Any) -> None:
        super().__init__(**options)
        self._breaker = breaker

    def execute_command(self, *args: Any, **options: Any) -> Any:
        self._breaker.check()
        try:
            answer: Any = super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except (NoConnection, NoAnswer):
            self._breaker.trip()
            raise
        self._breaker.reset()
        return answer


class _CacheClient(RedisCacheClient):
    def __init__(self, servers: list[str], **options: Any) -> None:
        # Once more on a new connection, as the server may have restarted; not after a timeout. By
        # default the library tries four times, each with a timeout of its own.
        retry = Retry(NoBackoff(), 1, supported_errors=(NoConnection,))
        super().__init__(servers, retry=retry, **options)
        self._client = partial(_Client, breaker=_breakers[servers[0]])


class Cache(RedisCache):
    """Django's, with short patience; every error is a RedisError, as without."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = _CacheClient
