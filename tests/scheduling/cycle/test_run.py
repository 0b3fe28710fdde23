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
from clusters.capacity import Capacity
from clusters.models import Cluster
from deployments import services
from deployments.choices import Status
from deployments.models import Deployment
from deployments.runtime.models import Run
from deployments.specs import Spec
from orgs.models import Event, Organization
from scheduling.cycle.run import run_cycle
from scheduling.cycle.snapshot import load
from scheduling.insight.verify import violations
from scheduling.models import SchedulingCycle
from scheduling.planner.policy import Policy
from tests.fixtures.deployments import Bring, Submit
from tests.support.cycles import run_due_cycles
from tests.support.reconcile import reconcile

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


def test_a_cycle_records_what_its_reservations_keep_idle(
    acme: Organization, forge: Cluster, bring: Bring, submit: Submit, endless_turns: None
) -> None:
    bring(Status.RUNNING, gpu=1, priority=50)
    patient = submit(gpu=2)
    Deployment.objects.filter(pk=patient.pk).update(queued_at=timezone.now() - timedelta(hours=1))
    assert cycle(acme).idle == {}

    submit(gpu=1)

    assert cycle(acme).idle == {str(forge.pk): {"cpu_milli": 0, "ram_mib": 0, "gpu": 1}}


def test_a_deployment_that_fits_is_placed(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    deployment = submit()

    record = cycle(acme)

    assert statuses(deployment) == [Status.STARTING]
    assert deployment.cluster == forge
    assert (record.ready, record.placed, record.left_pending) == (1, 1, 0)


def test_a_deployment_waits_while_the_cluster_is_full(
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


def test_a_wait_reason_is_written_once_and_is_not_an_event(
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


def test_a_higher_priority_preempts_a_lower_one(
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


def test_a_victim_runs_again_later_and_keeps_its_place_in_the_queue(
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


def test_an_eviction_restarts_the_wait_of_the_victim(
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


def test_several_victims_are_evicted_if_one_is_not_enough(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    victims = [submit(cpu_milli=2000, priority=10) for _ in range(4)]
    cycle(acme)
    preemptor = submit(cpu_milli=5000, priority=90)

    cycle(acme)

    assert statuses(preemptor) == [Status.STARTING]
    assert sorted(statuses(*victims)) == [Status.PENDING] * 3 + [Status.STARTING]


def test_nothing_is_evicted_if_all_victims_together_would_not_be_enough(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    submit(cpu_milli=5000, priority=95)
    victim = submit(cpu_milli=3000, priority=10)
    cycle(acme)
    too_large = submit(cpu_milli=4000, priority=90)

    record = cycle(acme)

    assert statuses(victim, too_large) == [Status.STARTING, Status.PENDING]
    assert record.evicted == 0


def test_nothing_is_evicted_for_an_equal_priority(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    first = submit(cpu_milli=8000)
    cycle(acme)
    second = submit(cpu_milli=1000)

    cycle(acme)

    assert statuses(first, second) == [Status.STARTING, Status.PENDING]


def test_victims_are_on_the_cluster_of_the_preemptor(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    anvil = another_cluster(acme, "anvil")
    on_anvil = submit(cpu_milli=8000, priority=10, requested_cluster=anvil)
    on_forge = submit(cpu_milli=8000, priority=10, requested_cluster=forge)
    cycle(acme)
    pinned = submit(cpu_milli=8000, priority=90, requested_cluster=forge)

    cycle(acme)

    assert statuses(on_anvil, on_forge, pinned) == ["starting", "pending", "starting"]


def test_a_cycle_does_not_change_another_organization(
    acme: Organization, forge: Cluster, submit: Submit, charlie: User
) -> None:
    other = Organization.objects.create(name="Other")
    another_cluster(other, "foreign")
    foreign = services.submit(
        created_by=charlie, organization=other,
        spec=Spec(name="foreign", image="busybox", cpu_milli=8000, ram_mib=1024, priority=1),
    )  # fmt: skip
    cycle(other)
    submit(cpu_milli=8000, priority=90)
    waiting = submit(cpu_milli=8000, priority=80)

    cycle(acme)

    assert statuses(foreign, waiting) == [Status.STARTING, Status.PENDING]


def test_an_ended_deployment_uses_no_capacity(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    first = submit(cpu_milli=8000, env={"SIMULATE_EXIT_CODE": "0"})
    cycle(acme)
    reconcile(forge.pk)
    second = submit(cpu_milli=8000)

    cycle(acme)

    assert statuses(first, second) == [Status.COMPLETED, Status.STARTING]
    assert Cluster.objects.with_allocated().get().allocated_cpu_milli == 8000


def test_a_drain_moves_deployments_to_another_cluster(
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


def test_a_drain_requeues_what_fits_on_no_other_cluster(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    deployment = submit()
    cycle(acme)
    cluster_services.drain(forge, actor="alice")

    cycle(acme)

    assert statuses(deployment) == [Status.PENDING]
    assert deployment.runs.get().outcome == Run.Outcome.REQUEUED
    assert deployment.ready_after is None


def test_a_drain_moves_even_a_deployment_that_is_not_preemptible(
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


def test_a_cordoned_cluster_keeps_its_deployments_and_takes_no_new_ones(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    before = submit()
    cycle(acme)
    cluster_services.cordon(forge, actor="alice")
    after = submit(priority=90)

    cycle(acme)

    assert statuses(before, after) == [Status.STARTING, Status.PENDING]
    assert "cordoned" in after.status_reason


def test_a_back_off_follows_the_second_eviction(
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


def test_after_three_evictions_a_deployment_is_spared_unless_the_gap_is_wide(
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
        near, far = submit(cpu_milli=8000, priority=39), submit(cpu_milli=8000, priority=40)
        services.hold(far, actor="alice")

        cycle(acme)
        assert statuses(victim, near) == [Status.STARTING, Status.PENDING]
        services.release(far, actor="alice")
        cycle(acme)

        assert statuses(victim, far) == [Status.PENDING, Status.STARTING]


def test_a_deployment_on_hold_is_not_placed(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    held = submit(priority=90)
    services.hold(held, actor="alice")

    cycle(acme)

    assert statuses(held) == [Status.PENDING]


def test_the_number_of_statements_does_not_depend_on_the_size_of_the_plan(
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


def test_no_deployment_is_forgotten_when_the_broker_is_flushed(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    deployment = submit()
    cache.clear()

    run_due_cycles()

    assert statuses(deployment) == [Status.STARTING]


def test_a_second_cycle_immediately_after_the_first_changes_nothing(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    for priority in (10, 50, 90):
        for _ in range(4):
            submit(cpu_milli=2500, priority=priority)
    cycle(acme)

    again = cycle(acme)

    assert (again.placed, again.evicted, again.moved) == (0, 0, 0)
    assert not list(violations())


def test_a_waiting_deployment_runs_when_its_cluster_grows(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    submit(cpu_milli=8000)
    cycle(acme)
    waiting = submit(cpu_milli=8000)
    cycle(acme)

    cluster_services.update(forge, actor="alice", name="forge", capacity=Capacity(16000, 16384, 2))
    cycle(acme)

    assert statuses(waiting) == [Status.STARTING]


def test_with_preemption_suspended_a_deployment_gets_free_capacity_only(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    victim = submit(cpu_milli=8000, priority=10)
    cycle(acme)
    preemptor = submit(cpu_milli=8000, priority=50)
    until = timezone.now() + timedelta(minutes=30)
    Deployment.objects.filter(pk=preemptor.pk).update(suspended_until=until)
    cycle(acme)
    assert statuses(victim, preemptor) == [Status.STARTING, Status.PENDING]
    services.stop(victim, actor="bob")

    cycle(acme)

    assert statuses(victim, preemptor) == [Status.STOPPING, Status.STARTING]


def test_preemption_is_suspended_for_a_deployment_that_preempted_but_never_started(
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


def test_a_deployment_that_ran_may_evict_the_same_victim_after_a_new_start(
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


def test_a_cycle_of_a_deleted_organization_does_nothing(acme: Organization) -> None:
    gone = acme.pk
    acme.delete()

    assert run_cycle(gone, CHANGE) is None


def test_the_next_snapshot_knows_for_which_deployment_capacity_is_reserved(
    acme: Organization, forge: Cluster, submit: Submit, endless_turns: None
) -> None:
    submit(cpu_milli=6000)
    cycle(acme)
    with time_machine.travel(timezone.now() - timedelta(hours=1), tick=False):
        large = submit(cpu_milli=8000)
    small = submit(cpu_milli=1000)
    cycle(acme)

    rows = {d.id: d.reserved for d in load(acme.pk, lock=False).snapshot.deployments}

    assert (rows[large.pk], rows[small.pk]) == (True, False)
    assert statuses(small) == [Status.PENDING]
