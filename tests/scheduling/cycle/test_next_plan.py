"""Pages and commands announce what the next cycle does, in random worlds."""

import json
from collections import Counter
from datetime import UTC, datetime
from io import StringIO
from typing import Any, NamedTuple

import pytest
import time_machine
from django.core.management import call_command
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from clusters.places import Places
from deployments.choices import ACTIVE, Status
from deployments.runtime.models import Run
from orgs.models import Role
from scheduling.cycle.run import run_cycle
from scheduling.insight.explain import explain
from scheduling.insight.organization_queue import Filters, Group
from scheduling.insight.queue import Queue
from scheduling.models import SchedulingCycle
from scheduling.planner.compare import KINDS, Kind
from tests.fixtures.people import ClientFor
from tests.support.factories import MembershipFactory
from tests.support.organization_world import World

pytestmark = pytest.mark.django_db

_WORLDS = 4
_CYCLES = 14
_TRIES = 4
"""How many changes are tried until one has consequences."""


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


def explained_victims(world: World) -> set[Step]:
    """Return what the next cycle does to others, as the explanations of their preemptors say."""
    found = {pending.pk: explain(pending) for pending in world.organization.deployments.pending()}
    evictions = {
        Step(row["deployment"], row["node"], None, pk)
        for pk, explained in found.items()
        for row in explained.evictions
    }
    return evictions | {
        Step(row["deployment"], row["node"], row["target_node"], pk)
        for pk, explained in found.items()
        for row in explained.moves
    }


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
    victims = explained_victims(world)
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
    assert victims == {step for step in planned if step.for_}
    return record


def random_call(world: World) -> tuple[str, str, dict[str, object]]:
    """Return the method, the path and the body of a change that may be refused."""
    choose = world.random.choice
    deployment = f"/deployments/{choose(world.organization.deployments.live()).pk}"
    pinned = choose(world.organization.clusters.all())
    cluster = f"/clusters/{pinned.pk}"
    node = f"{cluster}/nodes/{choose(pinned.nodes.all()).pk}"
    states, new = ("cordon", "uncordon", "drain"), {"cpu": 8, "ram_mib": 16384}
    job = {"name": "new", "image": "busybox", "cpu": 8, "ram_mib": 1024, "priority": 60}
    verb, ending = choose(("stop", "cancel", "start", "checkpoint")), choose(("stop", "cancel"))
    calls: tuple[tuple[str, str, dict[str, object]], ...] = (
        ("patch", deployment, {"priority": choose([5, 40, 60, 95])}),
        ("patch", deployment, {"cpu": choose([1, 4, 8]), "requested_cluster": pinned.pk}),
        ("post", f"{deployment}/{choose(('hold', 'release'))}", {}),
        ("post", f"{deployment}/{verb}", {}),
        ("delete", deployment, {}),
        ("post", f"/deployments/{ending}?priority_max={choose([10, 30, 50])}", {}),
        ("post", "/deployments/bulk", {"deployments": [job]}),
        ("patch", cluster, {"cpu": choose([8, 16, 24])}),
        ("post", f"{cluster}/{choose(states)}", {}),
        ("post", f"{node}/{choose(states)}", {}),
        ("post", f"{cluster}/nodes", {"name": f"n{choose(range(9))}", **new}),
    )
    return choose(calls)


def carried_out(api: APIClient, method: str, path: str, body: dict[str, object]) -> Any:
    return getattr(api, method)(path, body) if body else getattr(api, method)(path)


def test_the_next_cycle_does_what_the_dry_run_of_a_change_shows(
    alice: User, bob: User, client_for: ClientFor
) -> None:
    kinds: Counter[str] = Counter()
    api = client_for(alice)
    for seed in range(_WORLDS - 2):
        with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as clock:
            world = World(bob, seed)
            MembershipFactory(organization=world.organization, user=alice, role=Role.ADMIN)
            for _ in range(_CYCLES):
                clock.shift(world.random.choice([5, 90, 700]))
                world.act()
                kinds.update(tried_and_done(world, api))
    # Moves are rare, and only an operator lets a deployment restart where it is.
    assert set(KINDS) - set(kinds) <= {Kind.MOVES, Kind.RESTARTS}, kinds


def place(row: Row | None) -> int | None:
    return row.node if row and row.status in ACTIVE else None


def new_ids(response: Any) -> list[int]:
    """Return the ids of the rows that a call creates, which differ after a dry run."""
    if response.status_code == 204:
        return []
    answer = response.json()
    created = answer.get("deployments", [answer])
    return [each["id"] for each in created if isinstance(each, dict) and "id" in each]


def tried_and_done(world: World, api: APIClient) -> list[str]:
    """Try a random change, make it and run a cycle; check that all was shown. Return the kinds."""
    before = rows(world)
    anyway = {step.deployment: step.to for step in planned_steps(world)}
    for _ in range(_TRIES):
        method, path, body = random_call(world)
        tried = carried_out(api, method, f"{path}{'&' if '?' in path else '?'}dry_run=true", body)
        if tried.status_code == 200 and tried.json()["preview"]["count"]:
            break

    done = carried_out(api, method, path, body)
    record = run_cycle(world.organization.pk, SchedulingCycle.Trigger.CHANGE)

    assert record is not None
    if done.status_code >= 400:
        assert (tried.status_code, tried.content) == (done.status_code, done.content)
        return []
    after = rows(world)
    preview = tried.json()["preview"]
    real = dict(zip(new_ids(tried), new_ids(done), strict=True))
    shown = {row["deployment"]: row for row in preview["consequences"]}
    assert preview["count"] == len(shown)
    for pk in before:
        was, now = place(before[pk]), place(after.get(pk))
        if pk not in shown:
            assert now == anyway.get(pk, was), (method, path, body, pk)
            continue
        row = shown[pk]
        target = real.get(row["target_node"], row["target_node"])
        assert (row["source_node"], target) == (was, now), (path, body, row)
        if row["kind"] == "waits":
            assert after[pk].code == row["code"], (path, body, row)
    preemptors = {
        pk: real.get(row["preemptor"], row["preemptor"])
        for pk, row in shown.items()
        if row["preemptor"]
    }
    lost = Run.objects.filter(deployment__in=preemptors, released_at=record.started_at)
    assert dict(lost.values_list("deployment", "preempted_by")) == preemptors
    return [row["kind"] for row in shown.values()]
