from datetime import timedelta

import pytest
import time_machine
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from clusters import services as cluster_services
from clusters.models import Cluster
from clusters.services import Capacity
from deployments import services
from deployments.models import Deployment, Run, Status
from deployments.runtime.reconcile import reconcile
from deployments.specs import Spec
from orgs.models import Event, Organization
from scheduling.cycle.run import run_cycle
from scheduling.cycle.snapshot import load
from scheduling.insight.verify import violations
from scheduling.models import SchedulingCycle
from scheduling.planner.policy import Policy
from scheduling.tasks import run_due_cycles
from tests.fixtures.deployments import Submit

pytestmark = pytest.mark.django_db

CHANGE = SchedulingCycle.Trigger.CHANGE


def cycle(organization: Organization) -> SchedulingCycle:
    done = run_cycle(organization.pk, CHANGE)
    assert done is not None
    return done


def statuses(*deployments: Deployment) -> list[str]:
    for deployment in deployments:
        deployment.refresh_from_db()
    return [deployment.status for deployment in deployments]


def another_cluster(organization: Organization, name: str, cpu_milli: int = 8000) -> Cluster:
    return cluster_services.create(
        actor="alice", organization=organization, name=name,
        capacity=Capacity(cpu_milli, 16384, 2),
    )  # fmt: skip


def test_what_fits_is_placed(acme: Organization, forge: Cluster, submit: Submit) -> None:
    deployment = submit()

    record = cycle(acme)

    assert statuses(deployment) == [Status.STARTING]
    assert deployment.cluster == forge
    assert (record.ready, record.placed, record.left_pending) == (1, 1, 0)


