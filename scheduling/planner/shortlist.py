"""Leave deployments out of a plan that certainly wait, so that it costs less than what waits.

The search places the ready deployments of a level in a fixed order, and what is free only shrinks
meanwhile. So if no ready deployment of the level starts, each was refused by the same free
capacity, and one that requests at least as much as a refused one, may run on no other nodes and has
the same priority would be refused too. Therefore the plan is made with the smallest requests of
each level only, those that are not as large as another one (the skyline of Börzsönyi et al., *The
Skyline Operator*, ICDE '01). If a ready deployment starts at a level of which others were left out,
the plan is made once more with all deployments of that level, as constraints are added to a linear
program only when they are violated (Dantzig, Fulkerson and Johnson, *Solution of a Large-Scale
Traveling-Salesman Problem*, 1954).

Where capacity is reserved, a larger deployment may use what is refused to a smaller one, for
example because it can be evicted or ends in time. So if the plan has reservations, it is made once
more with the smallest requests of those that are alike in this respect, unless these are the same.

Starved deployments may take turns, so the longest waiting of each period are never left out.
"""

from bisect import bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import compress, count, islice
from operator import attrgetter, is_not
from typing import NamedTuple

from scheduling.planner.demand import Class, Demand, heaviest
from scheduling.planner.packed import OVERDRAWN, pack
from scheduling.planner.resources import DIMENSIONS, Resources
from scheduling.planner.snapshot import Deployment, Snapshot
from scheduling.planner.turns import ends_of_periods

LARGE = 4_000
"""The number of deployments from which the search makes only one attempt."""

Kind = tuple[int, int | None, object]
IsEligible = Callable[[Deployment], bool]

_FEW = 64  # differences that are found one by one
_PART = 16  # of so many members one is added: it is put in its place by itself

_EVICTABLE = "preemptible", "recent_preemptions"
_ENDING = "max_runtime_s", *_EVICTABLE
"""The fields that decide, with the priority, whether a deployment may use reserved capacity."""


def is_large(snapshot: Snapshot) -> bool:
    """Return whether the search makes only one attempt, so that a shortlist may be planned."""
    return len(snapshot.deployments) >= LARGE


def _by_wait(deployment: Deployment) -> tuple[int, int]:
    return deployment.waits_since, deployment.id


class Group:
    """The ready deployments of one priority, requested cluster and set of required labels.

    `members` are sorted by the beginning of the wait.
    """

    def __init__(
        self, members: Iterable[Deployment], in_order: Sequence[Deployment] | None = None
    ) -> None:
        self.members = sorted(members, key=_by_wait) if in_order is None else in_order
        self._smallest_by: dict[tuple[str, ...], list[Deployment]] = {}

    @cached_property
    def is_alike(self) -> bool:
        """Whether all members may use the same reserved capacity."""
        return len(set(map(attrgetter(*_ENDING), self.members))) == 1

    @cached_property
    def ids(self) -> frozenset[int]:
        return frozenset([d.id for d in self.members])

    @cached_property
    def least(self) -> Resources:
        """The smallest amount of each dimension that any member requests."""
        return Resources(*(min(amounts) for amounts in self._amounts()))

    @cached_property
    def most(self) -> Resources:
        """The largest amount of each dimension that any member requests."""
        return Resources(*(max(amounts) for amounts in self._amounts()))

    def _amounts(self) -> Iterator[set[int]]:
        requests = [d.request for d in self.members]
        yield from ({getattr(each, name) for each in requests} for name in DIMENSIONS)

    @cached_property
    def run_times(self) -> frozenset[int | None]:
        """The run times that the members state."""
        return frozenset([d.max_runtime_s for d in self.members])

    @cached_property
    def _since(self) -> list[int]:
        """The beginning of the wait of each member."""
        return [d.waits_since for d in self.members]

    @cached_property
    def first_queued_at(self) -> int:
        """The time at which the first of the members was queued."""
        return min([d.queued_at for d in self.members])

    @cached_property
    def smallest(self) -> list[Deployment]:
        """One of each request that is not as large as another one."""
        return _smallest(self.members)

    @cached_property
    def reserved(self) -> list[Deployment]:
        """The members for which the last plan reserved capacity."""
        return [d for d in self.members if d.reserved]

    @cached_property
    def demand(self) -> Demand:
        """What the members request."""
        return Demand.of(self.members)

    def smallest_by(self, terms: tuple[str, ...]) -> list[Deployment]:
        """Return the same for each combination of these fields."""
        if not terms:
            return self.smallest
        if terms not in self._smallest_by:
            self._smallest_by[terms] = self._found_by(attrgetter(*terms))
        return self._smallest_by[terms]

    def _found_by(self, terms: Callable[[Deployment], object]) -> list[Deployment]:
        if len(set(map(terms, self.members))) < 2:
            return self.smallest
        alike: dict[object, list[Deployment]] = defaultdict(list)
        for d in self.members:
            alike[terms(d)].append(d)
        return [d for members in alike.values() for d in _smallest(members)]

    def longest_waiting(
        self, bounds: Sequence[int], is_eligible: IsEligible
    ) -> Iterator[Deployment]:
        """Yield of each period the eligible deployment that has waited longest.

        `bounds` has, in ascending order, when the waits of each period began at the latest.
        """
        members, start = self.members, 0
        for bound in bounds:
            end = bisect_right(self._since, bound, start)
            found = (members[at] for at in range(start, end))
            yield from (d for d in [next(filter(is_eligible, found), None)] if d is not None)
            start = end

    def next_since(self, moment: int) -> int | None:
        """Return the beginning of the first wait that began after the moment, None if none did."""
        at = bisect_right(self._since, moment)
        return self._since[at] if at < len(self.members) else None

    def changed(self, removed: Collection[int], added: Sequence[Deployment]) -> "Group":
        """Return the group without the members with these ids, and with others."""
        members = [d for d in self.members if d.id not in removed]
        if len(added) * _PART < len(members):
            for d in added:  # a sort would look at each member in Python
                insort(members, d, key=_by_wait)
            group = Group((), members)
        else:
            group = Group([*members, *added])
        if "demand" in self.__dict__:
            group.demand = self.demand.changed(removed, added)
        if "smallest" in self.__dict__ and not any(d.id in removed for d in self.smallest):
            group.smallest = Group([*self.smallest, *added]).smallest
        return group


