"""The clusters' capacity at this moment: allocated, reserved and free."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from clusters.models import DIMENSIONS
from hypervisor.console.charts import Bar

UNITS = {
    "gpu": ("GPU", 1, ""),
    "cpu_milli": ("CPU", 1000, "cores"),
    "ram_mib": ("RAM", 1024, "GiB"),
}
"""Name, divisor and unit of each dimension, in the order in which pages show them."""


@dataclass(frozen=True, slots=True)
class ClusterNow:
    """One cluster, or all together, with its allocated, reserved and free capacity."""

    id: int
    name: str
    organization: str
    state: str
    lost: bool
    running: int
    starting: int
    bars: tuple[Bar, ...]

    @property
    def bars_in_order(self) -> list[Bar]:
        return [self.bars[DIMENSIONS.index(name)] for name in UNITS]

    @property
    def fullness(self) -> float:
        return max((bar.allocated_percent + bar.reserved_percent for bar in self.bars), default=0)


def clusters(reserved: Mapping[str, Mapping[str, int]]) -> list[ClusterNow]:
    """Return every cluster.

    `reserved` is, by the cluster's id, the amounts reserved for a deployment that waits too long.
    """
    sums = ", ".join(
        f"coalesce(sum(r.{name}) FILTER (WHERE r.launched_at IS {launched} NULL), 0)"
        for launched in ("NOT", "")
        for name in DIMENSIONS
    )
    sql = f"""
        SELECT c.id, c.name, o.name, c.state,
               EXISTS (SELECT FROM clusters_connection n
                       WHERE n.cluster_id = c.id AND n.lost_contact_at IS NOT NULL),
               count(r.started_at), count(r.id) - count(r.started_at),
               c.cpu_milli, c.ram_mib, c.gpu, {sums}
        FROM clusters_cluster c
        JOIN orgs_organization o ON o.id = c.organization_id
        LEFT JOIN deployments_run r ON r.cluster_id = c.id AND r.released_at IS NULL
        GROUP BY c.id, o.id ORDER BY c.id
    """  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return [_cluster(reserved.get(str(row[0]), {}), *row) for row in cursor.fetchall()]


def _cluster(reservation: Mapping[str, int], *row: Any) -> ClusterNow:
    id_, name, organization, state, lost, running, starting, *amounts = row
    capacity, allocated, unlaunched = amounts[0:3], amounts[3:6], amounts[6:9]
    free = [max(c - a - u, 0) for c, a, u in zip(capacity, allocated, unlaunched, strict=True)]
    reserved = [
        u + min(reservation.get(dimension, 0), f)
        for dimension, u, f in zip(DIMENSIONS, unlaunched, free, strict=True)
    ]
    bars = _bars(capacity, allocated, reserved)
    return ClusterNow(id_, name, organization, state, lost, running, starting, bars)


def total(clusters: Sequence[ClusterNow]) -> ClusterNow:
    capacity, allocated, reserved = (
        [int(sum(getattr(c.bars[i], part) for c in clusters)) for i in range(len(DIMENSIONS))]
        for part in ("capacity", "allocated", "reserved")
    )
    return ClusterNow(
        id=0,
        name="All clusters",
        organization="",
        state="",
        lost=False,
        running=sum(c.running for c in clusters),
        starting=sum(c.starting for c in clusters),
        bars=_bars(capacity, allocated, reserved),
    )


def _bars(
    capacity: Sequence[int], allocated: Sequence[int], reserved: Sequence[int]
) -> tuple[Bar, ...]:
    """Return a bar for each dimension; PostgreSQL's sums are Decimals."""
    amounts = zip(DIMENSIONS, capacity, allocated, reserved, strict=True)
    return tuple(bar_of(name, int(c), int(a), int(r)) for name, c, a, r in amounts)


def bar_of(name: str, capacity: int, allocated: int, reserved: int) -> Bar:
    """Return the bar of a dimension, in millicores, MiB or devices."""
    label, divisor, unit = UNITS[name]
    free = max(capacity - allocated - reserved, 0)
    texts = [_amount(value / divisor) for value in (allocated, reserved, free, capacity)]
    return Bar(label, allocated, reserved, capacity, (texts[0], texts[1], texts[2], texts[3]), unit)


def _amount(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\u202f") if value >= 100 else f"{value:.3g}"
