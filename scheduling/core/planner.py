"""Decide who runs where: a first, greedy planner."""

from dataclasses import dataclass

from scheduling.core.ordering import dominant_share, order_key
from scheduling.core.plan import Eviction, Hold, Move, Placement, Plan
from scheduling.core.resources import NOTHING, Resources
from scheduling.core.snapshot import Cluster, ClusterState, Deployment, Snapshot


def make_plan(snapshot: Snapshot) -> Plan:
    """Return the plan for a snapshot; the same for the same snapshot in any order of rows."""
    return _Paper(snapshot).plan()


@dataclass
class _Paper:
    snapshot: Snapshot

    def __post_init__(self) -> None:
        self.clusters = {c.id: c for c in sorted(self.snapshot.clusters, key=lambda c: c.id)}
        self.on: dict[int, dict[int, Deployment]] = {c: {} for c in self.clusters}
        self.place: dict[int, int] = {}
        self.cause: dict[int, int | None] = {}
        self.by_id = {d.id: d for d in self.snapshot.deployments}

    def plan(self) -> Plan:
        for d in sorted(self.snapshot.deployments, key=lambda d: d.id):
            if d.cluster is not None and self.clusters[d.cluster].state != ClusterState.DRAINING:
                self._put(d, d.cluster)
            elif d.cluster is not None:
                self.cause[d.id] = None
        for priority in sorted({d.priority for d in self.by_id.values()}, reverse=True):
            level = [
                d for d in self.by_id.values() if d.priority == priority and d.id not in self.place
            ]
            for d in sorted(
                level, key=lambda d: (d.id not in self.cause, order_key(self.snapshot, d))
            ):
                home = d.cluster if d.id in self.cause else None
                if home is not None and self.clusters[home].state == ClusterState.ACTIVE:
                    self._try(d, [self.clusters[home]])
            for d in sorted(level, key=lambda d: order_key(self.snapshot, d)):
                if d.id not in self.place:
                    self._try(d, self._eligible(d))
        return self._result()

    def _eligible(self, d: Deployment) -> list[Cluster]:
        return [c for c in self.clusters.values() if self._obstacle(d, c) is None]

    def _obstacle(self, d: Deployment, c: Cluster) -> str | None:
        if d.requested_cluster not in (None, c.id):
            return "it asks for another cluster"
        if not d.request.fits_in(c.capacity):
            return f"even empty it has only {c.capacity}"
        if c.state != ClusterState.ACTIVE:
            return f"the cluster is {c.state.value}"
        return None

    def _room(self, c: Cluster, but: set[int] = frozenset()) -> Resources:  # type: ignore[assignment]
        used = NOTHING
        for d in self.on[c.id].values():
            if d.id not in but:
                used += d.request
        return c.capacity - used

    def _put(self, d: Deployment, cluster: int) -> None:
        self.on[cluster][d.id] = d
        self.place[d.id] = cluster

    def _try(self, d: Deployment, clusters: list[Cluster]) -> None:
        free = [c for c in clusters if d.request.fits_in(self._room(c))]
        if free:
            best = min(free, key=lambda c: (self._left(self._room(c) - d.request, c), c.id))
            self._put(d, best.id)
            return
        options = [
            (harm, c, v)
            for c in clusters
            for v in [self._victims(d, c)]
            if v is not None
            for harm in [self._harm(v)]
        ]
        if options:
            _, c, victims = min(options, key=lambda o: (o[0], o[1].id))
            for v in victims:
                del self.on[c.id][v.id], self.place[v.id]
                self.cause[v.id] = d.id
            self._put(d, c.id)

    def _left(self, room: Resources, c: Cluster) -> int:
        cap = c.capacity
        return sum(
            r * 10**6 // k
            for r, k in (
                (room.cpu_milli, cap.cpu_milli),
                (room.ram_mib, cap.ram_mib),
                (room.gpu, cap.gpu),
            )
            if k
        )

    def _evictable(self, v: Deployment, d: Deployment) -> bool:
        policy = self.snapshot.policy
        within = v.preemptions < policy.preemption_budget
        return (
            v.cluster == self.place[v.id]
            and v.priority < d.priority
            and v.preemptible
            and self.snapshot.now - (v.started_at or 0) >= policy.min_run_seconds
            and (within or d.priority - v.priority >= policy.budget_override_gap)
        )

    def _victims(self, d: Deployment, c: Cluster) -> list[Deployment] | None:
        lower = [v for v in self.on[c.id].values() if self._evictable(v, d)]
        room = self._room(c, {v.id for v in lower}) - d.request
        if not NOTHING.fits_in(room):
            return None
        victims = []
        for v in sorted(
            lower,
            key=lambda v: (-v.priority, dominant_share(self.snapshot, v), -self._lost(v), v.id),
        ):
            if v.request.fits_in(room):
                room -= v.request
            else:
                victims.append(v)
        return victims

    def _lost(self, v: Deployment) -> int:
        since = max(v.started_at or 0, v.checkpoint_at or 0)
        return (self.snapshot.now - since) * dominant_share(self.snapshot, v)

    def _harm(self, victims: list[Deployment]) -> tuple[int, int, int]:
        return max(v.priority for v in victims), len(victims), sum(map(self._lost, victims))

    def _result(self) -> Plan:
        placements, evictions, moves, holds = [], [], [], []
        for d in sorted(self.by_id.values(), key=lambda d: d.id):
            target = self.place.get(d.id)
            label = self.clusters[target].label if target else ""
            cause = self.cause.get(d.id)
            why = f"for deployment {cause} of higher priority" if cause else "as its cluster drains"
            if d.cluster is None and target is not None:
                placements.append(Placement(d.id, target, "placed", f"Placed on {label}."))
            elif d.cluster is None:
                holds.append(self._hold(d))
            elif target is None:
                source = self.clusters[d.cluster].label
                code = "preempted" if cause else "drained"
                evictions.append(
                    Eviction(
                        d.id, d.cluster, cause, False, code, f"Gave up its place on {source} {why}."
                    )
                )
            elif target != d.cluster:
                code = "preempted" if cause else "drained"
                moves.append(Move(d.id, d.cluster, target, cause, code, f"Moved to {label} {why}."))
        return Plan(tuple(placements), tuple(evictions), tuple(moves), tuple(holds))

    def _hold(self, d: Deployment) -> Hold:
        rows = []
        for c in self.clusters.values():
            missing = d.request.missing_from(self._room(c))
            why = self._obstacle(d, c) or "lacks " + ", ".join(
                f"{n} {k}" for k, n in missing.items()
            )
            rows.append({"cluster": c.id, "missing": missing, "why": f"{c.label}: {why}."})
        return Hold(
            d.id,
            "no_room",
            {"clusters": rows},
            f"No cluster has room for {d.request} at priority {d.priority}: "
            + " ".join(r["why"] for r in rows),
        )
