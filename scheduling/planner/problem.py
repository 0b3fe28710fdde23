"""A snapshot prepared for planning: packed vectors, levels, and the priorities that may evict.

From here on, clusters and deployments are identified by their index in the order of their ids, so
that the order of a snapshot's rows cannot matter.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from scheduling.planner.packed import OVERDRAWN, pack
from scheduling.planner.resources import NOTHING, Resources
from scheduling.planner.snapshot import Cluster, ClusterState, Deployment, Snapshot

NEVER = 1 << 62
NOWHERE = -1
Shape = tuple[int, int | None]


@dataclass(slots=True)
class Due:
    """The active deployments of one cluster that are due at a level.

    An active deployment is due at the first level that may not evict it: at its own level, or at a
    higher one when its budget or its minimum run time protects it. `groups` has the `members` by
    priority, the highest first; `protected` are those of a priority below the level; `total` is the
    sum of the requests; `home` maps each member to the cluster.
    """

    cluster: int
    members: list[int]
    total: int = 0
    home: dict[int, int] = field(default_factory=dict)
    groups: dict[int, list[int]] = field(default_factory=dict)
    protected: tuple[int, ...] = ()


@dataclass(slots=True)
class Level:
    """The deployments of one priority, and the active deployments that are due at it.

    `members` are all of the priority; `ready`, `starved` and `suspended` are pending, the last with
    preemption suspended for them; `drained` are active on a draining cluster. `due` may contain
    deployments of lower priorities.
    """

    priority: int
    members: set[int] = field(default_factory=set)
    starved: list[int] = field(default_factory=list)
    suspended: list[int] = field(default_factory=list)
    ready: list[int] = field(default_factory=list)
    drained: list[int] = field(default_factory=list)
    due: list[Due] = field(default_factory=list)


@dataclass(slots=True)
class Problem:
    """What is the same for all attempts.

    `capacities` and `requests` are packed. `open[c]`: c is active and not overcommitted. Any other
    cluster takes nothing; it keeps what it has unless it drains. `weights` turn CPU, RAM and GPU
    into shares of the total capacity, `shares` are the dominant shares. `kinds` number the distinct
    pairs of request and requested cluster. `threshold[d]` is the lowest priority that may evict the
    active d, and `loss[d]` the work, in shares times seconds, that an eviction of d would lose.
    `suspended` are the ready deployments for which preemption is suspended. `due_at[d]` is the
    level at which the active d is due; `eviction_order` has the active deployments by cluster, the
    first to be evicted at the head. `victims_cache` belongs to `fewest_victims`.
    """

    snapshot: Snapshot
    clusters: list[Cluster]
    deployments: list[Deployment]
    capacities: list[int]
    open: list[bool]
    requests: list[int]
    weights: tuple[int, int, int]
    shares: list[int]
    eligible: list[tuple[int, ...]]
    kinds: list[int]
    home: list[int]
    threshold: list[int]
    loss: list[int]
    suspended: frozenset[int]
    levels: list[Level]
    due_at: list[int] = field(default_factory=list)
    eviction_order: list[list[int]] = field(default_factory=list)
    victims_cache: dict[object, frozenset[int]] = field(default_factory=dict)

    def threshold_once_started(self, d: int) -> int:
        """Return the lowest priority that could evict d if it started in this plan."""
        deployment, policy = self.deployments[d], self.snapshot.policy
        if policy.min_run_seconds or not deployment.preemptible:
            return NEVER
        evictions = deployment.recent_preemptions + (deployment.cluster is not None)
        gap = policy.budget_override_gap if evictions >= policy.preemption_budget else 1
        return deployment.priority + max(gap, 1)


def prepare(snapshot: Snapshot) -> Problem:
    clusters = sorted(snapshot.clusters, key=lambda c: c.id)
    deployments = sorted(snapshot.deployments, key=lambda d: d.id)
    index = {cluster.id: i for i, cluster in enumerate(clusters)}
    home = [NOWHERE if d.cluster is None else index[d.cluster] for d in deployments]
    requests = [pack(d.request) for d in deployments]
    capacities = [pack(cluster.capacity) for cluster in clusters]
    open_ = _open(clusters, capacities, requests, home)
    share = Shares(clusters)
    shares = [share.of(d.request) for d in deployments]
    problem = Problem(
        snapshot=snapshot,
        clusters=clusters,
        deployments=deployments,
        capacities=capacities,
        open=open_,
        requests=requests,
        weights=share.weights,
        shares=shares,
        eligible=_eligible(deployments, requests, capacities, open_, index),
        kinds=_kinds(deployments, requests),
        home=home,
        threshold=[NEVER] * len(deployments),
        loss=[0] * len(deployments),
        suspended=frozenset(i for i, d in enumerate(deployments) if snapshot.is_suspended(d)),
        levels=[],
    )
    for d, deployment in enumerate(deployments):
        if deployment.cluster is not None:
            problem.threshold[d] = threshold(deployment, snapshot)
            problem.loss[d] = lost_seconds(deployment, snapshot.now) * shares[d]
    problem.levels = _levels(problem)
    _order_victims(problem)
    return problem


class Shares:
    """Dominant shares as integers: comparable with each other within one snapshot."""

    def __init__(self, clusters: list[Cluster]) -> None:
        total = sum((c.capacity for c in clusters), NOTHING)
        cpu, ram, gpu = max(total.cpu_milli, 1), max(total.ram_mib, 1), max(total.gpu, 1)
        self.weights = (ram * gpu, cpu * gpu, cpu * ram)

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


def _open(
    clusters: list[Cluster], capacities: list[int], requests: list[int], home: list[int]
) -> list[bool]:
    left = capacities.copy()
    for request, cluster in zip(requests, home, strict=True):
        if cluster != NOWHERE:
            left[cluster] -= request
    return [
        cluster.state == ClusterState.ACTIVE and not rest & OVERDRAWN
        for cluster, rest in zip(clusters, left, strict=True)
    ]


def _eligible(
    deployments: list[Deployment],
    requests: list[int],
    capacities: list[int],
    open_: list[bool],
    index: dict[int, int],
) -> list[tuple[int, ...]]:
    everywhere = [c for c, is_open in enumerate(open_) if is_open]
    known: dict[Shape, tuple[int, ...]] = {}
    result = []
    for deployment, request in zip(deployments, requests, strict=True):
        shape = (request, deployment.requested_cluster)
        clusters = known.get(shape)
        if clusters is None:
            wanted = deployment.requested_cluster
            among = everywhere
            if wanted is not None:
                pinned = index.get(wanted)
                among = [] if pinned is None or not open_[pinned] else [pinned]
            clusters = known[shape] = tuple(
                [c for c in among if not (capacities[c] - request) & OVERDRAWN]
            )
        result.append(clusters)
    return result


def _kinds(deployments: list[Deployment], requests: list[int]) -> list[int]:
    known: dict[Shape, int] = {}
    return [
        known.setdefault((request, deployment.requested_cluster), len(known))
        for deployment, request in zip(deployments, requests, strict=True)
    ]


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
            starved = is_starved(deployment, problem.snapshot)
            (level.starved if starved else level.ready).append(d)
        elif problem.open[home]:
            due[problem.threshold[d]][home].append(d)
        else:
            level.drained.append(d)
    _assign_due(problem, due, [levels[priority] for priority in priorities])
    for level in levels.values():
        level.starved.sort(key=lambda d: (problem.deployments[d].waits_since, d))
    return list(levels.values())


def _drains(problem: Problem, cluster: int) -> bool:
    return problem.clusters[cluster].state == ClusterState.DRAINING


def _assign_due(
    problem: Problem, due: dict[int, dict[int, list[int]]], levels: list[Level]
) -> None:
    """Give each level the deployments with a threshold above it, but not above the level before."""
    thresholds = sorted(due)
    for level in levels:
        here: dict[int, list[int]] = {}
        while thresholds and thresholds[-1] > level.priority:
            for cluster, members in due[thresholds.pop()].items():
                here.setdefault(cluster, []).extend(members)
        level.due = [_due(problem, level, c, members) for c, members in here.items()]


def _due(problem: Problem, level: Level, cluster: int, members: list[int]) -> Due:
    due = Due(cluster, members, sum([problem.requests[d] for d in members]))
    due.home = dict.fromkeys(members, cluster)
    by_priority = defaultdict(list)
    for d in sorted(members):
        by_priority[problem.deployments[d].priority].append(d)
    due.groups = dict(sorted(by_priority.items(), reverse=True))
    due.protected = tuple(d for d in members if problem.deployments[d].priority < level.priority)
    return due


def _order_victims(problem: Problem) -> None:
    problem.due_at = [NEVER] * len(problem.deployments)
    problem.eviction_order = [[] for _ in problem.capacities]
    for k, level in enumerate(problem.levels):
        for due in level.due:
            problem.eviction_order[due.cluster] += due.members
            for d in due.members:
                problem.due_at[d] = k
    for members in problem.eviction_order:
        members.sort(key=lambda d: (problem.deployments[d].priority, problem.loss[d], -d))