def test_what_does_not_fit_waits_however_long_the_cluster_stays_full(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    holder, waiting = submit(cpu_milli=8000), submit(cpu_milli=8000)
    queued_at = waiting.queued_at

    for _ in range(20):
        cycle(acme)

    assert sorted(statuses(holder, waiting)) == [Status.PENDING, Status.STARTING]
    waits = Deployment.objects.pending().get()
    assert waits.queued_at in (queued_at, holder.queued_at)
    assert "CPU" in waits.status_reason


def test_the_reason_is_written_once_and_is_no_event(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    submit(cpu_milli=8000)
    cycle(acme)
    waiting = submit(cpu_milli=8000)
    cycle(acme)
    waiting.refresh_from_db()
    before = (waiting.revision, waiting.status_reason, Event.objects.count())

    cycle(acme)

    waiting.refresh_from_db()
    assert (waiting.revision, waiting.status_reason, Event.objects.count()) == before


def test_what_matters_more_takes_the_room_of_what_matters_less(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    victim = submit(cpu_milli=8000, priority=10)
    cycle(acme)
    preemptor = submit(cpu_milli=8000, priority=90)

    cycle(acme)

    assert statuses(victim, preemptor) == [Status.PENDING, Status.STARTING]
    run = Run.objects.get(deployment=victim)
    assert (run.outcome, run.preempted_by) == (Run.Outcome.EVICTED, preemptor)
    assert victim.preemptions == 1
    event = Event.objects.get(subject_id=victim.pk, kind="evicted")
    assert event.data["for"] == preemptor.pk


def test_what_was_moved_aside_comes_back_by_itself_with_its_first_queue_time(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    victim = submit(cpu_milli=8000, priority=10)
    queued_at = victim.queued_at
    cycle(acme)
    preemptor = submit(cpu_milli=8000, priority=90)
    cycle(acme)
    services.stop(preemptor, actor="bob")

    cycle(acme)

    assert statuses(victim) == [Status.STARTING]
    assert victim.queued_at == queued_at


def test_an_eviction_ends_what_a_victim_had_waited_before(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    with time_machine.travel(timezone.now() - timedelta(hours=5), tick=False):
        victim = submit(cpu_milli=8000, priority=10)
        cycle(acme)
    submit(cpu_milli=8000, priority=90)
    cycle(acme)

    snapshot = load(acme.pk, lock=False).snapshot

    row = next(d for d in snapshot.deployments if d.id == victim.pk)
    assert row.queued_at == int(victim.queued_at.timestamp())
    released_at = Run.objects.get(deployment=victim).released_at
    assert released_at is not None
    assert row.ready_since == int(released_at.timestamp())
    assert row.recent_preemptions == 1


def test_an_eviction_counts_for_as_long_as_the_policy_says(
    acme: Organization, forge: Cluster, submit: Submit, settings: Settings
) -> None:
    with time_machine.travel(timezone.now() - timedelta(hours=5), tick=False):
        submit(cpu_milli=8000, priority=10)
        cycle(acme)
        submit(cpu_milli=8000, priority=90)
        cycle(acme)

    def evictions(hours: int) -> int:
        settings.SCHEDULER_POLICY = Policy(budget_window_seconds=hours * 3600)
        return sum(d.recent_preemptions for d in load(acme.pk, lock=False).snapshot.deployments)

    assert (evictions(6), evictions(4)) == (1, 0)


def test_several_victims_leave_when_one_is_not_enough(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    victims = [submit(cpu_milli=2000, priority=10) for _ in range(4)]
    cycle(acme)
    preemptor = submit(cpu_milli=5000, priority=90)

    cycle(acme)

    assert statuses(preemptor) == [Status.STARTING]
    assert sorted(statuses(*victims)) == [Status.PENDING] * 3 + [Status.STARTING]


def test_nobody_is_evicted_when_all_victims_together_would_not_suffice(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    submit(cpu_milli=5000, priority=95)
    victim = submit(cpu_milli=3000, priority=10)
    cycle(acme)
    too_large = submit(cpu_milli=4000, priority=90)

    record = cycle(acme)

    assert statuses(victim, too_large) == [Status.STARTING, Status.PENDING]
    assert record.evicted == 0


def test_nobody_is_evicted_for_an_equal(acme: Organization, forge: Cluster, submit: Submit) -> None:
    first = submit(cpu_milli=8000)
    cycle(acme)
    second = submit(cpu_milli=1000)

    cycle(acme)

    assert statuses(first, second) == [Status.STARTING, Status.PENDING]


def test_victims_are_only_on_the_cluster_that_the_preemptor_goes_to(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    anvil = another_cluster(acme, "anvil")
    on_anvil = submit(cpu_milli=8000, priority=10, requested_cluster=anvil)
    on_forge = submit(cpu_milli=8000, priority=10, requested_cluster=forge)
    cycle(acme)
    pinned = submit(cpu_milli=8000, priority=90, requested_cluster=forge)

    cycle(acme)

    assert statuses(on_anvil, on_forge, pinned) == ["starting", "pending", "starting"]


def test_another_organization_is_never_touched(
    acme: Organization, forge: Cluster, submit: Submit, charlie: User
) -> None:
    other = Organization.objects.create(name="Other")
    another_cluster(other, "theirs")
    theirs = services.submit(
        created_by=charlie, organization=other,
        spec=Spec(name="theirs", image="busybox", cpu_milli=8000, ram_mib=1024, priority=1),
    )  # fmt: skip
    cycle(other)
    submit(cpu_milli=8000, priority=90)
    waiting = submit(cpu_milli=8000, priority=80)

    cycle(acme)

    assert statuses(theirs, waiting) == [Status.STARTING, Status.PENDING]


def test_what_has_ended_takes_no_room(acme: Organization, forge: Cluster, submit: Submit) -> None:
    first = submit(cpu_milli=8000, env={"SIMULATE_EXIT_CODE": "0"})
    cycle(acme)
    reconcile(forge.pk)
    second = submit(cpu_milli=8000)

    cycle(acme)

    assert statuses(first, second) == [Status.COMPLETED, Status.STARTING]
    assert Cluster.objects.with_allocated().get().allocated_cpu_milli == 8000


def test_a_drained_cluster_gives_its_deployments_to_another(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    deployment = submit()
    cycle(acme)
    anvil = another_cluster(acme, "anvil")
    cluster_services.drain(forge, actor="alice")

    cycle(acme)

    assert statuses(deployment) == [Status.STARTING]
    assert deployment.cluster == anvil
    assert deployment.preemptions == 0


def test_a_drained_cluster_sends_back_to_the_queue_what_fits_nowhere_else(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    deployment = submit()
    cycle(acme)
    cluster_services.drain(forge, actor="alice")

    cycle(acme)

    assert statuses(deployment) == [Status.PENDING]
    assert deployment.runs.get().outcome == Run.Outcome.REQUEUED
    assert deployment.ready_after is None


def test_a_drain_moves_even_one_that_nobody_may_preempt(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    deployment = submit()
    Deployment.objects.filter(pk=deployment.pk).update(preemptible=False)
    cycle(acme)
    anvil = another_cluster(acme, "anvil")
    cluster_services.drain(forge, actor="alice")

    cycle(acme)

    deployment.refresh_from_db()
    assert deployment.cluster == anvil


def test_a_cordoned_cluster_keeps_what_it_has_and_takes_nothing_new(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    before = submit()
    cycle(acme)
    cluster_services.cordon(forge, actor="alice")
    after = submit(priority=90)

    cycle(acme)

    assert statuses(before, after) == [Status.STARTING, Status.PENDING]
    assert "cordoned" in after.status_reason


def test_the_second_eviction_is_followed_by_a_back_off(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    victim = submit(cpu_milli=8000, priority=10)
    for _ in range(2):
        cycle(acme)
        preemptor = submit(cpu_milli=8000, priority=50)
        cycle(acme)
        services.stop(preemptor, actor="bob")
    assert statuses(victim) == [Status.PENDING]

    cycle(acme)
    assert statuses(victim) == [Status.PENDING]
    with time_machine.travel(timezone.now() + timedelta(seconds=61)):
        cycle(acme)

    assert statuses(victim) == [Status.STARTING]


def test_one_evicted_too_often_is_spared_unless_the_gap_is_wide(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    victim = submit(cpu_milli=8000, priority=10)
    for hours in (1, 2, 3):
        with time_machine.travel(timezone.now() + timedelta(hours=hours)):
            cycle(acme)
            preemptor = submit(cpu_milli=8000, priority=50)
            cycle(acme)
            services.stop(preemptor, actor="bob")
    with time_machine.travel(timezone.now() + timedelta(hours=4)):
        cycle(acme)
        near, far = submit(cpu_milli=8000, priority=59), submit(cpu_milli=8000, priority=60)
        services.hold(far, actor="alice")

        cycle(acme)
        assert statuses(victim, near) == [Status.STARTING, Status.PENDING]
        services.release(far, actor="alice")
        cycle(acme)

        assert statuses(victim, far) == [Status.PENDING, Status.STARTING]


def test_a_held_one_is_passed_over(acme: Organization, forge: Cluster, submit: Submit) -> None:
    held = submit(priority=90)
    services.hold(held, actor="alice")

    cycle(acme)

    assert statuses(held) == [Status.PENDING]


def test_a_plan_takes_the_same_number_of_statements_whatever_its_size(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    submit(cpu_milli=10, ram_mib=8)
    cycle(acme)
    counts = []
    for size in (2, 40):
        for _ in range(size):
            submit(cpu_milli=10, ram_mib=8)
        with CaptureQueriesContext(connection) as queries:
            assert cycle(acme).placed == size
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_a_flushed_broker_forgets_nothing(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    deployment = submit()
    cache.clear()

    run_due_cycles()

    assert statuses(deployment) == [Status.STARTING]


def test_a_second_cycle_at_once_changes_nothing(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    for priority in (10, 50, 90):
        for _ in range(4):
            submit(cpu_milli=2500, priority=priority)
    cycle(acme)

    again = cycle(acme)

    assert (again.placed, again.evicted, again.moved) == (0, 0, 0)
    assert not list(violations())


def test_growing_a_cluster_lets_what_waits_run(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    submit(cpu_milli=8000)
    cycle(acme)
    waiting = submit(cpu_milli=8000)
    cycle(acme)

    cluster_services.update(forge, actor="alice", name="forge", capacity=Capacity(16000, 16384, 2))
    cycle(acme)

    assert statuses(waiting) == [Status.STARTING]


def test_a_preemptor_whose_victim_would_leave_twice_is_set_aside(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    victim = submit(cpu_milli=8000, priority=10)
    cycle(acme)
    preemptor = submit(cpu_milli=8000, priority=50)
    cycle(acme)
    services.requeue(preemptor, actor="olga")
    services.hold(preemptor, actor="olga")
    cycle(acme)
    services.release(preemptor, actor="olga")

    record = cycle(acme)

    assert statuses(victim, preemptor) == [Status.STARTING, Status.PENDING]
    assert (record.evicted, record.suspended) == (0, 1)
    assert preemptor.status_code == "preemption_suspended"
    event = Event.objects.get(subject_id=preemptor.pk, kind="preemption_suspended")
    assert "second time" in event.reason


def test_one_that_is_set_aside_takes_free_room_without_preempting(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    victim = submit(cpu_milli=8000, priority=10)
    cycle(acme)
    preemptor = submit(cpu_milli=8000, priority=50)
    aside = Deployment.objects.filter(pk=preemptor.pk)
    aside.update(suspended_until=timezone.now() + timedelta(minutes=30))
    cycle(acme)
    assert statuses(victim, preemptor) == [Status.STARTING, Status.PENDING]
    services.stop(victim, actor="bob")

    cycle(acme)

    assert statuses(victim, preemptor) == [Status.STOPPING, Status.STARTING]


def test_one_that_evicts_and_never_starts_evicts_nobody_again(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    victim = submit(cpu_milli=8000, priority=10)
    cycle(acme)
    broken = submit(cpu_milli=8000, priority=50, image="simulated/missing")
    cycle(acme)
    reconcile(forge.pk)
    cycle(acme)
    services.start(broken, actor="bob")

    record = cycle(acme)

    assert statuses(victim, broken) == [Status.STARTING, Status.PENDING]
    assert record.suspended == 1


def test_one_that_is_started_again_later_may_take_the_same_room(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    victim = submit(cpu_milli=8000, priority=10)
    cycle(acme)
    nightly = submit(cpu_milli=8000, priority=50)
    cycle(acme)
    reconcile(forge.pk)
    services.stop(nightly, actor="bob")
    reconcile(forge.pk)
    cycle(acme)
    services.start(nightly, actor="bob")

    cycle(acme)

    assert statuses(victim, nightly) == [Status.PENDING, Status.STARTING]


def test_a_cycle_of_an_organization_that_is_gone_does_nothing(acme: Organization) -> None:
    gone = acme.pk
    acme.delete()

    assert run_cycle(gone, CHANGE) is None
