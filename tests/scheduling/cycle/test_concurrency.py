"""Concurrent requests, operator actions and cycles, in real threads on a real PostgreSQL."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Event
from typing import Any

import pytest
from django.db import connection

from accounts.models import User
from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.models import DIMENSIONS, Cluster
from deployments import services
from deployments.choices import Status
from deployments.dependencies import Wait
from deployments.models import Deployment
from deployments.moves import move
from deployments.runtime.models import Run
from deployments.specs import Spec
from hypervisor.base.errors import DomainError
from orgs.models import Organization
from scheduling.cycle import next_plan as next_plan_module
from scheduling.cycle.run import run_cycle
from scheduling.insight.operator_actions import ACTIONS, Change, Needs
from scheduling.insight.preview import carry_out, preview
from scheduling.insight.verify import violations
from scheduling.models import SchedulingCycle
from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Plan
from scheduling.planner.shortlist import Backlog
from scheduling.planner.snapshot import Snapshot
from tests.fixtures.deployments import Submit
from tests.support.docker_engine import wait_until
from tests.support.preemption import preempt_in_vain
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db(transaction=True)

CHANGE = SchedulingCycle.Trigger.CHANGE


def in_thread(work: Callable[[], None]) -> Callable[[], None]:
    """Return the work with its own database connection, which is closed at its end."""

    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    return run


@contextmanager
def background(*loops: Callable[[], Any]) -> Iterator[None]:
    """Repeat each function in a thread until the block ends; raise the exception of any of them."""
    ended = Event()

    def repeat(work: Callable[[], Any]) -> Callable[[], None]:
        def loop() -> None:
            while not ended.is_set():
                work()

        return in_thread(loop)

    with ThreadPoolExecutor(len(loops)) as pool:
        futures = [pool.submit(repeat(work)) for work in loops]
        try:
            yield
        finally:
            ended.set()
        for future in futures:
            future.result()


def assert_not_oversubscribed() -> None:
    for cluster in Cluster.objects.with_allocated():
        for name in DIMENSIONS:
            assert getattr(cluster, f"allocated_{name}") <= getattr(cluster, name)


def settle(organization: Organization) -> None:
    """Run cycles and reconcile until there is nothing left to do."""
    for _ in range(20):
        cycle = run_cycle(organization.pk, CHANGE)
        for cluster in organization.clusters.all():
            reconcile(cluster.pk)
        moving = Deployment.objects.filter(status__in=(Status.STARTING, Status.STOPPING))
        if cycle and not (cycle.placed or cycle.evicted or cycle.moved or moving.exists()):
            return
    pytest.fail("The cycles do not converge.")


def test_concurrent_submissions_stops_and_cycles_are_consistent(
    acme: Organization, bob: User
) -> None:
    clusters = [
        cluster_services.create(
            actor="alice", organization=acme, name=f"c{n}", capacity=Capacity(16000, 32768, 4)
        )
        for n in range(3)
    ]

    def submitter(seed: int) -> Callable[[], None]:
        def submit_many() -> None:
            dice = random.Random(seed)
            for n in range(25):
                spec = Spec(
                    name=f"job-{seed}-{n}",
                    image="busybox",
                    cpu_milli=dice.randrange(500, 9000, 500),
                    ram_mib=dice.randrange(256, 16384, 256),
                    gpu=dice.choice((0, 0, 1, 2)),
                    priority=dice.choice((10, 50, 90)),
                )
                services.submit(created_by=bob, organization=acme, spec=spec)

        return in_thread(submit_many)

    def stopper() -> None:
        dice = random.Random(99)
        ids = list(Deployment.objects.values_list("pk", flat=True))
        if ids:
            deployment = Deployment.objects.get(pk=dice.choice(ids))
            verb = dice.choice((services.stop, services.cancel, services.start, services.hold,
                                services.release, services.preempt, move))  # fmt: skip
            with suppress(DomainError):
                verb(deployment, actor="bob")

    loops: list[Callable[[], Any]] = [
        lambda: run_cycle(acme.pk, CHANGE),
        lambda: run_cycle(acme.pk, SchedulingCycle.Trigger.INTERVAL),
        *[lambda pk=c.pk: reconcile(pk) for c in clusters],
        stopper,
        assert_not_oversubscribed,
    ]
    with background(*loops), ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda submit_many: submit_many(), [submitter(seed) for seed in range(4)]))
    Deployment.objects.filter(held=True).update(held=False)
    Deployment.objects.filter(status=Status.PENDING).update(ready_after=None)

    settle(acme)

    assert Deployment.objects.count() == 100
    assert not list(violations())
    assert_not_oversubscribed()
    assert Run.objects.unfinished().count() == Deployment.objects.active().count()


def test_nothing_is_placed_or_evicted_for_a_deployment_that_is_cancelled_during_planning(
    acme: Organization, forge: Cluster, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = submit(cpu_milli=8000, priority=10)
    run_cycle(acme.pk, CHANGE)
    preemptor = submit(cpu_milli=8000, priority=90)
    snapshots: list[Snapshot] = []

    def plan_during_a_cancellation(snapshot: Snapshot, backlog: Backlog) -> Plan:
        if not snapshots:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(in_thread(lambda: _cancel(preemptor))).result()
        snapshots.append(snapshot)
        return make_plan(snapshot, backlog)

    monkeypatch.setattr(next_plan_module, "make_plan", plan_during_a_cancellation)

    record = run_cycle(acme.pk, CHANGE)

    victim.refresh_from_db()
    preemptor.refresh_from_db()
    assert (victim.status, preemptor.status) == (Status.STARTING, Status.CANCELLED)
    assert record is not None
    assert record.evicted == 0
    assert len(snapshots) == 2


def test_preemption_is_not_suspended_for_a_deployment_that_is_cancelled_during_planning(
    acme: Organization, forge: Cluster, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(cpu_milli=8000, priority=10)
    run_cycle(acme.pk, CHANGE)
    preemptor = submit(cpu_milli=8000, priority=50)
    run_cycle(acme.pk, CHANGE)
    preempt_in_vain(preemptor)
    plans: list[Plan] = []

    def plan_during_a_cancellation(snapshot: Snapshot, backlog: Backlog) -> Plan:
        plans.append(make_plan(snapshot, backlog))
        if len(plans) == 1:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(in_thread(lambda: _cancel(preemptor))).result()
        return plans[-1]

    monkeypatch.setattr(next_plan_module, "make_plan", plan_during_a_cancellation)

    record = run_cycle(acme.pk, CHANGE)

    preemptor.refresh_from_db()
    assert record is not None
    assert [len(plan.suspensions) for plan in plans] == [1, 0]
    assert (record.suspended, preemptor.suspended_until) == (0, None)
    assert preemptor.status == Status.CANCELLED


def _cancel(deployment: Deployment) -> None:
    services.cancel(deployment, actor="bob")


def test_concurrent_cycles_place_each_deployment_once(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    for _ in range(8):
        submit()

    with ThreadPoolExecutor(4) as pool:
        placed = list(pool.map(lambda _: _own_cycle(acme), range(4)))

    assert sum(placed) == 8
    assert Run.objects.count() == 8


def _own_cycle(organization: Organization) -> int:
    """Run a cycle; return how many deployments it placed, 0 if another cycle was running."""
    try:
        cycle = run_cycle(organization.pk, CHANGE)
        return cycle.placed if cycle else 0
    finally:
        connection.close()


def test_a_cluster_cannot_shrink_below_what_a_concurrent_cycle_places(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    submit(cpu_milli=8000)

    def shrink() -> None:
        # It is refused if the cycle was first.
        with suppress(DomainError):
            cluster_services.update(
                forge, actor="alice", name="forge", capacity=Capacity(1000, 16384, 2)
            )

    with ThreadPoolExecutor(2) as pool:
        futures: list[Future[Any]] = [
            pool.submit(in_thread(shrink)),
            pool.submit(_own_cycle, acme),
        ]
        for future in futures:
            future.result()

    assert_not_oversubscribed()


def test_concurrent_previews_and_operator_actions_are_consistent(
    acme: Organization, bob: User
) -> None:
    clusters = [
        cluster_services.create(
            actor="alice", organization=acme, name=f"c{n}", capacity=Capacity(8000, 8192, 2)
        )
        for n in range(2)
    ]
    made: Counter[bool] = Counter()

    def submitter() -> None:
        dice = random.Random(1)
        for n in range(40):
            earlier = list(Deployment.objects.pending().values_list("pk", flat=True))
            waits = (Wait(dice.choice(earlier)),) if earlier and dice.random() < 0.2 else ()
            spec = Spec(
                name=f"job-{n}",
                image="busybox",
                cpu_milli=dice.randrange(1000, 5000, 500),
                ram_mib=512,
                gpu=dice.choice((0, 1)),
                priority=dice.choice((10, 50, 90)),
                depends_on=waits,
            )
            services.submit(created_by=bob, organization=acme, spec=spec)

    def operator(seed: int) -> Callable[[], None]:
        dice = random.Random(seed)

        def operate() -> None:
            action = dice.choice([a for a in ACTIONS.values() if a.needs != Needs.CAPACITY])
            ids = list(action.model._default_manager.values_list("pk", flat=True))
            if not ids:
                return
            options: dict[str, Any] = {}
            if action.needs == Needs.PRIORITY:
                options = {"priority": dice.randint(1, 100)}
            elif action.needs == Needs.TARGET:
                options = {"target": dice.choice([None, *clusters])}
            chosen = tuple(dice.sample(ids, min(len(ids), dice.randint(1, 5))))
            change = Change(action, chosen, "olga", options)
            done, _ = carry_out(change, shown=preview(change).fingerprint)
            made[done] += 1

        return operate

    loops: list[Callable[[], Any]] = [
        lambda: run_cycle(acme.pk, CHANGE),
        *[lambda pk=c.pk: reconcile(pk) for c in clusters],
        operator(1),
        operator(2),
        assert_not_oversubscribed,
    ]
    with background(*loops), ThreadPoolExecutor(1) as pool:
        pool.submit(in_thread(submitter)).result()
        wait_until(lambda: made[True], "a change is carried out as it was shown", 60)
    for cluster in clusters:
        cluster_services.uncordon(cluster, actor="olga")
    Deployment.objects.filter(held=True).update(held=False)
    Deployment.objects.filter(status=Status.PENDING).update(ready_after=None)

    settle(acme)

    assert not list(violations())


def test_changes_while_containers_stop_leave_no_deployment_behind(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    stopped = [submit(cpu_milli=500, ram_mib=64) for _ in range(12)]
    run_cycle(acme.pk, CHANGE)
    reconcile(forge.pk)
    dice = random.Random(1)

    def change_one() -> None:
        row = Deployment.objects.get(pk=dice.choice(stopped).pk)
        with suppress(DomainError):
            services.adjust(
                row, actor="bob", priority=dice.randint(1, 100), name=f"j{dice.random()}"
            )

    with background(change_one, change_one, lambda: reconcile(forge.pk)):
        for deployment in stopped:
            services.stop(deployment, actor="bob")

    reconcile(forge.pk)
    rows = Deployment.objects.filter(pk__in=[deployment.pk for deployment in stopped])
    assert {row.status for row in rows} == {Status.STOPPED}
    assert list(violations()) == []
