"""The pending deployments in the scheduler's order, with their wait reasons, and the placed ones.

The planner runs once per organization on a snapshot taken now, so a page shows what the next cycle
would decide.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

from django.db.models import Exists, OuterRef, Q, QuerySet

from clusters.models import Cluster, Node
from deployments import waiting
from deployments.models import OCCUPYING, Dependency, Deployment, Status
from hypervisor.base.numbers import whole
from scheduling.cycle.next_plan import next_plan
from scheduling.cycle.snapshot import Loaded, load_many
from scheduling.insight.wording import named, names_in
from scheduling.planner.plan import SCATTERED, Plan, WaitReason
from scheduling.planner.resources import in_words
from scheduling.planner.snapshot import Deployment as Row

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


class Competitor(NamedTuple):
    """A ready deployment at its position in its organization; `code` is NEXT if it starts next."""

    position: int
    row: Row
    code: str
    plan: Plan

    @property
    def wait(self) -> WaitReason | None:
        """Return why it waits, None if it starts next. With thousands, read few of these."""
        return None if self.code == NEXT else self.plan.wait_reason(self.row.id)


class Queue:
    """The filtered queue as of `now`; the planner runs once per organization."""

    def __init__(self, filters: Filters, now: datetime) -> None:
        self._filters = filters
        self._now = now

    @cached_property
    def competing(self) -> list[Competitor]:
        """Return the competing deployments that pass the filters, the heads of all queues first."""
        wanted = self._wanted_ids()
        all_loaded = load_many(self._organizations(), now=self._now).values()
        found = list(chain.from_iterable(competitors(loaded) for loaded in all_loaded))
        if wanted is not None:
            found = [competitor for competitor in found if competitor.row.id in wanted]
        if len(all_loaded) > 1:
            found.sort(key=lambda c: (c.position, -c.row.priority, c.row.id))
        return found

    @cached_property
    def codes(self) -> Counter[str]:
        """Count the competing deployments by wait reason, ignoring the filter by reason."""
        return Counter(map(attrgetter("code"), self.competing))

    @cached_property
    def chosen(self) -> list[Competitor]:
        code = self._filters.code
        return [c for c in self.competing if c.code == code] if code else self.competing

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
        waits = {c.row.id: wait for c in competitors if (wait := c.wait)}
        moving = names_in(waits.values())
        for c in competitors:
            if c.row.id in rows:
                wait = waits.get(c.row.id)
                shortages = list(_shortages(wait, names))
                reason = named(wait, moving) if wait else _start(c)
                yield Entry(rows[c.row.id], c.code, reason, c.position, shortages)


def competitors(loaded: Loaded) -> list[Competitor]:
    """Return an organization's ready deployments in the scheduler's order, with wait reasons."""
    plan = next_plan(loaded)
    rows = {d.id: d for d in loaded.snapshot.deployments}
    codes = plan.wait_codes(loaded.snapshot.deployments)
    return [
        Competitor(position, rows[id_], codes.get(id_, NEXT), plan)
        for position, id_ in enumerate(plan.served, start=1)
    ]


def _start(competitor: Competitor) -> str:
    """Return how the next cycle starts it."""
    placements, wanted = competitor.plan.placements, competitor.row.id
    at = bisect_left(placements, wanted, key=attrgetter("deployment"))
    return f"The next cycle starts it. {placements[at].reason}"


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
