"""When preemption is suspended for a deployment (rule 10), and what lifts the suspension."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
import time_machine

from clusters.models import Cluster
from deployments import services
from deployments.choices import Status
from deployments.models import Deployment
from orgs.models import Event
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Submit
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as clock:
        yield clock


class World:
    """One cluster that has capacity for one deployment at a time."""

    def __init__(self, forge: Cluster, submit: Submit, clock: time_machine.Traveller) -> None:
        self.forge, self._submit, self.clock = forge, submit, clock

    def submit(self, priority: int, image: str = "busybox") -> Deployment:
        return self._submit(cpu_milli=8000, priority=priority, image=image)

    def plan(self) -> SchedulingCycle:
        self.clock.shift(1)
        cycle = run_cycle(self.forge.organization_id, SchedulingCycle.Trigger.CHANGE)
        assert cycle is not None
        return cycle

    def follow(self) -> None:
        """Let the containers follow: the victims' end, then the preemptors' start."""
        for _ in range(2):
            self.clock.shift(1)
            reconcile(self.forge.pk)

    def run(self, priority: int) -> Deployment:
        """Submit a deployment, and wait until it runs."""
        deployment = self.submit(priority)
        self.settle()
        assert status(deployment) == Status.RUNNING
        return deployment

    def settle(self) -> None:
        self.plan()
        self.follow()

    def interrupt(self, priority: int) -> None:
        """Have a deployment run for a moment in place of the others."""
        services.stop(self.run(priority), actor="bob")
        self.follow()


@pytest.fixture
def world(forge: Cluster, submit: Submit, clock: time_machine.Traveller) -> World:
    return World(forge, submit, clock)


def status(deployment: Deployment) -> str:
    deployment.refresh_from_db()
    return deployment.status


def preempt_before_it_starts(world: World) -> tuple[Deployment, Deployment]:
    """Return a victim that runs again, and its preemptor, which never started and competes."""
    victim = world.run(10)
    preemptor = world.submit(50)
    world.plan()
    services.preempt(preemptor, actor="olga")
    world.settle()
    world.clock.shift(60)
    assert status(victim) == Status.RUNNING
    return victim, preemptor


def test_preemption_is_not_suspended_for_a_deployment_that_ran_after_each_eviction(
    world: World,
) -> None:
    low, middle = world.run(50), world.run(60)
    world.interrupt(90)
    world.settle()
    assert status(middle) == Status.RUNNING
    world.interrupt(90)
    world.settle()
    assert (status(low), status(middle)) == (Status.RUNNING, Status.PENDING)
    world.clock.shift(60)

    world.settle()

    assert (status(low), status(middle)) == (Status.PENDING, Status.RUNNING)


def test_changes_of_priority_that_swap_two_deployments_suspend_nothing(world: World) -> None:
    one = world.run(50)
    other = world.submit(50)
    world.settle()
    for deployment, priority in ((other, 60), (one, 70), (one, 10)):
        services.adjust(deployment, actor="olga", priority=priority)
        world.settle()

    assert (status(one), status(other)) == (Status.PENDING, Status.RUNNING)


def test_preemption_is_suspended_if_the_first_eviction_was_in_vain(world: World) -> None:
    victim, preemptor = preempt_before_it_starts(world)

    cycle = world.plan()

    assert (status(victim), status(preemptor)) == (Status.RUNNING, Status.PENDING)
    assert (cycle.suspended, preemptor.status_code) == (1, "preemption_suspended")
    event = Event.objects.get(subject_id=preemptor.pk, kind="preemption_suspended")
    assert f"deployment {victim.pk} would be evicted for it a second time" in event.reason


def change_priority(deployment: Deployment) -> None:
    services.adjust(deployment, actor="olga", priority=51)


def hold_and_release(deployment: Deployment) -> None:
    services.hold(deployment, actor="olga")
    services.release(deployment, actor="olga")


@pytest.mark.parametrize("lift", [change_priority, hold_and_release])
def test_a_user_lifts_a_suspension_and_the_count_starts_again(
    world: World, lift: Callable[[Deployment], None]
) -> None:
    victim, preemptor = preempt_before_it_starts(world)
    world.plan()
    world.clock.shift(60)

    lift(preemptor)
    cycle = world.plan()

    assert (cycle.evicted, cycle.suspended) == (1, 0)
    assert status(preemptor) == Status.STARTING
    world.clock.shift(20)
    services.preempt(preemptor, actor="olga")
    world.clock.shift(45)
    world.settle()
    assert status(victim) == Status.RUNNING
    world.clock.shift(60)
    assert world.plan().suspended == 1


@pytest.mark.parametrize("lift", [change_priority, hold_and_release])
def test_a_user_lifts_the_suspension_of_a_deployment_that_ended_without_a_start(
    world: World, lift: Callable[[Deployment], None]
) -> None:
    world.run(10)
    broken = world.submit(50, image="simulated/missing")
    world.settle()
    assert status(broken) == Status.FAILED
    world.settle()
    services.start(broken, actor="bob")
    assert world.plan().suspended == 1

    lift(broken)

    assert world.plan().evicted == 1


def test_a_change_of_another_field_lifts_no_suspension(world: World) -> None:
    _, preemptor = preempt_before_it_starts(world)
    world.plan()

    services.adjust(preemptor, actor="olga", name="renamed")

    assert world.plan().evicted == 0


def test_a_failure_before_the_start_counts_only_if_others_were_evicted_for_that_run(
    world: World,
) -> None:
    victim = world.run(10)
    preemptor = world.run(50)
    services.cancel(victim, actor="bob")
    services.stop(preemptor, actor="bob")
    world.follow()
    Deployment.objects.filter(pk=preemptor.pk).update(image="simulated/missing")
    services.start(preemptor, actor="bob")
    world.settle()
    assert status(preemptor) == Status.FAILED
    world.run(10)
    services.start(preemptor, actor="bob")

    cycle = world.plan()

    assert (cycle.evicted, cycle.suspended) == (1, 0)


def test_with_preemption_suspended_a_deployment_takes_free_capacity_before_a_lower_one(
    world: World,
) -> None:
    victim, preemptor = preempt_before_it_starts(world)
    world.plan()
    lower = world.submit(20)
    services.stop(victim, actor="bob")

    world.settle()

    assert (status(preemptor), status(lower)) == (Status.RUNNING, Status.PENDING)
