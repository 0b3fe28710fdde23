"""A snapshot prepared for planning: packed vectors, levels, and the priorities that may evict.

From here on, nodes and deployments are identified by their index in the order of their ids, so that
the order of a snapshot's rows cannot matter. The search places deployments on nodes; it knows of
clusters only what `eligible` says.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from scheduling.planner.packed import OVERDRAWN, pack, unpack
from scheduling.planner.requirements import Requirement
from scheduling.planner.resources import DIMENSIONS, NOTHING, Resources
from scheduling.planner.snapshot import Bin, Cluster, ClusterState, Deployment, Place, Snapshot
from scheduling.planner.turns import Turn, turns

NEVER = 1 << 62
NOWHERE = -1
Class = tuple[int | None, tuple[Requirement, ...]]
Shape = tuple[int, Class]


@dataclass(slots=True)
class Due:
    """The active deployments of one node that are due at a level.

    An active deployment is due at the first level that may not evict it: at its own level, or at a
    higher one when its budget or its minimum run time protects it. `groups` has the `members` by
    priority, the highest first; `total` is the sum of the requests; `home` maps each member to the
    node.
    """

    node: int
    members: list[int]
    total: int = 0
    home: dict[int, int] = field(default_factory=dict)
    groups: dict[int, list[int]] = field(default_factory=dict)


@dataclass(slots=True)
class Level:
    """The deployments of one priority, and the active deployments that are due at it.

    `members` are all of the priority; `ready` and `suspended` are pending, the latter with
    preemption suspended for them; `taking_turns` are those of the ready that take turns, the
    longest waiting first; `drained` are active on a draining node. `due` may contain deployments of
    lower priorities.
    """

    priority: int
    members: set[int] = field(default_factory=set)
    taking_turns: list[int] = field(default_factory=list)
    suspended: list[int] = field(default_factory=list)
    ready: list[int] = field(default_factory=list)
    drained: list[int] = field(default_factory=list)
    due: list[Due] = field(default_factory=list)


@dataclass(slots=True)
class Problem:
    """What is the same for all attempts.

    `bins` are the nodes of all clusters. `capacities` and `requests` are packed. `open[c]`: c is
    active and not overcommitted. Any other node takes nothing; it keeps what it has unless it
    drains. `clusters` are ranges of nodes, one for each cluster. `admitted[d]` are the nodes of the
    requested cluster, or of all, with the required labels; `eligible[d]` are those of them that are
    open and large enough. `weights` turn CPU, RAM and GPU into shares of the total capacity,
    `shares` are the dominant shares. `kinds` number the distinct combinations of request, requested
    cluster and required labels. `threshold[d]` is the lowest priority that may evict the active d,
    and `loss[d]` the work, in shares times seconds, that an eviction of d would lose. `suspended`
    are the ready deployments for which preemption is suspended. `turns` has those that take turns.
    `due_at[d]` is the level at which the active d is due; `eviction_order` has the active
    deployments by node, the first to be evicted at the head. `victims_cache` belongs to
    `fewest_victims`, `expected_cache` to the expected victims of states.
    """

    snapshot: Snapshot
    bins: list[Bin]
    clusters: list[range]
    deployments: list[Deployment]
    capacities: list[int]
    open: list[bool]
    requests: list[int]
    weights: tuple[int, int, int]
    shares: list[int]
    admitted: list[tuple[int, ...]]
    eligible: list[tuple[int, ...]]
    kinds: list[int]
    home: list[int]
    threshold: list[int]
    loss: list[int]
    suspended: frozenset[int]
    turns: dict[int, Turn]
    levels: list[Level]
    due_at: list[int] = field(default_factory=list)
    eviction_order: list[list[int]] = field(default_factory=list)
    victims_cache: dict[object, frozenset[int]] = field(default_factory=dict)
    expected_cache: dict[object, tuple[list[int], int]] = field(default_factory=dict)

    def goes_first(self, d: int) -> bool:
        """Return whether d, which takes turns, goes first in its level if it fits.

        It does during its turn, and if the last plan reserved capacity for it: otherwise others
        would take what it has waited for when that becomes free after its turn.
        """
        return self.turns[d].now or self.deployments[d].reserved

    def threshold_once_started(self, d: int) -> int:
        """Return the lowest priority that could evict d if it started in this plan."""
        deployment, policy = self.deployments[d], self.snapshot.policy
        if policy.min_run_seconds or not deployment.preemptible:
            return NEVER
        evictions = deployment.recent_preemptions + (deployment.cluster is not None)
        gap = policy.budget_override_gap if evictions >= policy.preemption_budget else 1
        return deployment.priority + max(gap, 1)


def prepare(snapshot: Snapshot) -> Problem:
    bins = list(snapshot.bins)
    deployments = sorted(snapshot.deployments, key=lambda d: d.id)
    requests = [pack(d.request) for d in deployments]
    capacities = [pack(bin_.capacity) for bin_ in bins]
    home = _home(snapshot, bins, deployments)
    open_ = _open(bins, capacities, requests, home)
    share = Shares(list(snapshot.clusters))
    shares = [share.of(d.request) for d in deployments]
    shapes = _shapes(deployments, requests)
    search = _Eligibility(bins, capacities, open_)
    problem = Problem(
        snapshot=snapshot,
        bins=bins,
        clusters=_clusters(bins),
        deployments=deployments,
        capacities=capacities,
        open=open_,
        requests=requests,
        weights=share.weights,
        shares=shares,
        admitted=[search.admitted(d) for d in deployments],
        eligible=[search.eligible(d, shape) for d, shape in zip(deployments, shapes, strict=True)],
        kinds=_kinds(shapes),
        home=home,
        threshold=[NEVER] * len(deployments),
        loss=[0] * len(deployments),
        suspended=frozenset(i for i, d in enumerate(deployments) if snapshot.is_suspended(d)),
        turns={},
        levels=[],
    )
    for d, deployment in enumerate(deployments):
        if deployment.cluster is not None:
            problem.threshold[d] = threshold(deployment, snapshot)
            problem.loss[d] = lost_seconds(deployment, snapshot.now) * shares[d]
    problem.turns = _turns(problem, share.whole)
    problem.levels = _levels(problem)
    _order_victims(problem)
    return problem


class Shares:
    """Dominant shares as integers, parts of `whole`: comparable within one snapshot."""

    def __init__(self, clusters: list[Cluster]) -> None:
        total = sum((c.capacity for c in clusters), NOTHING)
        cpu, ram, gpu = max(total.cpu_milli, 1), max(total.ram_mib, 1), max(total.gpu, 1)
        self.weights = (ram * gpu, cpu * gpu, cpu * ram)
        self.whole = cpu * ram * gpu

    def of(self, request: Resources) -> int:
        """Return the request's dominant share: the largest of its shares of the total capacity."""
        cpu, ram, gpu = self.weights
        return max(request.cpu_milli * cpu, request.ram_mib * ram, request.gpu * gpu)


