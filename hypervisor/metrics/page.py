"""The text of the metrics, which all web processes share for ten seconds."""

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from time import monotonic

from django.core.cache import cache
from django.db import transaction
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from redis import RedisError

from hypervisor.base.locks import lock_name
from hypervisor.metrics import notices, organizations, platform, webhooks
from hypervisor.metrics.families import Totals, by_name, number
from scheduling.models import Sample, Total
from scheduling.monitoring import clocks

KEPT_S = 10
"""How long a text is sent to every scraper, so that the database's load does not grow with their
number."""

_KEY = "metrics"


def text() -> bytes:
    """Return the metrics in Prometheus' text format, at most KEPT_S seconds old.

    One process reads them at a time, the others wait for its text. Raises django.db.Error.
    """
    kept = _kept()
    if kept is not None:
        return kept
    with transaction.atomic():
        lock_name(_KEY)
        return _kept() or _keep(_read())


def _read() -> bytes:
    registry = CollectorRegistry()
    registry.register(_Figures())
    return generate_latest(registry)


class _Figures(Collector):
    """All families, read from the database now."""

    def describe(self) -> list[Metric]:
        """Return nothing: otherwise the registry would read all of them to learn their names."""
        return []

    def collect(self) -> Iterator[Metric]:
        began = monotonic()
        now = clocks.read().database
        last = Sample.objects.order_by("-time").first()
        rows = organizations.listed(last)
        counted = _totals(rows.organizations)
        yield from platform.families(now, last, counted)
        yield from organizations.families(now, rows, counted)
        yield from webhooks.families(now, rows.organizations)
        yield from notices.families(now)
        yield from _about(now, monotonic() - began)


def _totals(listed: dict[int, str]) -> Totals:
    newest = max(listed, default=0)
    rows = Total.objects.order_by().exclude(organization__gt=newest)
    return by_name(list(rows.values_list("organization", "name", "label", "value")))


def _about(now: datetime, seconds: float) -> Iterator[Metric]:
    yield number(
        "hypervisor_read_timestamp_seconds",
        f"When these figures were read, at most {KEPT_S} seconds ago.",
        now.timestamp(),
    )
    yield number("hypervisor_read_seconds", "How long it took to read them.", seconds)


def _kept() -> bytes | None:
    try:
        found: bytes | None = cache.get(_KEY)
    except RedisError:
        return _local()
    return found


def _keep(read: bytes) -> bytes:
    _own.append((monotonic(), read))
    with suppress(RedisError):
        cache.set(_KEY, read, KEPT_S)
    return read


_own: deque[tuple[float, bytes]] = deque(maxlen=1)
"""When this process last read the figures, and its text: used while the cache does not answer."""


def _local() -> bytes | None:
    return next((read for at, read in _own if monotonic() - at < KEPT_S), None)
