"""The platform's processes, its cycles, and the queue as a whole."""

from collections.abc import Iterator
from datetime import datetime

from prometheus_client.core import Metric

from clusters.wakeups import ENGINES, broker_state
from hypervisor import version
from hypervisor.metrics.families import Totals, gauge, histogram, number
from scheduling.models import CountedUntil, Sample
from scheduling.monitoring import cycle_alarms, heartbeats, open_writes, totals

_WORKERS = {
    "worker": heartbeats.PLANNING,
    "background": heartbeats.BACKGROUND,
    "engines": ENGINES,
}
"""The queue of each kind of worker, by its name in `up` and in Compose."""

_MANY = 1000
"""Counting organizations without cycles stops here."""


def families(now: datetime, last: Sample | None, counted: Totals) -> Iterator[Metric]:
    """Yield the figures at `now` by the database's clock; `last` is the latest sample."""
    yield gauge(
        "hypervisor_build_info", "The running release.", ["version"], [([version.VERSION], 1)]
    )
    yield from _processes(now)
    yield _open_writes(now)
    yield from _cycles(now, counted)
    if last:
        yield from _queue(now, last)
    until = CountedUntil.objects.values_list("time", flat=True).first()
    if until:
        yield number(
            "hypervisor_counters_delay_seconds",
            "How long ago the time lies until which the counters have counted.",
            _age(now, until),
        )


def _processes(now: datetime) -> Iterator[Metric]:
    beat, workers = heartbeats.last_seen(now)
    seen = {kind: list(workers.get(queue, {}).values()) for kind, queue in _WORKERS.items()}
    seen["beat"] = [beat] if beat else []
    yield gauge(
        "hypervisor_processes",
        f"Processes of a kind with a heartbeat in the last {heartbeats.LATE.seconds} seconds.",
        ["kind"],
        [
            ([kind], sum(now - time <= heartbeats.LATE for time in times))
            for kind, times in seen.items()
        ],
    )
    yield gauge(
        "hypervisor_heartbeat_age_seconds",
        "Seconds since the latest heartbeat of a process of a kind, if there was one.",
        ["kind"],
        [([kind], _age(now, max(times))) for kind, times in seen.items() if times],
    )
    yield number(
        "hypervisor_broker_up",
        "Whether the broker accepts messages: 1 or 0.",
        broker_state() == "ok",
    )
    yield number(
        "hypervisor_wrong_clocks",
        "Processes whose clock differs from the database's by more than 2 seconds.",
        len(heartbeats.wrong_clocks(now)),
    )


def _open_writes(now: datetime) -> Metric:
    return number(
        "hypervisor_open_write_seconds",
        "Age of the oldest open transaction that has written something; 0 without one.",
        max((_age(now, write.since) for write in open_writes.oldest(1)), default=0),
    )


def _cycles(now: datetime, counted: Totals) -> Iterator[Metric]:
    yield histogram(
        "hypervisor_cycle_seconds",
        "Duration of the scheduling cycles by phase.",
        ["phase"],
        [([phase], phase, counted[None, phase]) for phase in totals.PHASES],
    )
    yield number(
        "hypervisor_organizations_without_cycles",
        "Organizations with ready deployments and no cycle for too long.",
        len(cycle_alarms.without_cycles(now, _MANY)),
    )
    yield number(
        "hypervisor_organizations_with_failing_cycles",
        "Organizations whose cycles fail again and again.",
        cycle_alarms.failing().count(),
    )


def _queue(now: datetime, last: Sample) -> Iterator[Metric]:
    yield number(
        "hypervisor_sample_age_seconds",
        "Seconds since the latest sample, from which the next three metrics come.",
        _age(now, last.time),
    )
    if last.starving is not None:
        yield number(
            "hypervisor_starving_deployments",
            "Ready deployments that have waited for longer than SCHEDULER_STARVATION_SECONDS.",
            last.starving,
        )
    if last.inverted is not None:
        yield number(
            "hypervisor_inverted_deployments",
            "Deployments that wait although a cycle should have evicted lower priorities for them.",
            last.inverted,
        )
    if last.overlooked is not None:
        yield number(
            "hypervisor_overlooked_deployments",
            "Deployments that wait although a cycle should have placed them in free capacity.",
            last.overlooked,
        )


def _age(now: datetime, time: datetime) -> float:
    return max((now - time).total_seconds(), 0)
