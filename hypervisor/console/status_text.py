"""The service's status as text for one screen, and as JSON for programs."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from textwrap import shorten
from typing import Any

from clusters.models import DIMENSIONS
from deployments.models import Deployment
from hypervisor.console.dashboard.capacity import UNITS, ClusterNow
from hypervisor.console.status import Status, Waiting
from hypervisor.ui.charts import Bar
from hypervisor.ui.templatetags.blocks import duration
from hypervisor.version import NAME, VERSION
from scheduling.monitoring.alarm import Alarm

_ALARMS = 5
_CODES = 5
_OTHER_LINES = 19
"""The most lines on the screen besides the clusters."""


def lines(status: Status, *, width: int, height: int) -> Iterator[str]:
    """Yield at most one screen: the alarms, then the clusters, then the queue."""
    width = max(width, 60)
    yield from (_cut(line, width) for line in _head(status))
    yield ""
    yield from _clusters(status.clusters, max(height - _OTHER_LINES, 4), width)
    yield ""
    yield from _waiting(status.waiting, status, width)


def _head(status: Status) -> Iterator[str]:
    yield f"{NAME} {VERSION}, {status.now:%Y-%m-%d %H:%M:%S} UTC: {_verdict(status.alarms)}"
    yield ", ".join(f"{part.name.lower()} {part.state}" for part in status.parts)
    engines = status.engines
    yield (
        f"engines: {engines.in_contact} in contact, {engines.lost} lost,"
        f" {engines.simulated} simulated"
    )
    for alarm in status.alarms[:_ALARMS]:
        yield f"  {alarm.level.upper():<8}  {alarm.title}. {alarm.detail}"
    yield from _more(len(status.alarms) - _ALARMS, "alarms")


def document(status: Status) -> dict[str, Any]:
    """Return the whole status for programs: CPU in millicores, RAM in MiB, GPU in devices."""
    return {
        "healthy": status.is_healthy,
        "version": VERSION,
        "time": status.now,
        "parts": [asdict(part) for part in status.parts],
        "engines": asdict(status.engines),
        "alarms": [
            {"level": alarm.level, "title": alarm.title, "detail": alarm.detail}
            for alarm in status.alarms
        ],
        "clusters": [_cluster_document(cluster) for cluster in status.clusters],
        "waiting": {
            "total": status.waiting.total,
            "codes": status.waiting.codes,
            "longest": [_deployment_document(row) for row in status.waiting.longest],
        },
    }


def _verdict(alarms: Sequence[Alarm]) -> str:
    critical, warnings = (
        sum(alarm.level == level for alarm in alarms) for level in ("critical", "warning")
    )
    parts = [f"{critical} critical" if critical else "healthy"]
    if warnings:
        parts.append(f"{warnings} warning{'' if warnings == 1 else 's'}")
    return ", ".join(parts)


def _clusters(clusters: Sequence[ClusterNow], most: int, width: int) -> Iterator[str]:
    if not clusters:
        yield "There is no cluster yet."
        return
    yield "Allocated of the capacity:"
    labels = [f"{label} {unit}".strip() for label, _, unit in UNITS.values()]
    rows = [["CLUSTER (ORGANIZATION)", "STATE", "RUNNING", *labels]]
    rows += [_row(cluster) for cluster in clusters[:most]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(size) for cell, size in zip(row, widths, strict=True)]
        yield _cut(f"  {'  '.join(cells)}".rstrip(), width)
    yield from _more(len(clusters) - most, "clusters")


def _row(cluster: ClusterNow) -> list[str]:
    state = "no contact" if cluster.lost else cluster.state
    running = str(cluster.running) + (f" +{cluster.starting}" if cluster.starting else "")
    bars = dict(zip(DIMENSIONS, cluster.bars, strict=True))
    return [
        f"{shorten(cluster.name, 24)} ({shorten(cluster.organization, 20)})", state, running,
        *(_amount(bars[name], divisor) for name, (_, divisor, _) in UNITS.items()),
    ]  # fmt: skip


def _amount(bar: Bar, divisor: int) -> str:
    return f"{_plain(_allocated(bar) / divisor)}/{_plain(bar.capacity / divisor)}"


def _plain(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _allocated(bar: Bar) -> int:
    """Return the requests of active deployments.

    The bars are read without reservations for starving deployments, so the reserved capacity also
    belongs to active deployments.
    """
    return int(bar.allocated + bar.reserved)


def _waiting(waiting: Waiting, status: Status, width: int) -> Iterator[str]:
    if not waiting.total:
        yield "No deployment is waiting."
        return
    shown = list(waiting.codes.items())[:_CODES]
    rest = waiting.total - sum(count for _, count in shown)
    codes = ", ".join([*(f"{n} {code}" for code, n in shown), *([f"{rest} other"] * bool(rest))])
    yield _cut(f"Waiting: {waiting.total} ({codes})", width)
    for row in waiting.longest:
        since = duration(status.now - row.queued_at)
        yield _cut(
            f"  {row.name} ({row.pk}) of {row.organization}, priority {row.priority}, for {since}:"
            f" {row.status_reason}",
            width,
        )


def _cluster_document(cluster: ClusterNow) -> dict[str, Any]:
    bars = dict(zip(DIMENSIONS, cluster.bars, strict=True))
    return {
        "id": cluster.id,
        "name": cluster.name,
        "organization": cluster.organization,
        "state": cluster.state,
        "contact_lost": cluster.lost,
        "running": cluster.running,
        "starting": cluster.starting,
        "allocated": {name: _allocated(bar) for name, bar in bars.items()},
        "capacity": {name: int(bar.capacity) for name, bar in bars.items()},
    }


def _deployment_document(row: Deployment) -> dict[str, Any]:
    return {
        "id": row.pk,
        "name": row.name,
        "organization": row.organization.name,
        "priority": row.priority,
        "since": row.queued_at,
        "code": row.status_code,
        "reason": row.status_reason,
    }


def _more(count: int, what: str) -> Iterator[str]:
    if count > 0:
        yield f"  ... and {count} more {what}"


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 3]}..."
