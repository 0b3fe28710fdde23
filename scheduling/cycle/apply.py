"""Write a plan to the database in a constant number of statements, after checking its rows."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import F

from clusters.wakeups import request_reconcile
from deployments import lifecycle, wait_codes
from deployments.choices import ACTIVE, Status
from deployments.lifecycle import Change, transition
from deployments.models import Deployment
from hypervisor.base import arrays
from orgs.events import record_many
from orgs.models import Event
from scheduling.cycle.snapshot import Loaded
from scheduling.planner.plan import Eviction, Move, Placement, Plan, Suspension
from scheduling.planner.policy import Policy

ACTOR = "system:scheduler"


def lock_unchanged(plan: Plan, loaded: Loaded) -> bool:
    """Lock the rows that the plan changes. Return whether none has changed since the snapshot.

    A pending deployment must have its revision. An active one must be where it was, with the same
    priority, and preemptible unless its node drains.
    """
    pending = {p.deployment for p in plan.placements} | {s.deployment for s in plan.suspensions}
    drained = {e.deployment for e in plan.evictions if e.for_ is None}
    drained |= {m.deployment for m in plan.moves if m.for_ is None}
    active = {e.deployment for e in plan.evictions} | {m.deployment for m in plan.moves}
    active -= pending
    expected = [loaded.known[pk].deployment for pk in sorted(active)]
    sql = """
        SELECT count(*) FROM (
            SELECT d.status, d.revision, d.cluster_id, d.node_id, d.priority, d.preemptible,
                   v.revision AS planned, v.cluster, v.node, v.priority AS level, v.drained
            FROM deployments_deployment d JOIN unnest(
                %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::int[], %s::boolean[]
            ) AS v(id, revision, cluster, node, priority, drained) USING (id)
            ORDER BY d.id FOR NO KEY UPDATE OF d
        ) AS locked
        WHERE CASE WHEN planned IS NOT NULL THEN status = 'pending' AND revision = planned
              ELSE status = ANY(%s) AND (cluster_id, priority) = (cluster, level)
                   AND (node_id IS NULL OR node_id = node) AND (preemptible OR drained) END
    """
    none = [None] * len(pending)
    columns: list[Any] = [
        arrays.numbers([*pending, *(d.id for d in expected)]),
        arrays.numbers([*(loaded.known[pk].revision for pk in pending), *(None for _ in expected)]),
        arrays.numbers([*none, *(d.cluster for d in expected)]),
        arrays.numbers([*none, *(d.node for d in expected)]),
        arrays.numbers([*none, *(d.priority for d in expected)]),
        arrays.numbers([*none, *(int(d.id in drained) for d in expected)]),
        list(ACTIVE),
    ]
    with connection.cursor() as cursor:
        cursor.execute(sql, columns)
        return bool(cursor.fetchone()[0] == len(pending | active))


def apply(plan: Plan, loaded: Loaded) -> None:
    """Carry out the plan in the caller's transaction, which has locked the rows.

    The wait reasons are written by `explaining`.
    """
    now, policy = loaded.now, loaded.snapshot.policy
    preempted = [e for e in plan.evictions if e.for_ is not None]
    drained = [e for e in plan.evictions if e.for_ is None]
    evicted = [
        _eviction(e, loaded.known[e.deployment].past.evictions + 1, policy, now) for e in preempted
    ]
    _suspend(plan.suspensions, now)
    transition(lifecycle.EVICT, evicted, actor=ACTOR, now=now)
    transition(lifecycle.REQUEUE, [_requeue(e) for e in drained], actor=ACTOR, now=now)
    transition(lifecycle.MOVE, [_move(m) for m in plan.moves], actor=ACTOR, now=now)
    transition(lifecycle.PLACE, [_placement(p) for p in plan.placements], actor=ACTOR, now=now)
    for cluster_id in sorted(_touched_clusters(plan)):
        request_reconcile(cluster_id)


def _suspend(suspensions: Sequence[Suspension], now: datetime) -> None:
    """Suspend preemption for these pending deployments, with an event for each.

    All suspensions of a plan end at the same time.
    """
    if not suspensions:
        return
    reasons = {s.deployment: s.reason for s in suspensions}
    rows = Deployment.objects.filter(pk__in=reasons, status=Status.PENDING)
    until = datetime.fromtimestamp(suspensions[0].until, UTC)
    rows.update(suspended_until=until, revision=F("revision") + 1)
    record_many(
        [
            Event(
                organization_id=organization,
                subject=Event.Subject.DEPLOYMENT,
                subject_id=pk,
                time=now,
                kind="preemption_suspended",
                actor=ACTOR,
                reason=reasons[pk],
            )
            for pk, organization in rows.order_by("pk").values_list("pk", "organization")
        ]
    )


def _eviction(eviction: Eviction, count: int, policy: Policy, now: datetime) -> Change:
    wait = policy.backoff(count)
    until = now + timedelta(seconds=wait) if wait else None
    back_off = (
        f" Ready again at {until:%Y-%m-%d %H:%M:%S} UTC after eviction {count}." if until else ""
    )
    return Change(
        eviction.deployment,
        eviction.reason + back_off,
        ready_after=until,
        preemptor=eviction.for_,
        status_code=wait_codes.BACKOFF if until else None,
        data={
            "code": eviction.code,
            "cluster": eviction.cluster,
            "node": eviction.node,
            "for": eviction.for_,
            "proved_minimal": eviction.proved_minimal,
        },
    )


def _requeue(eviction: Eviction) -> Change:
    data = {"code": eviction.code, "cluster": eviction.cluster, "node": eviction.node}
    return Change(eviction.deployment, eviction.reason, data=data)


def _move(move: Move) -> Change:
    return Change(
        move.deployment,
        move.reason,
        cluster=move.target,
        node=move.target_node,
        preemptor=move.for_,
        data={
            "code": move.code,
            "from": move.source,
            "from_node": move.node,
            "cluster": move.target,
            "node": move.target_node,
            "for": move.for_,
        },
    )


def _placement(placement: Placement) -> Change:
    return Change(
        placement.deployment,
        placement.reason,
        cluster=placement.cluster,
        node=placement.node,
        data={"code": placement.code, "cluster": placement.cluster, "node": placement.node},
    )


def _touched_clusters(plan: Plan) -> set[int]:
    return (
        {p.cluster for p in plan.placements}
        | {e.cluster for e in plan.evictions}
        | {cluster for m in plan.moves for cluster in (m.source, m.target)}
    )