@dataclass(frozen=True, slots=True)
class Backlog:
    """The deployments of a snapshot: the ready ones in groups, and all others by id.

    Deployments with a suspension count as others, and so do the active ones.
    """

    deployments: Sequence[Deployment]
    groups: dict[Kind, Group]
    others: dict[int, Deployment]

    @classmethod
    def of(cls, deployments: Sequence[Deployment]) -> "Backlog":
        others, groups = _divided(deployments)
        return cls(deployments, {kind: Group(each) for kind, each in groups.items()}, others)

    def follow(self, deployments: Sequence[Deployment], step: "Step | None" = None) -> "Backlog":
        """Return the backlog of other deployments. Those that are the same objects cost little, and
        nothing with the step that led to them from those of this backlog.
        """
        if deployments is self.deployments:
            return self
        if step and step.former is self.deployments:
            removed, added = step.removed, step.added
        else:
            removed, added = _differences(self.deployments, deployments)
        if 4 * (len(removed) + len(added)) > len(deployments):
            return Backlog.of(deployments)
        gone_others, gone = _divided(removed)
        new_others, new = _divided(added)
        groups = self.groups.copy()
        for kind in gone.keys() | new.keys():
            group = groups.get(kind, _EMPTY).changed({d.id for d in gone[kind]}, new[kind])
            if group.members:
                groups[kind] = group
            else:
                del groups[kind]
        others = {pk: d for pk, d in self.others.items() if pk not in gone_others} | new_others
        return Backlog(deployments, groups, others)

    @property
    def reserved(self) -> list[Deployment]:
        """The deployments for which the last plan reserved capacity."""
        found = [d for d in self.others.values() if d.reserved]
        return [*found, *(d for group in self.groups.values() for d in group.reserved)]

    def heaviest(self, number: int) -> list[tuple[Deployment, int]]:
        """Return the kinds of requests with the most GPUs, up to `number` of them: a deployment of
        each, and its GPUs in all; see `demand`.
        """
        classes: defaultdict[Class, list[Deployment]] = defaultdict(list)
        for d in self.others.values():
            classes[d.requested_cluster, d.require].append(d)
        demands = [(class_, Demand.of(members)) for class_, members in classes.items()]
        demands += [
            ((cluster, require), group.demand)
            for (_, cluster, require), group in self.groups.items()
        ]
        found = heaviest(demands, number)
        by_id = {d.id: d for d in self.of_ids({pk for _, pk in found})}
        return [(by_id[pk], weight) for weight, pk in found]

    def distinct_left_out(
        self, planned: Iterable[Deployment], without: Iterable[Deployment]
    ) -> int:
        """Return how many different requests, at each priority and of each class, those of the
        deployments make that are not planned, less those of `without`, which are planned.
        """
        numbers: defaultdict[Kind, Counter[int]] = defaultdict(Counter)
        for d in planned:
            if d.cluster is None and d.suspended_until is None:
                numbers[d.priority, d.requested_cluster, d.require][pack(d.request)] += 1
        known = {((d.priority, d.requested_cluster, d.require), pack(d.request)) for d in without}
        count = 0
        for kind, group in self.groups.items():
            counts, here = group.demand.counts, numbers[kind]
            count += len(counts) - sum(1 for r, n in here.items() if counts[r] == n)
        for kind, request in known:
            group = self.groups.get(kind, _EMPTY)
            count -= group.demand.counts[request] > numbers[kind][request]
        return count

    def always_planned(self, snapshot: Snapshot, is_eligible: IsEligible) -> dict[int, Deployment]:
        """Return the deployments, by id, that every shortlist has: the others, and of each group
        those that may take turns.
        """
        bounds, chosen = ends_of_periods(snapshot), self.others.copy()
        for group in self.groups.values():
            chosen.update([(d.id, d) for d in group.longest_waiting(bounds, is_eligible)])
        return chosen

    def shortlist(
        self, always: Mapping[int, Deployment], levels: Collection[int], terms: tuple[str, ...]
    ) -> list[Deployment]:
        """Return the deployments to plan, with all of these levels, and of the others the smallest
        of each combination of the fields `terms`.
        """
        chosen = dict(always)
        for (priority, *_), group in self.groups.items():
            members = group.members if priority in levels else group.smallest_by(terms)
            chosen.update([(d.id, d) for d in members])
        return [chosen[pk] for pk in sorted(chosen)]

    def of_ids(self, ids: Set[int]) -> list[Deployment]:
        """Return the deployments with these ids."""
        found = [d for pk, d in self.others.items() if pk in ids]
        for group in self.groups.values() if ids else ():
            if not group.ids.isdisjoint(ids):
                found += [d for d in group.members if d.id in ids]
        return found

    def left_out(self, levels: Collection[int], chosen: Collection[int]) -> set[int]:
        """Return those of these levels of which the chosen ids do not have all deployments."""
        return {
            priority
            for (priority, *_), group in self.groups.items()
            if priority in levels and any(d.id not in chosen for d in group.members)
        }


