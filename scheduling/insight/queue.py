"""The pending deployments in the scheduler's order, with their wait reasons, and the placed ones.

The planner runs once per organization on a snapshot taken now, so a page shows what the next cycle
would decide.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from clusters.models import Cluster, Node
from deployments import waiting
from deployments.models import OCCUPYING, Dependency, Deployment, Status
from hypervisor.base.numbers import whole
from scheduling.cycle.next_plan import next_plan
from scheduling.cycle.snapshot import Loaded, load_many
from scheduling.insight.wording import named, names_in
from scheduling.planner.plan import WaitReason
from scheduling.planner.resources import in_words
from scheduling.planner.snapshot import Deployment as Row

SCATTERED = "scattered"
"""The code of a deployment for which enough is free on a cluster, but on no node of it."""

NEXT = "next_cycle"
"""The code of a deployment that the next cycle places."""


class Group(StrEnum):
    """Where a deployment that has not ended is: in the queue, kept out of it, or on a cluster."""

    COMPETING = "competing"
    HELD = "held"
    BACKOFF = "backoff"
    DEPENDENCY = "dependency"
    ARRAY = "array_limit"
    PLACED = "placed"


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of a page; None and "" do not filter.

    `cluster` selects the pending deployments that would fit on an empty node there, and the placed
    deployments that are there.
    """

    organization: int | None = None
    cluster: Cluster | None = None
    priority: int | None = None
    code: str = ""
    search: str = ""

    def condition(self, group: Group) -> Q:
        """Return the condition on the rows of a group, for all filters except `code`."""
        wanted = self._named()
        if self.organization is not None:
            wanted &= Q(organization=self.organization)
        if self.priority is not None:
            wanted &= Q(priority=self.priority)
        if self.cluster and group == Group.PLACED:
            wanted &= Q(cluster=self.cluster)
        elif self.cluster:
            wanted &= _could_run_on(self.cluster)
        return wanted

    def _named(self) -> Q:
        if not self.search:
            return Q()
        return Q(name__icontains=self.search) | Q(pk=whole(self.search))


def _could_run_on(cluster: Cluster) -> Q:
    large = Node.objects.filter(
        cluster=cluster,
        cpu_milli__gte=OuterRef("cpu_milli"),
        ram_mib__gte=OuterRef("ram_mib"),
        gpu__gte=OuterRef("gpu"),
    )
    anywhere = Q(organization=cluster.organization_id, requested_cluster=None)
    return Q(requested_cluster=cluster) | (anywhere & Q(Exists(large)))


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why one cluster cannot take the deployment, in a few words."""

    cluster: str
    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the queue. `position` counts from 1 within the organization."""

    deployment: Deployment
    code: str
    reason: str
    position: int | None = None
    shortages: Sequence[Shortage] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Competitor:
    """A ready deployment at its position in its organization.

    `wait` is None if it starts next, for which `start` is the reason.
    """

    position: int
    row: Row
    wait: WaitReason | None
    start: str

    @property
    def reason(self) -> str:
        return self.wait.reason if self.wait else self.start

    @property
    def code(self) -> str:
        return self.wait.code if self.wait else NEXT


