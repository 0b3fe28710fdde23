"""The clusters' capacity at this moment: allocated, reserved and free."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clusters.models import DIMENSIONS
from hypervisor.ui.charts import Bar
from hypervisor.ui.templatetags.blocks import number
from scheduling.monitoring import usage
from scheduling.monitoring.usage import Usage

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
    organization_id: int
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
    return [_cluster(row) for row in usage.read(reserved)]


def _cluster(row: Usage) -> ClusterNow:
    bars = _bars(row.capacity, row.allocated, row.reserved)
    return ClusterNow(
        row.id, row.name, row.organization_id, row.organization, row.state, row.lost, row.running,
        row.starting, bars,
    )  # fmt: skip


def total(clusters: Sequence[ClusterNow]) -> ClusterNow:
    capacity, allocated, reserved = (
        [int(sum(getattr(c.bars[i], part) for c in clusters)) for i in range(len(DIMENSIONS))]
        for part in ("capacity", "allocated", "reserved")
    )
    return ClusterNow(
        id=0,
        name="All clusters",
        organization_id=0,
        organization="",
        state="",
        lost=False,
        running=sum(c.running for c in clusters),
        starting=sum(c.starting for c in clusters),
        bars=_bars(capacity, allocated, reserved),
    )


@dataclass(frozen=True, slots=True)
class OrganizationNow:
    """What is free in the clusters of one organization, and how many of its deployments wait."""

    id: int
    name: str
    bars: tuple[Bar, ...]
    waiting: int


def by_organization(
    clusters: Sequence[ClusterNow], waiting: Mapping[int, int]
) -> list[OrganizationNow]:
    """Return the organizations with clusters, those with the most waiting deployments first.

    `waiting` are the counts by the organization's id.
    """
    own: dict[int, list[ClusterNow]] = {}
    for cluster in clusters:
        own.setdefault(cluster.organization_id, []).append(cluster)
    found = [
        OrganizationNow(
            pk, rows[0].organization, tuple(total(rows).bars_in_order), waiting.get(pk, 0)
        )
        for pk, rows in own.items()
    ]
    return sorted(found, key=lambda each: (-each.waiting, each.name))


def _bars(
    capacity: Sequence[int], allocated: Sequence[int], reserved: Sequence[int]
) -> tuple[Bar, ...]:
    """Return a bar for each dimension."""
    amounts = zip(DIMENSIONS, capacity, allocated, reserved, strict=True)
    return tuple(bar_of(*each) for each in amounts)


def bar_of(name: str, capacity: int, allocated: int, reserved: int) -> Bar:
    """Return the bar of a dimension, in millicores, MiB or devices."""
    label, divisor, unit = UNITS[name]
    free = max(capacity - allocated - reserved, 0)
    texts = [number(value / divisor) for value in (allocated, reserved, free, capacity)]
    return Bar(label, allocated, reserved, capacity, (texts[0], texts[1], texts[2], texts[3]), unit)
