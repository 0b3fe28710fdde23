"""The competing deployments of one organization in the scheduler's order, by groups of alike ones.

With thousands that wait, pages cost what they show: a group has one code, and only the levels that
are shown are put in order.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from itertools import starmap, takewhile
from operator import attrgetter
from typing import NamedTuple

from django.db.models import Exists, OuterRef, Q

from clusters.models import Cluster, Node
from hypervisor.base.numbers import whole
from scheduling.cycle.next_plan import plan_and_backlog
from scheduling.cycle.snapshot import Loaded
from scheduling.insight.forecast import Start, Starts
from scheduling.planner.plan import Plan, WaitReason
from scheduling.planner.problem import is_starved
from scheduling.planner.resources import Resources
from scheduling.planner.shortlist import Group as GroupOfAlike
from scheduling.planner.snapshot import Deployment as Row

NEXT = "next_cycle"
"""The code of a deployment that the next cycle places."""


class Sort(StrEnum):
    """In which order deployments are listed; without one, as the scheduler serves them."""

    SERVED = ""
    LONGEST = "wait"
    SHORTEST = "-wait"
    HIGHEST = "priority"
    LOWEST = "-priority"

    def key(self, row: Row) -> tuple[int, ...]:
        """Return the key by which rows of the planner are sorted."""
        match self:
            case Sort.LONGEST:
                return row.queued_at, row.id
            case Sort.SHORTEST:
                return -row.queued_at, -row.id
            case Sort.HIGHEST:
                return -row.priority, row.queued_at, row.id
        return row.priority, row.queued_at, row.id

    def columns(self, since: str) -> tuple[str, ...]:
        """Return the same for rows of the database; `since` is the column of the wait's begin."""
        match self:
            case Sort.LONGEST:
                return since, "pk"
            case Sort.SHORTEST:
                return f"-{since}", "-pk"
            case Sort.HIGHEST:
                return "-priority", since, "pk"
        return "priority", since, "pk"


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
    deployments that are there. `starved` selects the competing ones that have waited too long.
    """

    organization: int | None = None
    cluster: Cluster | None = None
    priority: int | None = None
    code: str = ""
    search: str = ""
    starved: bool = False

    @property
    def passes_all(self) -> bool:
        """Whether all deployments of the organization pass."""
        return self.priority is None and not (
            self.cluster or self.code or self.search or self.starved
        )

    def condition(self, group: Group) -> Q:
        """Return the condition on the rows of a group, for all filters except `code`."""
        wanted = self.named()
        if self.organization is not None:
            wanted &= Q(organization=self.organization)
        if self.priority is not None:
            wanted &= Q(priority=self.priority)
        if self.cluster and group == Group.PLACED:
            wanted &= Q(cluster=self.cluster)
        elif self.cluster:
            wanted &= _could_run_on(self.cluster)
        return wanted

    def named(self) -> Q:
        """Return the condition of the search."""
        if not self.search:
            return Q()
        if "\0" in self.search:  # PostgreSQL refuses such a text
            return Q(pk__in=())
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


class Competitor(NamedTuple):
    """A ready deployment at its position in its organization.

    `wait` says why it waits; it is None if it starts next. With thousands, read few of these.
    """

    position: int
    row: Row
    wait: WaitReason | None
    plan: Plan
    starts: Starts

    @property
    def start(self) -> Start | None:
        """Return when it will probably start, None if it starts next."""
        return self.starts.of(self.row.id, self.position) if self.wait else None


class OrganizationQueue:
    """The ready deployments of one organization that pass the filters, by its next plan.

    `nodes` are those of the filter's cluster, `named` the ids that the filter's search finds. What
    costs much is done for groups of deployments rather than for each.
    """

    def __init__(
        self,
        loaded: Loaded,
        filters: Filters,
        nodes: Sequence[Resources] = (),
        named: Set[int] | None = None,
    ) -> None:
        self.loaded, self._filters, self._nodes, self._named = loaded, filters, nodes, named
        self._plan, self._backlog = plan_and_backlog(loaded)
        self._starts = Starts(loaded, self._plan, self._backlog)
        self._starting = {placement.deployment for placement in self._plan.placements}

    @cached_property
    def codes(self) -> Counter[str]:
        """Count these deployments by wait reason, ignoring the filter by reason."""
        found = Counter([self._own_codes[d.id] for d in self._special if self._passes(d)])
        for group, passing in self._groups.items():
            codes = self._plan.codes_of(group, self._own_codes)
            if isinstance(codes, str):
                found[codes] += len(passing) - sum(map(passing.__contains__, self._own_codes))
            else:
                found.update([codes[pk] for pk in passing if pk not in self._own_codes])
        return +found

    @property
    def first_queued_at(self) -> int | None:
        """The time, in seconds, at which the first of these deployments was queued."""
        known = self.loaded.known
        times = [d.queued_at for d in self._special if self._passes(d)]
        for group, passing in self._groups.items():
            if len(passing) == len(group.members):
                times.append(group.first_queued_at)
            else:
                times.extend(known[pk].deployment.queued_at for pk in passing)
        return min(times, default=None)

    def competitors(self, first: int = 0, last: int | None = None) -> Iterator[Competitor]:
        """Yield those of the filtered queue from `first` up to, but not including, `last`."""
        return starmap(self.competitor, self.numbered(first, last))

    def numbered(self, first: int = 0, last: int | None = None) -> Iterator[tuple[int, Row]]:
        """Yield their positions and rows, which cost less than the competitors."""
        for position, pk in self._plan.served.numbered(self._wanted, first, last):
            yield position, self.loaded.known[pk].deployment

    def in_order(self, sort: Sort) -> Iterator[Row]:
        """Yield those of the filtered queue, sorted by what their rows say."""
        wanted = self._wanted
        rows = [d for group in self._backlog.groups.values() for d in group.members]
        rows += [d for d in self._backlog.others.values() if d.cluster is None]
        if wanted is not None:
            rows = [d for d in rows if d.id in wanted]
        # As `sort.key` sorts them, which is slower for many.
        rows.sort(key=attrgetter("queued_at", "id"), reverse=sort == Sort.SHORTEST)
        if sort in (Sort.HIGHEST, Sort.LOWEST):
            rows.sort(key=attrgetter("priority"), reverse=sort == Sort.HIGHEST)
        return iter(rows)

    def competitors_of(self, rows: Collection[Row]) -> Iterator[Competitor]:
        """Yield the competitors of some of its rows, in the order of their positions."""
        by_id = {row.id: row for row in rows}
        for position, pk in self._plan.served.numbered(by_id.keys()):
            yield self.competitor(position, by_id[pk])

    def competitor(self, position: int, row: Row) -> Competitor:
        wait = None if row.id in self._starting else self._plan.wait_reason(row.id)
        return Competitor(position, row, wait, self._plan, self._starts)

    @cached_property
    def _own_codes(self) -> dict[int, str]:
        """The codes of the deployments that have one for themselves, by id."""
        waits = self._plan.reserved
        alone = {wait.deployment for wait in waits}
        alone.update(suspension.deployment for suspension in self._plan.suspensions)
        alone.update(pk for pk, d in self._backlog.others.items() if d.cluster is None)
        found = ((pk, self._plan.wait_reason(pk)) for pk in alone - self._starting)
        codes = {pk: wait.code for pk, wait in found if wait is not None}
        return codes | dict.fromkeys(self._starting, NEXT)

    @property
    def _special(self) -> list[Row]:
        return [self.loaded.known[pk].deployment for pk in self._own_codes]

    @cached_property
    def _groups(self) -> dict[GroupOfAlike, Set[int]]:
        """The groups of which some pass the filters, with the ids of those."""
        groups = self._backlog.groups.values()
        return {group: ids for group in groups if (ids := self._passing(group))}

    def _passing(self, group: GroupOfAlike) -> Set[int]:
        """Return the ids of the members that pass the filters."""
        first, filters = group.members[0], self._filters
        if filters.priority not in (None, first.priority):
            return frozenset()
        if filters.starved:
            first_ones = takewhile(self._is_starved, group.members)
            return {d.id for d in first_ones if self._passes(d)}
        if filters.cluster is None and self._named is None:
            return group.ids
        if self._named is not None and (filters.cluster is None or not self._named & group.ids):
            return group.ids & self._named
        if self._named is None and self._all_could_run(group):
            return group.ids
        return {d.id for d in group.members if self._passes(d)}

    def _passes(self, d: Row) -> bool:
        cluster = self._filters.cluster
        return (
            self._filters.priority in (None, d.priority)
            and (self._named is None or d.id in self._named)
            and (not self._filters.starved or self._is_starved(d))
            and (cluster is None or self._could_run_on(cluster, d))
        )

    def _is_starved(self, d: Row) -> bool:
        return is_starved(d, self.loaded.snapshot)

    def _all_could_run(self, group: GroupOfAlike) -> bool:
        """Return whether all members could certainly run on the filter's cluster."""
        first, cluster = group.members[0], self._filters.cluster
        largest = replace(first, request=group.most)
        return cluster is not None and self._could_run_on(cluster, largest)

    def _could_run_on(self, cluster: Cluster, d: Row) -> bool:
        if d.requested_cluster is not None:
            return d.requested_cluster == cluster.pk
        return self.loaded.organization == cluster.organization_id and any(
            d.request.fits_in(node) for node in self._nodes
        )

    @cached_property
    def _wanted(self) -> Set[int] | None:
        """The ids of those that pass all filters, None if nothing is filtered."""
        if self._filters.passes_all:
            return None
        known, code = self.loaded.known, self._filters.code
        wanted = {
            pk
            for pk, own in self._own_codes.items()
            if code in ("", own) and self._passes(known[pk].deployment)
        }
        for group, passing in self._groups.items():
            wanted |= self._with_code(group, passing)
        return wanted

    def _with_code(self, group: GroupOfAlike, passing: Set[int]) -> Set[int]:
        """Return those of a group that pass the filters and have the wanted code."""
        code, others = self._filters.code, passing - self._own_codes.keys()
        codes = self._plan.codes_of(group, self._own_codes) if code else code
        if isinstance(codes, str):
            return others if codes == code else frozenset()
        return {pk for pk in others if codes[pk] == code}
