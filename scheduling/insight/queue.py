"""The pending deployments in the scheduler's order, with their wait reasons, and the placed ones.

The planner runs once per organization on a snapshot taken now, so a page shows what the next cycle
would decide.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from heapq import merge
from itertools import islice, repeat
from operator import attrgetter

from django.db.models import Exists, OuterRef, Q, QuerySet

from clusters.models import Cluster, Node
from deployments import wait_codes, waiting
from deployments.choices import OCCUPYING, Status
from deployments.models import Dependency, Deployment
from orgs.models import Organization
from scheduling.cycle.snapshot import load_many
from scheduling.insight.forecast import Start, read_past
from scheduling.insight.organization_queue import (
    NEXT,
    Competitor,
    Filters,
    Group,
    OrganizationQueue,
    Sort,
)
from scheduling.insight.shortages import Shortage, shortages_of
from scheduling.insight.wording import names_in, with_name
from scheduling.planner.plan import Clusters
from scheduling.planner.resources import DIMENSIONS, Resources
from scheduling.planner.snapshot import Deployment as Row

_CLUSTERS_SHOWN = 5
_SHOWN = (
    *DIMENSIONS, "name", "priority", "preemptible", "created_by", "status", "status_code",
    "status_reason", "queued_at", "placed_at", "ready_after", "preemptions",
)  # fmt: skip
"""The columns that a line shows: a row with all of them takes twice as long."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the queue. `position` counts from 1 within the organization.

    `shortages` are those of the first clusters, of `clusters` in all. `start` is when a competing
    one will probably start.
    """

    deployment: Deployment
    code: str
    reason: str
    position: int | None = None
    shortages: Sequence[Shortage] = field(default_factory=list)
    clusters: int = 0
    start: Start | None = None


def _by_position(found: tuple[tuple[int, Row], OrganizationQueue]) -> tuple[int, int, int]:
    (position, row), _ = found
    return position, -row.priority, row.id


class Queue:
    """The filtered queue as of `now`; the planner runs once per organization."""

    def __init__(self, filters: Filters, now: datetime) -> None:
        self._filters = filters
        self._now = now

    @cached_property
    def queues(self) -> list[OrganizationQueue]:
        """Return the queue of each organization, filtered."""
        all_loaded = load_many(self._organizations(), now=self._now).values()
        named, nodes = self._ids_named(), self._nodes()
        return [OrganizationQueue(loaded, self._filters, nodes, named) for loaded in all_loaded]

    @cached_property
    def codes(self) -> Counter[str]:
        """Count the competing deployments by wait reason, ignoring the filter by reason."""
        return sum((queue.codes for queue in self.queues), Counter[str]())

    @property
    def length(self) -> int:
        """The number of competing deployments, ignoring the filter by reason."""
        return self.codes.total()

    @property
    def first_queued_at(self) -> int | None:
        """The time, in seconds, at which the first of these deployments was queued."""
        times = [queue.first_queued_at for queue in self.queues]
        return min((time for time in times if time is not None), default=None)

    def competing(
        self, first: int = 0, last: int | None = None, sort: Sort = Sort.SERVED
    ) -> list[Competitor]:
        """Return the competing deployments that pass the filters from `first` up to, but not
        including, `last`; unless they are sorted, the heads of all queues first.
        """
        if sort != Sort.SERVED:
            return self._sorted(sort, first, last)
        if len(self.queues) == 1:
            return list(self.queues[0].competitors(first, last))
        runs = (zip(queue.numbered(0, last), repeat(queue)) for queue in self.queues)
        shown = islice(merge(*runs, key=_by_position), first, last)
        return [queue.competitor(position, row) for (position, row), queue in shown]

    def _sorted(self, sort: Sort, first: int, last: int | None) -> list[Competitor]:
        runs = (zip(queue.in_order(sort), repeat(queue)) for queue in self.queues)
        shown = list(islice(merge(*runs, key=lambda pair: sort.key(pair[0])), first, last))
        rows: dict[OrganizationQueue, list[Row]] = {}
        for row, queue in shown:
            rows.setdefault(queue, []).append(row)
        found = {c.row.id: c for queue, of in rows.items() for c in queue.competitors_of(of)}
        return [found[row.id] for row, _ in shown]

    def count(self, group: Group) -> int:
        if group != Group.COMPETING:
            return self.rows(group).count()
        return self.codes[self._filters.code] if self._filters.code else self.length

    def entries(self, group: Group, first: int, last: int, sort: Sort = Sort.SERVED) -> list[Entry]:
        """Return the lines of the group from `first` up to, but not including, `last`."""
        if group == Group.COMPETING:
            return list(self._competing_entries(self.competing(first, last, sort)))
        rows = list(self.rows(group, sort)[first:last])
        waits = waiting.on_others([row.pk for row in rows]) if group == Group.DEPENDENCY else {}
        return [
            Entry(row, _code(row, group), " ".join(waits[row.pk].details))
            if row.pk in waits
            else Entry(row, _code(row, group), row.status_reason)
            for row in rows
        ]

    def rows(self, group: Group, sort: Sort = Sort.SERVED) -> QuerySet[Deployment]:
        """Return the deployments of a group other than the competing one, from the database."""
        rows = self._rows(group)
        if sort == Sort.SERVED:
            return rows
        return rows.order_by(*sort.columns("placed_at" if group == Group.PLACED else "queued_at"))

    def _rows(self, group: Group) -> QuerySet[Deployment]:
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
            Group.ARRAY: Q(
                ~unmet, held=False, array__isnull=False, status_code=wait_codes.ARRAY_LIMIT
            ),
        }
        rows = rows.filter(waits[group], status=Status.PENDING)
        return rows.order_by("ready_after", "-priority", "queued_at", "pk")

    def _organizations(self) -> list[int]:
        if self._filters.organization is not None:
            return [self._filters.organization]
        ready = Deployment.objects.ready(self._now).filter(organization=OuterRef("pk"))
        found = Organization.objects.filter(Exists(ready.order_by()))
        return list(found.order_by("pk").values_list("pk", flat=True))

    def _ids_named(self) -> set[int] | None:
        """Return the ids of the pending deployments that the search finds, None without one."""
        if not self._filters.search:
            return None
        found = Deployment.objects.pending().filter(self._filters.named())
        return set(found.order_by().values_list("pk", flat=True))

    def _nodes(self) -> list[Resources]:
        """Return the capacity of each node of the filter's cluster."""
        rows = (
            Node.objects.filter(cluster=self._filters.cluster).order_by().values_list(*DIMENSIONS)
        )
        return [Resources(*row) for row in rows] if self._filters.cluster else []

    def _competing_entries(self, competitors: Sequence[Competitor]) -> Iterator[Entry]:
        rows = _with_names().in_bulk([competitor.row.id for competitor in competitors])
        organizations = {row.organization_id for row in rows.values()}
        clusters = Cluster.objects.filter(organization__in=organizations)
        names = dict(clusters.values_list("pk", "name"))
        moving = names_in(c.wait for c in competitors if c.wait)
        read_past({c.starts.organization: c.starts for c in competitors if c.wait}.values())
        for c in competitors:
            if c.row.id in rows:
                code, reason = c.wait.both if c.wait else (NEXT, _start(c))
                short_on = c.wait.clusters(_CLUSTERS_SHOWN) if c.wait else Clusters()
                yield Entry(
                    rows[c.row.id],
                    code,
                    with_name(reason, c.wait.move, moving) if c.wait else reason,
                    c.position,
                    list(shortages_of(short_on, names)),
                    short_on.number,
                    c.start,
                )


def _start(competitor: Competitor) -> str:
    """Return how the next cycle starts it."""
    placements, wanted = competitor.plan.placements, competitor.row.id
    at = bisect_left(placements, wanted, key=attrgetter("deployment"))
    return f"The next cycle starts it. {placements[at].reason}"


def _with_names() -> QuerySet[Deployment]:
    related = ("organization", "cluster", "node", "requested_cluster")
    rows = Deployment.objects.select_related(*related)
    return rows.only(*_SHOWN, *(f"{name}__name" for name in related))


def _code(row: Deployment, group: Group) -> str:
    return row.status if group == Group.PLACED else group.value
