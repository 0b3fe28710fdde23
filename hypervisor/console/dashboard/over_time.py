"""The plots of capacity, queue, waits, preemptions, cycles and reservations over the last hours."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from clusters.models import DIMENSIONS
from hypervisor.console.dashboard.capacity import UNITS, ClusterNow
from hypervisor.ui.charts import Plot, Series
from scheduling.models import ClusterSample, Sample
from scheduling.monitoring.histogram import added_up, quantile, without_trailing_zeros
from scheduling.monitoring.idle import SHARE

SPANS = {
    "1h": (timedelta(hours=1), timedelta(minutes=1)),
    "6h": (timedelta(hours=6), timedelta(minutes=5)),
    "24h": (timedelta(hours=24), timedelta(minutes=15)),
    "7d": (timedelta(days=7), timedelta(hours=2)),
}
"""How far back the plots go, and the step between two of their values."""

_ADDED = f"{SHARE}, sum(evicted), sum(moved), sum(cycles), sum(cycle_us), max(slowest_cycle_us)"

_BANDS = ((76, 100, "first"), (51, 75, "second"), (26, 50, "third"), (1, 25, "fourth"))


def plots(
    span: str, chosen: ClusterNow | None, shown: ClusterNow, end: datetime, organizations: int
) -> tuple[list[Plot], list[Plot]]:
    """Return the plots of capacity, of one cluster or of all together, and those of the queue.

    The titles of plots of all clusters name the number of organizations if there are several,
    because none of them can use what is free in another.
    """
    length, step = SPANS[span]
    times = [end - n * step for n in range(int(length / step), -1, -1)]
    whose = f", all {organizations} organizations" if organizations and not chosen else ""
    return _capacity(times, chosen, shown, whose), _flow(times, step)


def _capacity(
    times: Sequence[datetime], chosen: ClusterNow | None, shown: ClusterNow, whose: str
) -> list[Plot]:
    rows: Any = Sample.objects.filter(time__in=times)
    if chosen:
        rows = ClusterSample.objects.filter(time__in=times, cluster=chosen.id)
    columns = [f"{kind}_{name}" for name in DIMENSIONS for kind in ("used", "held")]
    # Leave out the time before there was any capacity.
    rows = rows.filter(cpu_milli__gt=0)
    found = {time: values for time, *values in rows.values_list("time", *columns)}
    drawn = []
    for index, (name, bar) in enumerate(zip(DIMENSIONS, shown.bars, strict=True)):
        label, divisor, unit = UNITS[name]
        free = f"{bar.texts[2]} of {bar.texts[3]}{f' {unit}' if unit else ''} free"
        allocated, reserved = (
            [found[t][2 * index + n] / divisor if t in found else None for t in times]
            for n in (0, 1)
        )
        drawn.append(
            Plot(
                f"{label}{whose}: {free}",
                times,
                [
                    Series("allocated", "allocated", allocated),
                    Series("reserved", "reserved", reserved),
                ],
                stacked=True, limit=bar.capacity / divisor,
            )
        )  # fmt: skip
    return [drawn[DIMENSIONS.index(name)] for name in UNITS]


def _flow(times: Sequence[datetime], step: timedelta) -> list[Plot]:
    ready: dict[datetime, Any] = dict(
        Sample.objects.filter(time__in=times).values_list("time", "ready")
    )
    counts = [_by_band(ready.get(t)) for t in times]
    bands = [
        Series(f"{low} to {high}", tone, [each[n] for each in counts])
        for n, (low, high, tone) in enumerate(_BANDS)
    ]
    sums = _sums(times, step)
    waits = [sums[t]["waits"] if t in sums else [] for t in times]
    median, p95 = ([quantile(counts, part) for counts in waits] for part in (0.5, 0.95))
    every = f"per {int(step.total_seconds() // 60)} min" if step < timedelta(hours=1) else "per 2 h"

    def series(name: str, tone: str, column: str, scale: float = 1) -> Series:
        return Series(name, tone, [sums[t][column] * scale if t in sums else None for t in times])

    return [
        Plot("Ready and waiting, by priority", times, bands, stacked=True),
        Plot(
            "Wait until placed", times,
            [
                Series("median", "first", median), Series("95th percentile", "second", p95),
            ],
            unit="seconds",
        ),
        Plot(
            "Preempted", times,
            [series("evicted", "second", "evicted"), series("moved", "first", "moved")],
            unit=every,
        ),
        Plot(
            "Scheduling cycles", times,
            [
                Series("mean", "first", [_mean(sums.get(t)) for t in times]),
                series("slowest", "second", "slowest_us", 1e-3),
            ],
            unit="milliseconds",
        ),
        Plot(
            "Kept idle by reservations", times,
            [Series("kept idle", "reserved", [_percent(sums.get(t)) for t in times])],
            unit="percent of the capacity",
            limit=settings.SCHEDULER_POLICY.reservation_percent, limit_name="limit of the turns",
        ),
    ]  # fmt: skip


def _by_band(ready: dict[str, int] | None) -> list[float | None]:
    """Return the sum of each band of priorities, None without a sample."""
    if ready is None:
        return [None] * len(_BANDS)
    sums: list[float | None] = []
    by_priority = [(int(priority), count) for priority, count in ready.items()]
    for low, high, _ in _BANDS:
        sums.append(sum([count for priority, count in by_priority if low <= priority <= high]))
    return sums


def _mean(sums: dict[str, Any] | None) -> float | None:
    return sums["cycle_us"] / sums["cycles"] / 1e3 if sums and sums["cycles"] else None


def _percent(sums: dict[str, Any] | None) -> float | None:
    return 100 * sums["idle"] if sums and sums["idle"] is not None else None


def _sums(times: Sequence[datetime], step: timedelta) -> dict[datetime, dict[str, Any]]:
    """Return the sums of the samples in the step that ends at each of these times."""
    samples = "FROM scheduling_sample WHERE time > %(start)s AND time <= %(end)s"
    span: dict[str, Any] = {
        "start": times[0] - step,
        "end": times[-1],
        "seconds": int(step.total_seconds()),
    }
    names = ("evicted", "moved", "cycles", "cycle_us", "slowest_us")
    sums: dict[datetime, dict[str, Any]] = {}
    with connection.cursor() as cursor:
        # Adding up the steps takes most of the time, and few histograms have all of them.
        cursor.execute(f"SELECT coalesce(max(cardinality(waits)), 0) {samples}", span)
        (most,) = cursor.fetchone()
        added = ", ".join(filter(None, (_ADDED, added_up("waits", most))))
        steps_ago = "extract(epoch FROM %(end)s - time)::int / %(seconds)s AS steps_ago"
        cursor.execute(f"SELECT {steps_ago}, {added} {samples} GROUP BY steps_ago", span)
        for ago, idle, *row in cursor.fetchall():
            counts, waits = row[: len(names)], row[len(names) :]
            sums[times[-1] - ago * step] = {
                **dict(zip(names, map(int, counts), strict=True)),
                "idle": idle,
                "waits": without_trailing_zeros(waits),
            }
    return sums
