"""A snapshot prepared for planning: packed vectors, levels, and the priorities that may evict.

From here on, nodes and deployments are identified by their index in the order of their ids, so that
the order of a snapshot's rows cannot matter. The search places deployments on nodes; it knows of
clusters only what `eligible` says.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from operator import attrgetter
from threading import Lock

from scheduling.planner.eligibility import Eligibility
from scheduling.planner.packed import OVERDRAWN, pack
from scheduling.planner.policy import Policy
from scheduling.planner.scale import Scale
from scheduling.planner.shares import Shares, dominant_share
from scheduling.planner.shortlist import Backlog
from scheduling.planner.snapshot import Bin, ClusterState, Deployment, Place, Snapshot
from scheduling.planner.turns import Turn, turns

NEVER = 1 << 62
NOWHERE = -1


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
    requested cluster, or of all, with the required labels; `pool[d]` are those of them that are
    open, and `eligible[d]` those that are also large enough. `weights` turn CPU, RAM and GPU into
    shares of the total capacity, `shares` are the dominant shares. `kinds` number the distinct
    combinations of request, requested cluster and required labels. `threshold[d]` is the lowest
    priority that may evict the active d, and `loss[d]` the work, in shares times seconds, that an
    eviction of d would lose. `suspended` are the ready deployments for which preemption is
    suspended. `turns` has those that take turns. `due_at[d]` is the level at which the active d is
    due; `eviction_order` has the active deployments by node, the first to be evicted at the head.
    `victims_cache` belongs to `fewest_victims`, `expected_cache` to the expected victims of states.

    The first `planned` deployments are those of the plan. The others of the snapshot are certain to
    wait (see `shortlist`), and have an index only once `include` has given them one. `backlog` is
    that of all deployments, None if none is left out.
    """

    snapshot: Snapshot
    bins: list[Bin]
    clusters: list[range]
    deployments: list[Deployment]
    capacities: list[int]
    open: list[bool]
    requests: list[int]
    priorities: list[int]
    queued_at: list[int]
    weights: tuple[int, int, int]
    shares: list[int]
    admitted: list[tuple[int, ...]]
    pool: list[tuple[int, ...]]
    eligible: list[Sequence[int]]
    kinds: list[int]
    home: list[int]
    threshold: list[int]
    loss: list[int]
    suspended: frozenset[int]
    turns: dict[int, Turn]
    levels: list[Level]
    planned: int
    backlog: Backlog | None
    eligibility: Eligibility
    scale: Scale
    included: dict[int, int] = field(default_factory=dict)
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
        return threshold_once_started(self.deployments[d], self.snapshot.policy)

    def index_of(self, deployment: Deployment) -> int:
        """Return the index of a ready deployment; one that was left out gets one."""
        at = self._planned_at(deployment.id)
        return self.include(deployment) if at is None else at

    def _planned_at(self, id_: int) -> int | None:
        at = bisect_left(self.deployments, id_, hi=self.planned, key=attrgetter("id"))
        return at if at < self.planned and self.deployments[at].id == id_ else None

    @property
    def has_left_out(self) -> bool:
        return self.planned < len(self.snapshot.deployments)

    @property
    def left_out(self) -> list[Deployment]:
        """The deployments of the snapshot that are not planned, because they certainly wait."""
        planned = {d.id for d in self.deployments[: self.planned]}
        return [d for d in self.snapshot.deployments if d.id not in planned]

    def find_left_out(self, id_: int) -> Deployment | None:
        """Return the deployment with this id if it is not planned."""
        rows = self.snapshot.deployments
        if not self.has_left_out or self._planned_at(id_) is not None:
            return None
        at = bisect_left(rows, id_, key=attrgetter("id"))
        if at < len(rows) and rows[at].id == id_:
            return rows[at]
        return next((d for d in rows if d.id == id_), None)  # they may be in another order

    def include(self, deployment: Deployment) -> int:
        """Return an index for a deployment that was left out."""
        with _including:
            if deployment.id not in self.included:
                self.included[deployment.id] = self._append(deployment)
            return self.included[deployment.id]

    def _append(self, deployment: Deployment) -> int:
        request = pack(deployment.request)
        self.eligibility.add([deployment], [request])
        kind = self.eligibility.kinds[-1]
        admitted, pool, eligible = self.eligibility.nodes(kind)
        self.deployments.append(deployment)
        self.requests.append(request)
        self.priorities.append(deployment.priority)
        self.queued_at.append(deployment.queued_at)
        self.shares.append(dominant_share(deployment.request, self.weights))
        self.admitted.append(admitted)
        self.pool.append(pool)
        self.eligible.append(eligible)
        self.home.append(NOWHERE)
        self.threshold.append(NEVER)
        self.loss.append(0)
        self.due_at.append(NEVER)
        return len(self.deployments) - 1


_including = Lock()


