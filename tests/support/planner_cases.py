"""Short ways to write a snapshot and to read its plan."""

from typing import Any

from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Plan
from scheduling.planner.policy import Policy
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import Cluster, ClusterState, Deployment, Snapshot

NOW = 900 << 10
"""With the default threshold, a turn of each length begins at this moment."""


def cluster(number: int, gpu: int, state: ClusterState = ClusterState.ACTIVE) -> Cluster:
    return Cluster(number, Resources(gpu * 4_000, gpu * 8_192, gpu), state)


def ready(number: int, priority: int, gpu: int, *, waited: int = 10, **more: Any) -> Deployment:
    request = Resources(gpu * 4_000, gpu * 8_192, gpu)
    return Deployment(number, priority, request, NOW - waited, **more)


def active(
    number: int, priority: int, gpu: int, on: int = 1, *, ran: int = 100, **more: Any
) -> Deployment:
    return ready(number, priority, gpu, waited=ran, cluster=on, placed_at=NOW - ran, **more)


def plan(*rows: Cluster | Deployment, now: int = NOW, **thresholds: Any) -> Plan:
    return make_plan(
        Snapshot(
            now,
            Policy(**thresholds),
            tuple(row for row in rows if isinstance(row, Cluster)),
            tuple(row for row in rows if isinstance(row, Deployment)),
        )
    )


def placed(made: Plan) -> dict[int, int]:
    return {p.deployment: p.cluster for p in made.placements}


def evicted(made: Plan) -> dict[int, int | None]:
    return {e.deployment: e.for_ for e in made.evictions}


def moved(made: Plan) -> dict[int, tuple[int, int]]:
    return {m.deployment: (m.source, m.target) for m in made.moves}


def wait_codes(made: Plan) -> dict[int, str]:
    return {w.deployment: w.code for w in made.wait_reasons}


def missing(made: Plan, deployment: int) -> dict[int, dict[str, int]]:
    wait = next(w for w in made.wait_reasons if w.deployment == deployment)
    return {row["cluster"]: row["missing"] for row in wait.detail["clusters"]}
