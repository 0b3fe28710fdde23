"""The shared cache. While the server does not answer, one call every few seconds tries it."""

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
"""How long calls skip the cache after it did not answer."""


class Breaker:
    """A circuit breaker for one server, shared by all threads of this process."""

    def __init__(self) -> None:
        self._closed_until: float | None = None
        self._lock = Lock()

    def check(self) -> None:
        """Raise NoConnection during the pause; let one call through after it, as a trial."""
        if self._closed_until is None:
            return
        with self._lock:
            now = monotonic()
            if self._closed_until is not None and now < self._closed_until:
                raise NoConnection("The cache did not answer a moment ago: not tried again yet.")
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
    """A client that raises at once during the pause, instead of after a timeout."""

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
        # Retry once on a new connection, because the server may have restarted, but not after a
        # timeout. By default the library tries four times, each time until a timeout.
        retry = Retry(NoBackoff(), 1, supported_errors=(NoConnection,))
        super().__init__(servers, retry=retry, **options)
        self._client = partial(_Client, breaker=_breakers[servers[0]])


class Cache(RedisCache):
    """Django's cache with short timeouts; like Django's, it raises only RedisError."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = _CacheClient
