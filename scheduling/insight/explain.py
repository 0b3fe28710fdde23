"""Explain why a deployment is in its state.

A pending one is explained by the planner, on a snapshot taken now, so that both agree.
"""

from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django.utils import timezone

from clusters.places import Places
from deployments import waiting
from deployments.choices import Status
from deployments.models import Deployment
from orgs.models import Event
from scheduling.cycle.array_limits import before
from scheduling.cycle.next_plan import plan_and_backlog
from scheduling.cycle.snapshot import Loaded, load
from scheduling.insight.forecast import Starts
from scheduling.insight.forecast import Stated as Forecast
from scheduling.insight.wording import named, names_in
from scheduling.planner.plan import Eviction, Move, Plan, Stated, WaitReason
from scheduling.planner.problem import lost_seconds

_FIRST = 5
"""How many of the deployments ahead are named."""


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
class Ahead:
    """How many deployments are before another one in the queue, and the first of them."""

    count: int
    first: list[dict[str, Any]] = field(default_factory=list)

    @property
    def more(self) -> int:
        """How many are not among the first."""
        return self.count - len(self.first)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a deployment is in its state.

    `code` is for programs and `reason` for people. For a pending deployment that competes,
    `position` is its place in the queue of `queue_length`, counted from 1, `ahead` says what is
    before it, and `clusters` lists what is missing on each cluster, as in `WaitReason.detail`. For
    an element beyond the limit of its array, `ahead` is about that array. `evictions` and `moves`
    are what the next cycle does to others for it. `turn` is None if it takes no turns, `forecast`
    if it does not compete.
    """

    deployment: int
    status: str
    code: str
    reason: str
    since: datetime
    position: int | None = None
    queue_length: int | None = None
    ahead: Ahead | None = None
    waits_for: list[str] = field(default_factory=list)
    clusters: list[dict[str, Any]] = field(default_factory=list)
    evictions: list[dict[str, Any]] = field(default_factory=list)
    moves: list[dict[str, Any]] = field(default_factory=list)
    turn: Turn | None = None
    forecast: Forecast | None = None


def explain(deployment: Deployment) -> Explanation:
    """Explain the deployment's present state."""
    if deployment.status != Status.PENDING:
        return _from_history(deployment)
    obstacle = waiting.obstacle(deployment, timezone.now())
    return _waiting(deployment, obstacle) if obstacle else _from_plan(deployment)


def done_for(
    deployments: Container[int], loaded: Loaded, plan: Plan
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return a plan's evictions and moves for these deployments, with what each victim loses."""
    evictions = [e for e in plan.evictions if e.for_ in deployments]
    moves = [m for m in plan.moves if m.for_ in deployments]
    victims = [e.deployment for e in evictions] + [m.deployment for m in moves]
    names = _names(loaded.organization, victims)

    def described(row: Eviction | Move) -> dict[str, Any]:
        victim = loaded.known[row.deployment].deployment
        return asdict(row) | {
            "name": names.get(victim.id, ""),
            "priority": victim.priority,
            "lost_s": lost_seconds(victim, loaded.snapshot.now),
        }

    return [described(e) for e in evictions], [described(m) for m in moves]


def _names(organization_id: int, deployments: Collection[int]) -> dict[int, str]:
    """Return the names of these deployments of the organization, by id."""
    if not deployments:
        return {}
    rows = Deployment.objects.filter(organization=organization_id, pk__in=deployments)
    return dict(rows.values_list("pk", "name"))


def _ahead(order: Sequence[int], position: int, loaded: Loaded) -> Ahead:
    first = list(islice(order, min(_FIRST, position - 1)))
    names = _names(loaded.organization, first)
    return Ahead(
        position - 1,
        [
            {
                "deployment": pk,
                "name": names.get(pk, ""),
                "priority": loaded.known[pk].deployment.priority,
            }
            for pk in first
        ],
    )


def _waiting(deployment: Deployment, obstacle: waiting.Obstacle) -> Explanation:
    return Explanation(
        deployment=deployment.pk,
        status=deployment.status,
        code=obstacle.code,
        reason=obstacle.reason,
        since=deployment.queued_at,
        waits_for=list(obstacle.details),
    )


def _beyond_limit(
    deployment: Deployment, obstacle: waiting.Obstacle, loaded: Loaded
) -> Explanation:
    active, order = before(loaded.known, deployment.pk, loaded.now)
    text = (
        f"Of its array, {active:,} {'is' if active == 1 else 'are'} active and"
        f" {len(order):,} pending {'one is' if len(order) == 1 else 'ones are'} before it."
    )
    explained = _waiting(deployment, replace(obstacle, details=(obstacle.reason, text)))
    return replace(explained, ahead=_ahead(order, len(order) + 1, loaded))


def _from_plan(deployment: Deployment) -> Explanation:
    loaded = load(deployment.organization_id, lock=False)
    beyond = loaded.limits.beyond
    if deployment.pk in beyond:
        return _beyond_limit(deployment, waiting.beyond_limit(beyond[deployment.pk]), loaded)
    plan, backlog = plan_and_backlog(loaded)
    order = plan.served
    position = order.position(deployment.pk)
    placement = next((p for p in plan.placements if p.deployment == deployment.pk), None)
    detail: Mapping[str, Any] = {}
    if placement:
        at = placement.cluster, placement.node
        code, reason = "next_cycle", f"The next cycle places it on {Places.named([at]).name(*at)}."
    else:
        wait = wait_reason(plan, deployment.pk)
        code, reason, detail = wait.code, named(wait, names_in([wait])), wait.detail
    turn = None if placement else _turn(plan, deployment.pk)
    evictions, moves = done_for({deployment.pk}, loaded, plan)
    return Explanation(
        deployment=deployment.pk,
        status=deployment.status,
        code=code,
        reason=reason,
        since=deployment.queued_at,
        position=position,
        queue_length=len(order),
        ahead=_ahead(order, position, loaded) if position else None,
        waits_for=[] if placement else [reason],
        clusters=detail.get("clusters", []),
        evictions=evictions,
        moves=moves,
        turn=turn,
        forecast=Starts(loaded, plan, backlog).stated(deployment.pk, position),
    )


def _turn(plan: Plan, deployment_id: int) -> Turn | None:
    for turn in plan.turns:
        if turn.deployment == deployment_id:
            changes = datetime.fromtimestamp(turn.changes_at, UTC)
            return Turn(None, changes) if turn.now else Turn(changes, None)
    return None


def wait_reason(plan: Plan, deployment_id: int) -> WaitReason:
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