class Queue:
    """The filtered queue as of `now`; the planner runs once per organization."""

    def __init__(self, filters: Filters, now: datetime) -> None:
        self._filters = filters
        self._now = now

    @cached_property
    def competing(self) -> list[Competitor]:
        """Return the competing deployments that pass the filters, the heads of all queues first."""
        wanted = self._wanted_ids()
        found = [
            competitor
            for loaded in load_many(self._organizations(), now=self._now).values()
            for competitor in competitors(loaded)
            if wanted is None or competitor.row.id in wanted
        ]
        return sorted(found, key=lambda c: (c.position, -c.row.priority, c.row.id))

    @cached_property
    def codes(self) -> Counter[str]:
        """Count the competing deployments by wait reason, ignoring the filter by reason."""
        return Counter(competitor.code for competitor in self.competing)

    @cached_property
    def chosen(self) -> list[Competitor]:
        code = self._filters.code
        return [c for c in self.competing if not code or c.code == code]

    def count(self, group: Group) -> int:
        return len(self.chosen) if group == Group.COMPETING else self.rows(group).count()

    def entries(self, group: Group, first: int, last: int) -> list[Entry]:
        """Return the lines of the group from `first` up to, but not including, `last`."""
        if group == Group.COMPETING:
            return list(self._competing_entries(self.chosen[first:last]))
        rows = list(self.rows(group)[first:last])
        waits = waiting.on_others([row.pk for row in rows]) if group == Group.DEPENDENCY else {}
        return [
            Entry(row, _code(row, group), " ".join(waits[row.pk].details))
            if row.pk in waits
            else Entry(row, _code(row, group), row.status_reason)
            for row in rows
        ]

    def rows(self, group: Group) -> QuerySet[Deployment]:
        """Return the deployments of a group other than the competing one, from the database."""
        rows = _with_names().filter(self._filters.condition(group))
        if group == Group.PLACED:
            rows = rows.filter(status__in=OCCUPYING)
            return rows.order_by("priority", "-placed_at", "pk")
        unmet = Exists(Dependency.objects.unmet().filter(deployment=OuterRef("pk")))
        waits = {
            Group.HELD: Q(held=True),
            Group.DEPENDENCY: Q(unmet, held=False),
            Group.BACKOFF: Q(~unmet, held=False, ready_after__gt=self._now),
            # As of the last cycle, which is the one that decides which elements compete.
            Group.ARRAY: Q(~unmet, held=False, status_code=waiting.ARRAY_LIMIT),
        }
        rows = rows.filter(waits[group], status=Status.PENDING)
        return rows.order_by("ready_after", "-priority", "queued_at", "pk")

    def _organizations(self) -> list[int]:
        if self._filters.organization is not None:
            return [self._filters.organization]
        ready = Deployment.objects.ready(self._now).order_by()
        return sorted(ready.values_list("organization", flat=True).distinct())

    def _wanted_ids(self) -> set[int] | None:
        """Return the ids that pass the filters, or None if nothing is filtered."""
        condition = self._filters.condition(Group.COMPETING)
        if not condition:
            return None
        return set(Deployment.objects.pending().filter(condition).values_list("pk", flat=True))

    def _competing_entries(self, competitors: Sequence[Competitor]) -> Iterator[Entry]:
        rows = _with_names().in_bulk([competitor.row.id for competitor in competitors])
        organizations = {row.organization_id for row in rows.values()}
        clusters = Cluster.objects.filter(organization__in=organizations)
        names = dict(clusters.values_list("pk", "name"))
        moving = names_in(c.wait for c in competitors if c.wait)
        for c in competitors:
            if c.row.id in rows:
                shortages = list(_shortages(c.wait, names))
                reason = named(c.wait, moving) if c.wait else c.reason
                yield Entry(rows[c.row.id], c.code, reason, c.position, shortages)


def competitors(loaded: Loaded) -> list[Competitor]:
    """Return an organization's ready deployments in the scheduler's order, with wait reasons."""
    plan = next_plan(loaded)
    rows = {d.id: d for d in loaded.snapshot.deployments}
    waits = {wait.deployment: wait for wait in plan.wait_reasons}
    starts = {placement.deployment: placement.reason for placement in plan.placements}
    return [
        Competitor(
            position,
            rows[id_],
            waits.get(id_),
            "" if id_ in waits else f"The next cycle starts it. {starts[id_]}",
        )
        for position, id_ in enumerate(plan.served, start=1)
    ]


def _with_names() -> QuerySet[Deployment]:
    rows = Deployment.objects.select_related("organization", "cluster", "node", "requested_cluster")
    return rows.defer("env", "command")


def _code(row: Deployment, group: Group) -> str:
    return row.status if group == Group.PLACED else group.value


_SHORT = {
    "exceeds_capacity": "too small",
    "no_matching_node": "labels do not match",
    "cluster_cordoned": "cordoned",
    "cluster_draining": "draining",
    "cluster_lost": "no contact",
    "overcommitted": "overcommitted",
}


def _shortages(wait: WaitReason | None, names: Mapping[int, str]) -> Iterator[Shortage]:
    """Yield what is missing on each cluster, the large enough and open clusters first."""
    rows = wait.detail["clusters"] if wait else []
    for row in sorted(rows, key=lambda row: (row["code"] in _SHORT, row["cluster"])):
        if row["code"] != "other_cluster":
            text = _SHORT.get(row["code"]) or _short_of(row)
            yield Shortage(names.get(row["cluster"], f"cluster {row['cluster']}"), text)


def _short_of(row: Mapping[str, Any]) -> str:
    if row["code"] == SCATTERED:
        return f"{in_words(row['free'])} free, but at most {in_words(row['largest'])} on one node"
    return f"short of {in_words(row['missing'])}"
