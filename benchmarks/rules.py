"""The rules of docs/scheduling.md as predicates on a snapshot and its plan.

An independent statement: nothing here knows how the planner works. Slow and plain on purpose.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from scheduling.planner.plan import Eviction, Move, Placement, Plan, WaitReason
from scheduling.planner.resources import NOTHING, Resources
from scheduling.planner.snapshot import Cluster, ClusterState, Deployment, Snapshot
from scheduling.planner.suspension import suspended


@dataclass
class Result:
    """A snapshot with its plan carried out: who is where before and after."""

    snapshot: Snapshot
    plan: Plan
    clusters: dict[int, Cluster] = field(init=False)
    deployments: dict[int, Deployment] = field(init=False)
    priorities: dict[int, int] = field(init=False)
    after: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.snapshot = suspended(self.snapshot, self.plan.suspensions)
        self.clusters = {c.id: c for c in self.snapshot.clusters}
        self.deployments = {d.id: d for d in self.snapshot.ranked().deployments}
        self.priorities = {d.id: d.priority for d in self.snapshot.deployments}
        self.after = {d.id: d.cluster for d in self.snapshot.deployments if d.cluster is not None}
        for eviction in self.plan.evictions:
            del self.after[eviction.deployment]
        for move in self.plan.moves:
            self.after[move.deployment] = move.target
        for placement in self.plan.placements:
            self.after[placement.deployment] = placement.cluster

    def on(self, cluster: int) -> list[Deployment]:
        return [self.deployments[d] for d, c in self.after.items() if c == cluster]

    def stayers(self, cluster: int) -> list[Deployment]:
        return [d for d in self.on(cluster) if d.cluster == cluster]

    def starters(self, cluster: int) -> list[Deployment]:
        return [d for d in self.on(cluster) if d.cluster != cluster]

    def evictable(self, victim: Deployment, priority: int) -> bool:
        policy = self.snapshot.policy
        since = self.snapshot.now if victim.placed_at is None else victim.placed_at
        ran = self.snapshot.now - since
        within = victim.recent_preemptions < policy.preemption_budget
        gap = priority - victim.priority
        return (
            gap > 0
            and victim.preemptible
            and (policy.min_run_seconds <= ran or victim.placed_at is None)
            and (within or gap >= policy.budget_override_gap)
        )

    def takes(self, cluster: Cluster, deployment: Deployment) -> bool:
        """Say whether the cluster is eligible for the deployment; an overcommitted one is not."""
        before = total(d for d in self.deployments.values() if d.cluster == cluster.id)
        return (
            cluster.state == ClusterState.ACTIVE
            and deployment.requested_cluster in (None, cluster.id)
            and deployment.request.fits_in(cluster.capacity)
            and before.fits_in(cluster.capacity)
        )

    def held(self, cluster: int, deployment: Deployment) -> bool:
        """Say whether the plan holds room on the cluster that this deployment must respect."""
        for wait in self.plan.wait_reasons:
            reservation = wait.detail.get("reservation")
            if reservation and reservation["cluster"] == cluster:
                holder = self.deployments[wait.deployment]
                ends = deployment.max_runtime_s
                until = reservation["until"]
                known = ends is not None and until is not None
                in_time = known and until - self.snapshot.now >= ends
                if holder.id != deployment.id and holder.priority >= deployment.priority:
                    return not in_time and not self.gives_way(deployment, holder.priority)
        return False

    def gives_way(self, deployment: Deployment, priority: int) -> bool:
        """Say whether it may use held room because it could be evicted again, if it started."""
        policy = self.snapshot.policy
        moved = deployment.cluster is not None
        started = replace(
            deployment,
            priority=self.priorities[deployment.id],
            placed_at=self.snapshot.now,
            recent_preemptions=deployment.recent_preemptions + moved,
        )
        return policy.backfill == "evictable" and self.evictable(started, priority)

    def starves(self, deployment: Deployment) -> bool:
        since = deployment.ready_since
        waited = self.snapshot.now - (deployment.queued_at if since is None else since)
        return waited > self.snapshot.policy.starvation_seconds

    def carried_out(self) -> Snapshot:
        """Return the snapshot as it is when the plan has happened, at the same moment."""
        rows = []
        for d in self.snapshot.deployments:
            now = self.after.get(d.id)
            if now == d.cluster:
                rows.append(d)
            elif now is None:
                evictions = d.recent_preemptions + 1
                rows.append(
                    replace(d, cluster=None, placed_at=None, checkpoint_at=None,
                            recent_preemptions=evictions, ready_since=self.snapshot.now)
                )  # fmt: skip
            else:
                moved = d.cluster is not None
                rows.append(
                    replace(d, cluster=now, placed_at=self.snapshot.now, checkpoint_at=None,
                            recent_preemptions=d.recent_preemptions + moved)
                )  # fmt: skip
        return replace(self.snapshot, deployments=tuple(rows))


def total(deployments: Iterable[Deployment]) -> Resources:
    return sum((d.request for d in deployments), NOTHING)


def violations(snapshot: Snapshot, plan: Plan) -> list[str]:
    """Return a sentence for each breach of rules 1 to 4 and 12."""
    result = Result(snapshot, plan)
    checks = (capacity, eligibility, only_when_needed, no_idle_waiting, explained)
    return [sentence for check in checks for sentence in check(result)]


def capacity(result: Result) -> Iterator[str]:
    for cluster in result.clusters.values():
        used = total(result.on(cluster.id))
        if result.starters(cluster.id) and not used.fits_in(cluster.capacity):
            yield f"rule 1: cluster {cluster.id} is oversubscribed"


def eligibility(result: Result) -> Iterator[str]:
    for cluster in result.clusters.values():
        for d in result.starters(cluster.id):
            if not result.takes(cluster, d):
                yield f"rule 2: {d.id} may not run on {cluster.id}"


def only_when_needed(result: Result) -> Iterator[str]:
    for d in result.deployments.values():
        if d.cluster is None or result.after.get(d.id) == d.cluster:
            continue
        home = result.clusters[d.cluster]
        if home.state != ClusterState.DRAINING and not _displaced(result, d, home):
            yield f"rule 3: {d.id} leaves {home.id} for nothing"


def _displaced(result: Result, e: Deployment, home: Cluster) -> bool:
    """Say whether at the level of some starter e fits no longer.

    Beside e count those who stay with its priority or a higher one, the starters of that level and
    above, and the lower ones that stay because that level may not evict them.
    """
    above = [s for s in result.starters(home.id) if result.evictable(e, s.priority)]
    for level in {s.priority for s in above}:
        beside = [s for s in above if s.priority >= level]
        for d in result.stayers(home.id):
            if d.priority >= e.priority or not result.evictable(d, level):
                beside += [d]
        if not total([e, *beside]).fits_in(home.capacity):
            return True
    return False


def no_idle_waiting(result: Result) -> Iterator[str]:
    for d in result.deployments.values():
        if d.id in result.after or (d.cluster is not None and d.requested_cluster == d.cluster):
            continue
        for cluster in result.clusters.values():
            if result.takes(cluster, d) and not result.held(cluster.id, d):
                blocking = _blocking(result, d, cluster)
                if total([d, *blocking]).fits_in(cluster.capacity):
                    yield f"rule 4: {d.id} waits although {cluster.id} has room for it"


def _blocking(result: Result, d: Deployment, cluster: Cluster) -> list[Deployment]:
    first = d.cluster is None and result.starves(d)
    blocking = []
    for other in result.on(cluster.id):
        starts = other.cluster != cluster.id
        if other.priority > d.priority:
            blocking.append(other)
        elif other.priority == d.priority:
            waited_longer = (other.waits_since, other.id) < (d.waits_since, d.id)
            if not starts or not first or (other.cluster is None and waited_longer):
                blocking.append(other)
        elif not starts and not result.evictable(other, d.priority):
            blocking.append(other)
    return blocking


def explained(result: Result) -> Iterator[str]:
    plan = result.plan
    rows: list[Placement | Eviction | Move | WaitReason] = [*plan.placements, *plan.wait_reasons]
    rows += [*plan.evictions, *plan.moves]
    for row in rows:
        if not row.code or not row.reason.endswith("."):
            yield f"rule 12: {row.deployment} has no reason"
    decided = {p.deployment for p in plan.placements} | {h.deployment for h in plan.wait_reasons}
    ready = {d.id for d in result.deployments.values() if d.cluster is None}
    if decided != ready:
        yield f"rule 12: no decision about {sorted(decided ^ ready)}"
    leaving: list[Eviction | Move] = [*plan.evictions, *plan.moves]
    for leaver in leaving:
        victim = result.deployments[leaver.deployment]
        source = victim.cluster
        if source is None:
            yield f"rule 12: {victim.id} leaves without having been anywhere"
            continue
        preemptors = {s.id for s in result.starters(source) if result.evictable(victim, s.priority)}
        drains = result.clusters[source].state == ClusterState.DRAINING
        if not drains and leaver.for_ not in preemptors:
            yield f"rule 12: {victim.id} leaves {source} for {leaver.for_}, who may not evict it"


def idle(result: Result) -> dict[int, Resources]:
    """Return the room that is left on each cluster."""
    left: dict[int, Resources] = defaultdict(lambda: NOTHING)
    for cluster in result.clusters.values():
        left[cluster.id] = cluster.capacity - total(result.on(cluster.id))
    return left