_EMPTY = Group(())


class Step(NamedTuple):
    """A change from former deployments to others, as the code that made it knows it.

    `removed` are those of the former ones that are not present as the same objects, and `added` are
    the new ones. Either may also contain some that are the same.
    """

    former: Sequence[Deployment]
    removed: Sequence[Deployment]
    added: Sequence[Deployment]


def _smallest(members: Sequence[Deployment]) -> list[Deployment]:
    by_request = {pack(d.request): d for d in reversed(members)}
    kept: list[int] = []
    # As packed amounts compare, a request comes after all that it is as large as.
    for request in sorted(by_request):
        for at, smaller in enumerate(kept):
            if not (request - smaller) & OVERDRAWN:
                if at:
                    kept.insert(0, kept.pop(at))
                break
        else:
            kept.append(request)
    return [by_request[request] for request in kept]


def terms_of(untils: Collection[int | None]) -> tuple[str, ...]:
    """Return the fields that decide which deployments may use the capacity of reservations.

    `untils` are the times at which enough will be free for these, None where it is unknown.
    """
    if not untils:
        return ()
    return _EVICTABLE if set(untils) == {None} else _ENDING


def _differences(
    former: Sequence[Deployment], present: Sequence[Deployment]
) -> tuple[list[Deployment], list[Deployment]]:
    """Return the former deployments that are not present as the same objects, and the new ones.

    If both are in the order of their ids, as is usual, few are compared in Python.
    """
    removed, added, i, j = list[Deployment](), list[Deployment](), 0, 0
    while i < len(former) and j < len(present):
        differ = map(is_not, islice(former, i, None), islice(present, j, None))
        equal = next(compress(count(), differ), min(len(former) - i, len(present) - j))
        i, j = i + equal, j + equal
        if i == len(former) or j == len(present):
            break
        if len(removed) + len(added) > _FEW:
            return _differing(former, present), _differing(present, former)
        was, is_ = former[i], present[j]
        if was.id <= is_.id:
            removed.append(was)
            i += 1
        if is_.id <= was.id:
            added.append(is_)
            j += 1
    return [*removed, *former[i:]], [*added, *present[j:]]


def _differing(some: Sequence[Deployment], others: Sequence[Deployment]) -> list[Deployment]:
    there = set(map(id, others))
    return [d for d in some if id(d) not in there]


def _divided(
    deployments: Iterable[Deployment],
) -> tuple[dict[int, Deployment], dict[Kind, list[Deployment]]]:
    """Return the others by id, and the ready deployments by kind of group."""
    others: dict[int, Deployment] = {}
    groups: dict[Kind, list[Deployment]] = defaultdict(list)
    for d in deployments:
        if d.cluster is None and d.suspended_until is None:
            groups[d.priority, d.requested_cluster, d.require].append(d)
        else:
            others[d.id] = d
    return others, groups