def threshold(deployment: Deployment, snapshot: Snapshot) -> int:
    """Return the lowest priority that may evict the active deployment; NEVER if none may."""
    policy = snapshot.policy
    started = deployment.placed_at
    young = started is not None and snapshot.now - started < policy.min_run_seconds
    if not deployment.preemptible or young:
        return NEVER
    spent = deployment.recent_preemptions >= policy.preemption_budget
    gap = policy.budget_override_gap if spent else 1
    return deployment.priority + max(gap, 1)


def lost_seconds(deployment: Deployment, now: int) -> int:
    """Return the run time, in seconds, that an eviction now would lose."""
    since = now if deployment.placed_at is None else deployment.placed_at
    return max(now - max(since, deployment.checkpoint_at or since), 0)


def is_starved(deployment: Deployment, snapshot: Snapshot) -> bool:
    return snapshot.now - deployment.waits_since > snapshot.policy.starvation_seconds


def _home(snapshot: Snapshot, bins: list[Bin], deployments: list[Deployment]) -> list[int]:
    index: dict[Place, int] = {bin_.place: c for c, bin_ in enumerate(bins)}
    homes = snapshot.homes()
    return [index[homes[d.id]] if d.id in homes else NOWHERE for d in deployments]


def _open(
    bins: list[Bin], capacities: list[int], requests: list[int], home: list[int]
) -> list[bool]:
    left = capacities.copy()
    for request, c in zip(requests, home, strict=True):
        if c != NOWHERE:
            left[c] -= request
    return [
        bin_.state == ClusterState.ACTIVE and not rest & OVERDRAWN
        for bin_, rest in zip(bins, left, strict=True)
    ]


def _clusters(bins: list[Bin]) -> list[range]:
    counts = Counter([bin_.cluster.id for bin_ in bins])
    ends = list(accumulate(counts[id_] for id_ in sorted(counts)))
    return [range(first, end) for first, end in pairwise([0, *ends])]


def _shapes(deployments: list[Deployment], requests: list[int]) -> list[Shape]:
    return [
        (request, (d.requested_cluster, d.require))
        for d, request in zip(deployments, requests, strict=True)
    ]


