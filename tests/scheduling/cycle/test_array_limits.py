"""Of an array with a limit, never more elements are active than it allows."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone

from accounts.models import User
from clusters.models import Cluster
from deployments import services
from deployments.arrays.elements import ArraySpec
from deployments.bulk import Entry, submit_many
from deployments.choices import ACTIVE, Status
from deployments.models import Array, Deployment
from deployments.specs import Spec
from orgs.models import Organization
from scheduling.cycle.run import run_cycle
from scheduling.cycle.snapshot import load
from scheduling.insight.explain import explain
from scheduling.insight.organization_queue import Filters, Group
from scheduling.insight.queue import Queue
from scheduling.insight.verify import violations
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Submit
from tests.support.organization_world import World

pytestmark = pytest.mark.django_db

_WORLDS = 2
_CYCLES = 10


def submit_array(
    user: User, organization: Organization, size: int, at_once: int | None, **fields: object
) -> list[Deployment]:
    given = {"name": "sweep", "image": "busybox", "cpu_milli": 1000, "ram_mib": 1024, **fields}
    spec = Spec(**given)  # type: ignore[arg-type]
    entry = Entry(organization, spec, array=ArraySpec(size, at_once))
    (first,) = submit_many(created_by=user, entries=[entry])
    return list(Deployment.objects.filter(array=first.array_id).order_by("array_index"))


def cycle(organization: Organization) -> None:
    assert run_cycle(organization.pk, SchedulingCycle.Trigger.CHANGE)


def active(rows: list[Deployment]) -> list[int | None]:
    found = Deployment.objects.filter(pk__in=[row.pk for row in rows], status__in=ACTIVE)
    return list(found.order_by("array_index").values_list("array_index", flat=True))


def codes(rows: list[Deployment]) -> list[str]:
    found = Deployment.objects.in_bulk([row.pk for row in rows])
    return [found[row.pk].status_code for row in rows]


def test_the_next_element_starts_when_one_has_ended(
    acme: Organization, bob: User, forge: Cluster
) -> None:
    rows = submit_array(bob, acme, size=5, at_once=2)

    cycle(acme)
    assert active(rows) == [0, 1]
    assert codes(rows)[2:] == ["array_limit"] * 3
    cycle(acme)
    assert active(rows) == [0, 1]
    services.stop(rows[0], actor="bob")
    cycle(acme)
    assert active(rows) == [1, 2]


def test_an_array_without_a_limit_takes_what_is_free(
    acme: Organization, bob: User, forge: Cluster
) -> None:
    rows = submit_array(bob, acme, size=9, at_once=None)

    cycle(acme)

    assert active(rows) == list(range(8))


def test_an_evicted_element_comes_back_before_later_ones(
    acme: Organization, bob: User, forge: Cluster, submit: Submit
) -> None:
    rows = submit_array(bob, acme, size=4, at_once=2, cpu_milli=4000)
    cycle(acme)
    urgent = submit(cpu_milli=4000, priority=90)

    cycle(acme)
    (survivor,) = active(rows)
    evicted = 1 - (survivor or 0)
    assert codes(rows)[evicted] in ("preempted", "backoff", "no_free_capacity")
    assert codes(rows)[2:] == ["array_limit"] * 2

    services.stop(urgent, actor="bob")
    cycle(acme)
    assert active(rows) == [0, 1]


def test_a_held_element_lets_the_next_one_go_first(
    acme: Organization, bob: User, forge: Cluster
) -> None:
    rows = submit_array(bob, acme, size=3, at_once=1)
    services.hold(rows[0], actor="olga")
    services.adjust(rows[2], actor="olga", priority=60)

    cycle(acme)

    assert active(rows) == [2]


def test_the_limit_is_what_the_pages_and_explain_say(
    acme: Organization, bob: User, forge: Cluster
) -> None:
    rows = submit_array(bob, acme, size=3, at_once=1)
    last = rows[2]

    explained = explain(last)

    assert explained.code == "array_limit"
    assert explained.reason == (
        "Its array runs at most one element at once: waits until another one has ended."
    )
    queue = Queue(Filters(organization=acme.pk), timezone.now())
    assert [each.deployment.pk for each in queue.entries(Group.ARRAY, 0, 10)] == [
        rows[1].pk, last.pk,
    ]  # fmt: skip
    assert [each.deployment.pk for each in queue.entries(Group.COMPETING, 0, 10)] == [rows[0].pk]


def test_the_wait_of_an_element_begins_when_it_may_compete(
    acme: Organization, bob: User, forge: Cluster, submit: Submit
) -> None:
    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as clock:
        rows = submit_array(bob, acme, size=2, at_once=1)
        cycle(acme)
        clock.shift(timedelta(hours=5))
        services.stop(rows[0], actor="bob")
        submit(cpu_milli=8000, priority=90)
        cycle(acme)
        began = timezone.now()
        clock.shift(60)

        (element,) = [
            d for d in load(acme.pk, lock=False).snapshot.deployments if d.cluster is None
        ]

        assert element.id == rows[1].pk
        assert element.waits_since == int(began.timestamp())
        assert codes(rows)[1] == "no_free_capacity"


def test_never_more_than_the_limit_are_active_whatever_happens(bob: User) -> None:
    seen: Counter[str] = Counter()
    for seed in range(_WORLDS):
        with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as clock:
            world = World(bob, seed)
            for at_once in (1, 2, 3):
                submit_array(bob, world.organization, 5, at_once, cpu_milli=4000, priority=30)
            for _ in range(_CYCLES):
                clock.shift(world.random.choice([5, 90, 700]))
                world.act_in_all_ways()
                end_some_element(world)
                seen.update(checked_cycle(world))
    # The times of the database are those of the real clock.
    found = [each for each in violations() if not each.startswith("time in the future")]
    assert found == []
    assert seen["starting"] >= _CYCLES
    assert seen["array_limit"] > _CYCLES
    assert len(seen) >= 3, seen


def end_some_element(world: World) -> None:
    placed = world.organization.deployments.filter(status__in=ACTIVE).exclude(array=None)
    if rows := list(placed.order_by("pk")):
        services.stop(world.random.choice(rows), actor="bob")


def checked_cycle(world: World) -> list[str]:
    """Run a cycle as it was announced; return what came of the pending elements."""
    pending = world.organization.deployments.pending().exclude(array=None)
    announced = {row.pk: explain(row).code for row in pending}

    cycle(world.organization)

    for array in Array.objects.filter(organization=world.organization):
        count = array.elements.filter(status__in=ACTIVE).count()
        assert count <= (array.at_once or array.size), array
    rows = Deployment.objects.in_bulk(announced)
    for pk, code in announced.items():
        placed = rows[pk].status != Status.PENDING
        assert placed == (code == "next_cycle"), (pk, code, rows[pk].status_code)
        assert placed or rows[pk].status_code == code
    return [
        row.status if row.status != Status.PENDING else row.status_code for row in rows.values()
    ]


def test_an_element_beyond_the_limit_knows_what_is_before_it_in_its_array(
    acme: Organization, bob: User, forge: Cluster, submit: Submit
) -> None:
    submit_array(bob, acme, size=3, at_once=1)
    rows = submit_array(bob, acme, size=12, at_once=2)
    cycle(acme)
    services.stop(rows[0], actor="bob")
    services.hold(rows[3], actor="alice")

    explained = explain(Deployment.objects.get(pk=rows[10].pk))

    assert (explained.code, explained.position) == ("array_limit", None)
    assert explained.ahead is not None
    assert explained.ahead.count == 7
    assert [each["deployment"] for each in explained.ahead.first] == [
        rows[at].pk for at in (2, 4, 5, 6, 7)
    ]
    assert explained.waits_for == [
        "Its array runs at most 2 elements at once: waits until another one has ended.",
        "Of its array, 1 is active and 7 pending ones are before it.",
    ]
