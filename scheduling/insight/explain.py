"""Explain why a deployment is in its state, and what a submission would lead to.

Both call the planner on a snapshot taken now, so they cannot contradict it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from clusters.places import Places
from deployments import services, waiting
from deployments.bounds import check_bounds
from deployments.models import Deployment, Status
from deployments.specs import Spec
from orgs.models import Event, Organization
from scheduling.cycle.next_plan import next_plan
from scheduling.cycle.snapshot import load
from scheduling.insight.wording import named, names_in
from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Plan, Stated, WaitReason
from scheduling.planner.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Turn:
    """A deployment that has waited too long goes first in its level from `begins` to `ends`.

    One of both is None: the end of a turn that has not begun depends on what waits by then.
    """

    begins: datetime | None
    ends: datetime | None

    def __str__(self) -> str:
        if self.ends:
            return f"It is its turn, until {self.ends:%Y-%m-%d %H:%M:%S} UTC."
        return f"Its next turn begins at {self.begins:%Y-%m-%d %H:%M} UTC."


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a deployment is in its state.

    `code` is for programs and `reason` for people. For a pending deployment that competes,
    `position` is its place in the queue of `queue_length`, counted from 1, and `clusters` lists
    what is missing on each cluster, as in `WaitReason.detail`. `turn` is None if it takes no turns.
    """

    deployment: int
    status: str
    code: str
    reason: str
    since: datetime
    position: int | None = None
    queue_length: int | None = None
    waits_for: list[str] = field(default_factory=list)
    clusters: list[dict[str, Any]] = field(default_factory=list)
    turn: Turn | None = None


@dataclass(frozen=True, slots=True)
class DryRun:
    """What the next cycle would do with a deployment: `run`, `preempt` (and run) or `wait`."""

    outcome: str
    code: str
    reason: str
    cluster: int | None = None
    node: int | None = None
    evictions: list[dict[str, Any]] = field(default_factory=list)
    moves: list[dict[str, Any]] = field(default_factory=list)
    clusters: list[dict[str, Any]] = field(default_factory=list)


def explain(deployment: Deployment) -> Explanation:
    """Explain the deployment's present state."""
    if deployment.status != Status.PENDING:
        return _from_history(deployment)
    obstacle = waiting.obstacle(deployment, timezone.now())
    if obstacle:
        return Explanation(
            deployment=deployment.pk,
            status=deployment.status,
            code=obstacle.code,
            reason=obstacle.reason,
            since=deployment.queued_at,
            waits_for=list(obstacle.details),
        )
    return _from_plan(deployment)


def dry_run(*, created_by: User, organization: Organization, spec: Spec) -> DryRun:
    """Return what the next cycle would do with a submission, without storing anything.

    Raises the errors that the submission would raise.
    """
    # No lock: other submissions would wait for it while the snapshot is read.
    check_bounds(created_by.pk, {organization.pk: 1}, lock=False)
    with transaction.atomic():
        deployment = services.submit(
            created_by=created_by, organization=organization, spec=spec, bounded=False
        )
        obstacle = waiting.obstacle(deployment, timezone.now())
        snapshot = load(organization.pk, lock=False).snapshot
        transaction.set_rollback(True)
    if obstacle:
        return DryRun("wait", obstacle.code, obstacle.reason)
    return _outcome(deployment.pk, snapshot, make_plan(snapshot))


def _outcome(deployment_id: int, snapshot: Snapshot, plan: Plan) -> DryRun:
    placement = next((p for p in plan.placements if p.deployment == deployment_id), None)
    if placement is None:
        wait = _wait_reason(plan, deployment_id)
        reason = named(wait, names_in([wait]))
        return DryRun("wait", wait.code, reason, clusters=wait.detail.get("clusters", []))
    priorities = {d.id: d.priority for d in snapshot.deployments}
    evictions = [
        asdict(e) | {"priority": priorities[e.deployment]}
        for e in plan.evictions
        if e.for_ == deployment_id
    ]
    moves = [
        asdict(m) | {"priority": priorities[m.deployment]}
        for m in plan.moves
        if m.for_ == deployment_id
    ]
    return DryRun(
        outcome="preempt" if evictions or moves else "run",
        code=placement.code,
        reason=placement.reason,
        cluster=placement.cluster,
        node=placement.node,
        evictions=[_without_for(row) for row in evictions],
        moves=[_without_for(row) for row in moves],
    )


def _without_for(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "for_"}


def _from_plan(deployment: Deployment) -> Explanation:
    plan = next_plan(load(deployment.organization_id, lock=False))
    order = plan.served
    position = order.index(deployment.pk) + 1 if deployment.pk in order else None
    placement = next((p for p in plan.placements if p.deployment == deployment.pk), None)
    detail: Mapping[str, Any] = {}
    if placement:
        at = placement.cluster, placement.node
        code, reason = "next_cycle", f"The next cycle places it on {Places.named([at]).name(*at)}."
    else:
        wait = _wait_reason(plan, deployment.pk)
        code, reason, detail = wait.code, named(wait, names_in([wait])), wait.detail
    turn = None if placement else _turn(plan, deployment.pk)
    return Explanation(
        deployment=deployment.pk,
        status=deployment.status,
        code=code,
        reason=reason,
        since=deployment.queued_at,
        position=position,
        queue_length=len(order),
        waits_for=[] if placement else [reason],
        clusters=detail.get("clusters", []),
        turn=turn,
    )


def _turn(plan: Plan, deployment_id: int) -> Turn | None:
    for turn in plan.turns:
        if turn.deployment == deployment_id:
            changes = datetime.fromtimestamp(turn.changes_at, UTC)
            return Turn(None, changes) if turn.now else Turn(changes, None)
    return None


def _wait_reason(plan: Plan, deployment_id: int) -> WaitReason:
    """Return why the plan leaves the deployment pending.

    The plan has no wait reason for a deployment that changed its state during the call.
    """
    return plan.wait_reason(deployment_id) or WaitReason(
        deployment_id, Stated("changing", "Its state is changing at this moment: try again.")
    )


def _from_history(deployment: Deployment) -> Explanation:
    """Explain the present status by the event that led to it."""
    event = (
        Event.objects.filter(
            subject=Event.Subject.DEPLOYMENT, subject_id=deployment.pk, status=deployment.status
        )
        .order_by("-pk")
        .first()
    )
    placed = (
        Event.objects.filter(
            subject=Event.Subject.DEPLOYMENT,
            subject_id=deployment.pk,
            kind__in=("placed", "moved"),
        )
        .order_by("-pk")
        .first()
    )
    why = [deployment.status_reason]
    if deployment.cluster_id and placed and placed.reason not in why:
        why.append(placed.reason)
    return Explanation(
        deployment=deployment.pk,
        status=deployment.status,
        code=event.kind if event else deployment.status,
        reason=" ".join(filter(None, why)),
        since=event.time if event else deployment.created_at,
    )