class _Eligibility:
    """Finds the eligible nodes of many deployments.

    Deployments with the same requested cluster and required labels are a class: its nodes are found
    once, and those of equal capacity are compared with a request once. Equal results are one
    object.
    """

    def __init__(self, bins: list[Bin], capacities: list[int], open_: list[bool]) -> None:
        self._bins = bins
        self._capacities = capacities
        self._open = open_
        self._admitted: dict[Class, tuple[int, ...]] = {}
        self._by_capacity: dict[Class, dict[int, list[int]]] = {}
        self._fits_all: dict[Class, int] = {}
        self._of_shape: dict[Shape, tuple[int, ...]] = {}
        self._of_capacities: dict[tuple[Class, tuple[int, ...]], tuple[int, ...]] = {}

    def admitted(self, d: Deployment) -> tuple[int, ...]:
        """Return the nodes of its requested cluster, or of all, with the labels it requires."""
        class_ = d.requested_cluster, d.require
        known = self._admitted.get(class_)
        if known is None:
            known = tuple([c for c, bin_ in enumerate(self._bins) if d.admits(bin_)])
            self._admitted[class_] = known
        return known

    def eligible(self, d: Deployment, shape: Shape) -> tuple[int, ...]:
        known = self._of_shape.get(shape)
        if known is None:
            known = self._of_shape[shape] = self._find(d, shape)
        return known

    def _find(self, d: Deployment, shape: Shape) -> tuple[int, ...]:
        request, class_ = shape
        nodes = self._by_capacity.get(class_)
        if nodes is None:
            nodes = self._by_capacity[class_] = defaultdict(list)
            for c in self.admitted(d):
                if self._open[c]:
                    nodes[self._capacities[c]].append(c)
            self._fits_all[class_] = _smallest(nodes)
        if (self._fits_all[class_] - request) & OVERDRAWN:
            large = tuple([capacity for capacity in nodes if not (capacity - request) & OVERDRAWN])
        else:
            large = tuple(nodes)
        found = self._of_capacities.get((class_, large))
        if found is None:
            found = tuple(sorted([c for capacity in large for c in nodes[capacity]]))
            self._of_capacities[class_, large] = found
        return found


def _smallest(capacities: Iterable[int]) -> int:
    """Return the least of each dimension: what fits there fits everywhere."""
    amounts = [unpack(capacity) for capacity in capacities]
    least = [min([getattr(a, name) for a in amounts], default=0) for name in DIMENSIONS]
    return pack(Resources(*least))


def _kinds(shapes: list[Shape]) -> list[int]:
    known: dict[Shape, int] = {}
    return [known.setdefault(shape, len(known)) for shape in shapes]


def _levels(problem: Problem) -> list[Level]:
    participants = [
        d
        for d, home in enumerate(problem.home)
        if home == NOWHERE or problem.open[home] or _drains(problem, home)
    ]
    priorities = sorted({problem.deployments[d].priority for d in participants}, reverse=True)
    levels = {priority: Level(priority) for priority in priorities}
    due: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for d in participants:
        deployment, home = problem.deployments[d], problem.home[d]
        level = levels[deployment.priority]
        level.members.add(d)
        if d in problem.suspended:
            level.suspended.append(d)
        elif home == NOWHERE:
            level.ready.append(d)
            if d in problem.turns:
                level.taking_turns.append(d)
        elif problem.open[home]:
            due[problem.threshold[d]][home].append(d)
        else:
            level.drained.append(d)
    _assign_due(problem, due, [levels[priority] for priority in priorities])
    for level in levels.values():
        level.taking_turns.sort(key=lambda d: (problem.deployments[d].waits_since, d))
    return list(levels.values())


def _turns(problem: Problem, whole: int) -> dict[int, Turn]:
    candidates = {
        deployment.id: d
        for d, deployment in enumerate(problem.deployments)
        if deployment.cluster is None and problem.eligible[d] and d not in problem.suspended
    }
    shares = ((problem.deployments[d], problem.shares[d]) for d in candidates.values())
    return {candidates[t.deployment]: t for t in turns(problem.snapshot, shares, whole)}


def _drains(problem: Problem, c: int) -> bool:
    return problem.bins[c].state == ClusterState.DRAINING


def _assign_due(
    problem: Problem, due: dict[int, dict[int, list[int]]], levels: list[Level]
) -> None:
    """Give each level the deployments with a threshold above it, but not above the level before."""
    thresholds = sorted(due)
    for level in levels:
        here: dict[int, list[int]] = {}
        while thresholds and thresholds[-1] > level.priority:
            for c, members in due[thresholds.pop()].items():
                here.setdefault(c, []).extend(members)
        level.due = [_due(problem, c, members) for c, members in here.items()]


def _due(problem: Problem, c: int, members: list[int]) -> Due:
    due = Due(c, members, sum([problem.requests[d] for d in members]))
    due.home = dict.fromkeys(members, c)
    by_priority = defaultdict(list)
    for d in sorted(members):
        by_priority[problem.deployments[d].priority].append(d)
    due.groups = dict(sorted(by_priority.items(), reverse=True))
    return due


def _order_victims(problem: Problem) -> None:
    problem.due_at = [NEVER] * len(problem.deployments)
    problem.eviction_order = [[] for _ in problem.capacities]
    for k, level in enumerate(problem.levels):
        for due in level.due:
            problem.eviction_order[due.node] += due.members
            for d in due.members:
                problem.due_at[d] = k
    for members in problem.eviction_order:
        members.sort(key=lambda d: (problem.deployments[d].priority, problem.loss[d], -d))