def prepare(
    snapshot: Snapshot,
    shortlist: Sequence[Deployment] | None = None,
    backlog: Backlog | None = None,
) -> Problem:
    """Return the problem of a snapshot, or of some of its deployments.

    These must include all active ones and all that take turns, and need the backlog of all.
    """
    bins = list(snapshot.bins)
    chosen = snapshot.deployments if shortlist is None else shortlist
    deployments = sorted(chosen, key=attrgetter("id"))
    requests = [pack(d.request) for d in deployments]
    capacities = [pack(bin_.capacity) for bin_ in bins]
    home = _home(bins, deployments)
    open_ = _open(bins, capacities, requests, home)
    share = Shares(list(snapshot.clusters))
    eligibility = Eligibility(bins, open_)
    eligibility.add(deployments, requests)
    problem = Problem(
        snapshot=snapshot,
        bins=bins,
        clusters=_clusters(bins),
        deployments=deployments,
        capacities=capacities,
        open=open_,
        requests=requests,
        priorities=[d.priority for d in deployments],
        queued_at=[d.queued_at for d in deployments],
        weights=share.weights,
        shares=share.of_all(deployments),
        admitted=eligibility.admitted,
        pool=eligibility.pool,
        eligible=eligibility.eligible,
        kinds=eligibility.kinds,
        home=home,
        threshold=[NEVER] * len(deployments),
        loss=[0] * len(deployments),
        suspended=frozenset(
            i
            for i, d in enumerate(deployments)
            if d.suspended_until is not None and snapshot.is_suspended(d)
        ),
        turns={},
        levels=[],
        planned=len(deployments),
        backlog=backlog,
        eligibility=eligibility,
        scale=Scale(requests),
    )
    for d, c in enumerate(home):
        if c != NOWHERE:
            problem.threshold[d] = threshold(deployments[d], snapshot)
            problem.loss[d] = lost_seconds(deployments[d], snapshot.now) * problem.shares[d]
    problem.turns = _turns(problem, share.whole)
    problem.levels = _levels(problem)
    _order_victims(problem)
    return problem


def eligibility_of(snapshot: Snapshot, active: Sequence[Deployment]) -> Eligibility:
    """Return which nodes are eligible beside the active deployments."""
    bins = list(snapshot.bins)
    requests, capacities = [pack(d.request) for d in active], [pack(b.capacity) for b in bins]
    return Eligibility(bins, _open(bins, capacities, requests, _home(bins, active)))


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


def threshold_once_started(deployment: Deployment, policy: Policy) -> int:
    """Return the lowest priority that may evict the deployment right after it is placed."""
    if policy.min_run_seconds or not deployment.preemptible:
        return NEVER
    evictions = deployment.recent_preemptions + (deployment.cluster is not None)
    gap = policy.budget_override_gap if evictions >= policy.preemption_budget else 1
    return deployment.priority + max(gap, 1)


def lost_seconds(deployment: Deployment, now: int) -> int:
    """Return the run time, in seconds, that an eviction now would lose."""
    since = now if deployment.placed_at is None else deployment.placed_at
    return max(now - max(since, deployment.checkpoint_at or since), 0)


def is_starved(deployment: Deployment, snapshot: Snapshot) -> bool:
    return snapshot.now - deployment.waits_since > snapshot.policy.starvation_seconds


def _home(bins: list[Bin], deployments: Sequence[Deployment]) -> list[int]:
    index: dict[Place, int] = {bin_.place: c for c, bin_ in enumerate(bins)}
    only = {bin_.cluster.id: c for c, bin_ in enumerate(bins)}
    return [
        NOWHERE
        if d.cluster is None
        else only[d.cluster]
        if d.node is None
        else index[d.cluster, d.node]
        for d in deployments
    ]


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


def _levels(problem: Problem) -> list[Level]:
    levels: dict[int, Level] = {}
    due: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for d, (home, deployment) in enumerate(zip(problem.home, problem.deployments, strict=True)):
        is_open = home != NOWHERE and problem.open[home]
        if home != NOWHERE and not is_open and not _drains(problem, home):
            continue
        level = levels.get(deployment.priority)
        if level is None:
            level = levels[deployment.priority] = Level(deployment.priority)
        level.members.add(d)
        if is_open:
            due[problem.threshold[d]][home].append(d)
        elif home != NOWHERE:
            level.drained.append(d)
        elif d in problem.suspended:
            level.suspended.append(d)
        else:
            level.ready.append(d)
    for d in problem.turns:
        levels[problem.deployments[d].priority].taking_turns.append(d)
    found = [levels[priority] for priority in sorted(levels, reverse=True)]
    _assign_due(problem, due, found)
    for level in found:
        level.taking_turns.sort(key=lambda d: (problem.deployments[d].waits_since, d))
    return found


def _turns(problem: Problem, whole: int) -> dict[int, Turn]:
    snapshot, eligible, suspended = problem.snapshot, problem.eligible, problem.suspended
    candidates = {
        deployment.id: d
        for d, deployment in enumerate(problem.deployments)
        if deployment.cluster is None
        and is_starved(deployment, snapshot)
        and eligible[d]
        and d not in suspended
    }
    shares = ((problem.deployments[d], problem.shares[d]) for d in candidates.values())
    return {candidates[t.deployment]: t for t in turns(snapshot, shares, whole)}


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
        by_priority[problem.priorities[d]].append(d)
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
        # Each sort keeps the order of the one before among equal ones: by priority, loss and -d.
        members.sort(reverse=True)
        members.sort(key=problem.loss.__getitem__)
        members.sort(key=problem.priorities.__getitem__)
