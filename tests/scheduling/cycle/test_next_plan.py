"""Pages and commands announce what the next cycle does, in random worlds."""

import json
from datetime import UTC, datetime
from io import StringIO
from typing import NamedTuple

import pytest
import time_machine
from django.core.management import call_command
from django.utils import timezone

from accounts.models import User
from clusters.places import Places
from deployments.models import Run, Status
from scheduling.cycle.run import run_cycle
from scheduling.insight.explain import explain
from scheduling.insight.queue import Filters, Group, Queue
from scheduling.models import SchedulingCycle
from tests.support.organization_world import World

pytestmark = pytest.mark.django_db

_WORLDS = 6
_CYCLES = 14


class Result(NamedTuple):
    """What a cycle decides about a pending deployment: its node, or the code of its wait."""

    node: int | None = None
    code: str = ""


class Step(NamedTuple):
    """A change of a deployment's node, None for no node; `for_` is the preemptor."""

    deployment: int
    from_: int | None
    to: int | None
    for_: int | None = None


def explained_results(world: World) -> dict[int, Result]:
    nodes = [(node.cluster_id, node.pk) for c in world.clusters for node in c.nodes.all()]
    places = Places.named(nodes)
    ids = {places.name(*at): at[1] for at in nodes}
    results = {}
    for deployment in world.organization.deployments.pending():
        explained = explain(deployment)
        if explained.code == "next_cycle":
            name = explained.reason.removeprefix("The next cycle places it on ").removesuffix(".")
            results[deployment.pk] = Result(ids[name])
        else:
            results[deployment.pk] = Result(code=explained.code)
    return results


def queued_codes(world: World) -> dict[int, str]:
    queue = Queue(Filters(organization=world.organization.pk), timezone.now())
    return {e.deployment.pk: e.code for e in queue.entries(Group.COMPETING, 0, 1000)}


def planned_steps(world: World) -> set[Step]:
    out = StringIO()
    call_command(
        "schedule", "--dry-run", "--json", organization=str(world.organization.pk), stdout=out
    )
    (plan,) = json.loads(out.getvalue())
    steps = {Step(e["deployment"], e["node"], None, e["for"]) for e in plan["evictions"]}
    steps |= {Step(m["deployment"], m["from_node"], m["to_node"], m["for"]) for m in plan["moves"]}
    steps |= {Step(p["deployment"], None, p["node"]) for p in plan["placements"]}
    return steps


class Row(NamedTuple):
    status: str
    node: int | None
    code: str


def rows(world: World) -> dict[int, Row]:
    columns = ("pk", "status", "node", "status_code")
    deployments = world.organization.deployments.values_list(*columns)
    return {pk: Row(status, node, code) for pk, status, node, code in deployments}


def steps(before: dict[int, Row], after: dict[int, Row], cycle: SchedulingCycle) -> set[Step]:
    lost = Run.objects.filter(deployment__in=before, released_at=cycle.started_at)
    preemptors = dict(lost.values_list("deployment", "preempted_by"))
    return {
        Step(pk, was.node, after[pk].node, preemptors.get(pk))
        for pk, was in before.items()
        if was.node != after[pk].node
    }


def test_the_next_cycle_does_what_was_announced(bob: User) -> None:
    suspended = evicted = 0
    for seed in range(_WORLDS):
        with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as clock:
            world = World(bob, seed)
            for _ in range(_CYCLES):
                clock.shift(world.random.choice([5, 90, 700]))
                world.act()
                record = announced_and_done(world)
                suspended += record.suspended
                evicted += record.evicted
    assert suspended >= 3
    assert evicted >= _WORLDS


def announced_and_done(world: World) -> SchedulingCycle:
    """Run a cycle, and check that it does what was announced before."""
    before = rows(world)
    explained, queued = explained_results(world), queued_codes(world)
    planned = planned_steps(world)

    record = run_cycle(world.organization.pk, SchedulingCycle.Trigger.CHANGE)

    assert record is not None
    after = rows(world)
    waiting = [pk for pk, row in before.items() if row.status == Status.PENDING]
    results = {
        pk: Result(after[pk].node) if after[pk].node else Result(code=after[pk].code)
        for pk in waiting
    }
    assert explained == results
    assert queued == {pk: results[pk].code or "next_cycle" for pk in queued}
    assert planned == steps(before, after, record)
    return record
