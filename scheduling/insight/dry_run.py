"""What the submission of a deployment, or of an array, would lead to.

It is made and rolled back, and the next cycle is planned with it, so the result contradicts neither
the submission nor the planner.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from deployments import waiting
from deployments.arrays.elements import ArraySpec
from deployments.bounds import check_bounds
from deployments.bulk import Entry, submit_many
from deployments.models import Deployment
from deployments.waiting import Obstacle
from scheduling.cycle import working_copy
from scheduling.cycle.next_plan import next_plan, plan_and_backlog
from scheduling.cycle.snapshot import Loaded, load
from scheduling.insight.explain import done_for, wait_reason
from scheduling.insight.forecast import Starts, Stated
from scheduling.insight.wording import named, names_in
from scheduling.planner.plan import Placement, Plan

_STARTS = 10
"""How many of the elements that start are listed; the others are only counted."""

_DONE = 100
"""How many of the evictions and of the moves for an array are listed."""


@dataclass(frozen=True, slots=True)
class DryRun:
    """What the next cycle would do with a deployment: `run`, `preempt` (and run) or `wait`.

    `position` counts from 1 in the queue of `queue_length`; `forecast` says when it would probably
    start. All are None if it would not wait there, and for an array.
    """

    outcome: str
    code: str
    reason: str
    cluster: int | None = None
    node: int | None = None
    evictions: list[dict[str, Any]] = field(default_factory=list)
    moves: list[dict[str, Any]] = field(default_factory=list)
    clusters: list[dict[str, Any]] = field(default_factory=list)
    position: int | None = None
    queue_length: int | None = None
    forecast: Stated | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """An element that starts, and where."""

    index: int
    cluster: int
    node: int
    code: str
    reason: str


@dataclass(slots=True)
class Wait:
    """How many elements wait with a code, and why the first of them does."""

    code: str
    reason: str
    clusters: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0


@dataclass(frozen=True, slots=True)
class Elements:
    """What happens to the elements of an array: how many start, and the first of these.

    `evicted` and `moved` count the deployments that lose or change their place for them.
    """

    size: int
    at_once: int | None
    starting: int
    waiting: int
    evicted: int
    moved: int
    starts: list[Start]
    waits: list[Wait]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayDryRun(DryRun):
    """What the next cycle would do with the elements of an array, taken together."""

    array: Elements


def dry_run(*, created_by: User, entry: Entry) -> DryRun:
    """Return what the next cycle would do with a submission, without storing anything.

    Raises the errors that the submission would raise.
    """
    # No lock: other submissions would wait for it while the snapshot is read.
    check_bounds(created_by.pk, {entry.organization.pk: entry.size}, lock=False)
    if not working_copy.has([entry.organization.pk]):
        # What is read beside a change is not kept, so each dry run would read everything.
        next_plan(load(entry.organization.pk, lock=False))
    with transaction.atomic():
        (first,) = submit_many(created_by=created_by, entries=[entry], bounded=False)
        obstacle = waiting.obstacle(first, timezone.now())
        elements = _elements_of(first)
        loaded = load(entry.organization.pk, lock=False)
        transaction.set_rollback(True)
    if entry.array:
        plan = Plan() if obstacle else next_plan(loaded)
        return _of_array(entry.array, elements, obstacle, loaded, plan)
    if obstacle:
        return DryRun("wait", obstacle.code, obstacle.reason)
    return _of_one(first.pk, loaded)


def _elements_of(first: Deployment) -> list[int]:
    """Return the ids of the elements of an array in the order of their indices."""
    if first.array_id is None:
        return []
    rows = Deployment.objects.filter(array=first.array_id).order_by("array_index")
    return list(rows.values_list("pk", flat=True))


def _of_one(deployment: int, loaded: Loaded) -> DryRun:
    plan, backlog = plan_and_backlog(loaded)
    placement = next((p for p in plan.placements if p.deployment == deployment), None)
    if placement is None:
        wait, position = _wait(plan, deployment), plan.served.position(deployment)
        return DryRun(
            "wait",
            wait.code,
            wait.reason,
            clusters=wait.clusters,
            position=position,
            queue_length=len(plan.served),
            forecast=Starts(loaded, plan, backlog).stated(deployment, position),
        )
    evictions, moves = done_for({deployment}, loaded, plan)
    return DryRun(
        outcome="preempt" if evictions or moves else "run",
        code=placement.code,
        reason=placement.reason,
        cluster=placement.cluster,
        node=placement.node,
        evictions=evictions,
        moves=moves,
    )


def _of_array(
    spec: ArraySpec, elements: Sequence[int], obstacle: Obstacle | None, loaded: Loaded, plan: Plan
) -> ArrayDryRun:
    index_of = {pk: index for index, pk in enumerate(elements)}
    starts = [_start(p, index_of) for p in plan.placements if p.deployment in index_of]
    if obstacle:
        waits = [Wait(obstacle.code, obstacle.reason, count=spec.size)]
    else:
        waits = list(_waits(index_of, loaded, plan))
    evictions, moves = done_for(index_of, loaded, plan)
    first: Start | Wait = starts[0] if starts else waits[0]
    return ArrayDryRun(
        outcome=("preempt" if evictions or moves else "run") if starts else "wait",
        code=first.code,
        reason=f"{_summary(spec.size, len(starts))} {first.reason}",
        cluster=starts[0].cluster if starts else None,
        node=starts[0].node if starts else None,
        evictions=_worst(evictions),
        moves=_worst(moves),
        clusters=[] if starts else waits[0].clusters,
        array=Elements(
            size=spec.size,
            at_once=spec.at_once,
            starting=len(starts),
            waiting=spec.size - len(starts),
            evicted=len(evictions),
            moved=len(moves),
            starts=starts[:_STARTS],
            waits=waits,
        ),
    )


def _worst(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (-row["priority"], row["deployment"]))[:_DONE]


def _start(placement: Placement, index_of: dict[int, int]) -> Start:
    return Start(
        index_of[placement.deployment],
        placement.cluster,
        placement.node,
        placement.code,
        placement.reason,
    )


def _waits(elements: Collection[int], loaded: Loaded, plan: Plan) -> Iterator[Wait]:
    """Yield why elements wait that the plan does not start, by code."""
    found: dict[str, Wait] = {}
    competing = (d for d in loaded.snapshot.deployments if d.id in elements)
    for pk, code in plan.wait_codes(competing).items():
        if code not in found:
            found[code] = _wait(plan, pk)
        found[code].count += 1
    yield from found.values()
    beyond = [at_once for pk, at_once in loaded.limits.beyond.items() if pk in elements]
    if beyond:
        limit = waiting.beyond_limit(beyond[0])
        yield Wait(limit.code, limit.reason, count=len(beyond))


def _wait(plan: Plan, deployment: int) -> Wait:
    wait = wait_reason(plan, deployment)
    return Wait(wait.code, named(wait, names_in([wait])), wait.detail.get("clusters", []))


def _summary(size: int, starting: int) -> str:
    if starting in (0, size):
        verb = "start" if starting else "wait"
        return f"All {size} elements {verb}:" if size > 1 else f"Its only element {verb}s:"
    verb = "starts" if starting == 1 else "start"
    return f"{starting} of {size} elements {verb}, the others wait. The first:"
