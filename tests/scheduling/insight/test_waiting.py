"""The row of a pending deployment says what `explain` says, whatever it waits for."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
import time_machine
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from clusters import services as cluster_services
from clusters.models import Cluster
from clusters.services import Capacity
from deployments import bulk, services, waiting
from deployments.dependencies import Wait
from deployments.models import Condition, Deployment, OnDependencyFailure, RestartPolicy, Status
from deployments.runtime.reconcile import reconcile
from deployments.specs import Spec
from orgs.models import Event, Organization
from scheduling.insight.explain import explain
from scheduling.planner.policy import Policy
from scheduling.tasks import run_due_cycles, run_requested_cycle
from tests.fixtures.deployments import Bring, Submit
from tests.fixtures.people import ClientFor

pytestmark = pytest.mark.django_db


def fresh(deployment: Deployment) -> Deployment:
    return Deployment.objects.get(pk=deployment.pk)


def assert_says_the_truth(deployment: Deployment, code: str, *words: str) -> None:
    row = fresh(deployment)
    told = explain(row)
    assert (row.status_code, row.status_reason) == (told.code, told.reason)
    assert row.status_code == code
    for word in words:
        assert word in row.status_reason


def waits_on(deployment: Deployment, *others: Deployment) -> None:
    spec = replace(Spec.of(fresh(deployment)), depends_on=tuple(Wait(on.pk) for on in others))
    services.update(fresh(deployment), actor="bob", spec=spec)


def kinds(deployment: Deployment) -> list[str]:
    rows = Event.objects.filter(subject="deployment", subject_id=deployment.pk).order_by("pk")
    return list(rows.values_list("kind", flat=True))


def test_a_submission_that_waits_for_another_says_so_at_once(
    bob: User, forge: Cluster, submit: Submit, client_for: ClientFor
) -> None:
    first = submit()
    body = {
        "name": "second", "image": "busybox", "cpu": 1, "ram_mib": 64, "depends_on": [first.pk],
    }  # fmt: skip

    answer = client_for(bob).post("/deployments", body).data

    sentence = f"Waits for deployment {first.pk} (job) to be completed."
    assert (answer["status_code"], answer["status_reason"]) == ("dependency", sentence)
    second = Deployment.objects.get(pk=answer["id"])
    assert_says_the_truth(second, "dependency")
    assert Event.objects.get(subject_id=second.pk, kind="submitted").reason == sentence
    found = client_for(bob).get("/deployments", {"status_code": "dependency"}).data
    assert [row["id"] for row in found["results"]] == [second.pk]


def test_many_submissions_say_so_at_once(
    bob: User, acme: Organization, forge: Cluster, submit: Submit
) -> None:
    first, failed = submit(), submit()
    services.cancel(failed, actor="bob")
    waits = [(), (Wait(first.pk),), (Wait(failed.pk, Condition.RUNNING),)]
    entries = [
        bulk.Entry(acme, Spec("job", "busybox", 1000, 64, depends_on=depends_on))
        for depends_on in waits
    ]

    rows = bulk.submit_many(created_by=bob, entries=entries)

    assert [row.status_code for row in rows] == ["submitted", "dependency", "dependency_ended"]
    assert_says_the_truth(rows[1], "dependency", f"deployment {first.pk}")
    assert_says_the_truth(rows[2], "dependency_ended", "start it again, or change `depends_on`")
    assert f"deployment {first.pk}" in Event.objects.get(subject_id=rows[1].pk).reason


def change_of_dependencies(deployment: Deployment, first: Deployment) -> None:
    waits_on(deployment, first)


def hold_and_release(deployment: Deployment, first: Deployment) -> None:
    waits_on(deployment, first)
    services.hold(fresh(deployment), actor="alice")
    assert_says_the_truth(deployment, "held", "Held by alice")
    services.release(fresh(deployment), actor="alice")


def start_again(deployment: Deployment, first: Deployment) -> None:
    waits_on(deployment, first)
    services.cancel(fresh(deployment), actor="bob")
    services.start(fresh(deployment), actor="bob")


@pytest.mark.parametrize("way", [change_of_dependencies, hold_and_release, start_again])
def test_every_way_into_waiting_for_another_says_so_at_once(
    forge: Cluster, submit: Submit, way: Callable[[Deployment, Deployment], None]
) -> None:
    first, deployment = submit(), submit()

    way(deployment, first)

    assert_says_the_truth(deployment, "dependency", f"Waits for deployment {first.pk}")


def test_a_dependency_that_is_taken_away_is_not_waited_for(forge: Cluster, submit: Submit) -> None:
    first = submit()
    deployment = submit(depends_on=(Wait(first.pk),))

    waits_on(deployment)

    assert fresh(deployment).status_reason == "Waits for the next scheduling cycle."


def test_the_row_follows_what_becomes_of_its_dependency(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    first = submit(priority=90)
    deployment = submit(depends_on=(Wait(first.pk),), cpu_milli=8000)

    def look() -> None:
        run_requested_cycle(acme.pk)

    services.hold(first, actor="alice")
    look()
    assert_says_the_truth(deployment, "dependency", "held: an admin has to release it first")
    services.cancel(fresh(first), actor="bob")
    look()
    assert_says_the_truth(deployment, "dependency_ended", "it is cancelled: start it again")
    services.start(fresh(first), actor="bob")
    services.release(fresh(first), actor="alice")
    look()
    assert_says_the_truth(deployment, "dependency", "to be completed.")
    assert kinds(deployment) == ["submitted", "waits", "waits", "waits"]


def test_the_end_of_a_dependency_is_an_event_of_what_waited_for_it(
    acme: Organization, bring: Bring, submit: Submit, forge: Cluster
) -> None:
    first = submit(env={"SIMULATE_RUN_SECONDS": "5"})
    deployment = submit(depends_on=(Wait(first.pk),), cpu_milli=8000)
    run_requested_cycle(acme.pk)
    reconcile(forge.pk)
    with time_machine.travel(timezone.now() + timedelta(seconds=6), tick=False):
        reconcile(forge.pk)
        assert fresh(first).status == Status.COMPLETED

        run_requested_cycle(acme.pk)

    assert fresh(deployment).status == Status.STARTING
    assert kinds(deployment) == ["submitted", "dependency_met", "placed"]


@pytest.mark.parametrize("length", [2, 50])
def test_what_waits_for_one_that_waits_in_vain_waits_in_vain(
    acme: Organization, forge: Cluster, submit: Submit, length: int
) -> None:
    chain = [submit()]
    for _ in range(length):
        chain.append(submit(depends_on=(Wait(chain[-1].pk),)))

    services.cancel(chain[0], actor="bob")
    run_requested_cycle(acme.pk)
    for deployment in chain[1:]:
        assert_says_the_truth(deployment, "dependency_ended")

    services.start(chain[0], actor="bob")
    run_requested_cycle(acme.pk)
    for deployment in chain[1:]:
        assert_says_the_truth(deployment, "dependency")


def test_a_lost_request_for_a_cycle_is_made_up_for_by_the_periodic_one(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    first = submit()
    deployment = submit(depends_on=(Wait(first.pk),))
    services.cancel(first, actor="bob")

    run_due_cycles()

    assert_says_the_truth(deployment, "dependency_ended")


def test_one_that_asked_to_be_cancelled_is_cancelled_and_not_told_to_wait(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    first = submit()
    deployment = submit(
        depends_on=(Wait(first.pk),), on_dependency_failure=OnDependencyFailure.CANCEL
    )
    services.cancel(first, actor="bob")

    run_requested_cycle(acme.pk)

    assert fresh(deployment).status == Status.CANCELLED
    assert kinds(deployment) == ["submitted", "cancelled"]


def test_one_that_was_evicted_while_its_dependency_fails_says_so(
    acme: Organization, forge: Cluster, submit: Submit, bring: Bring
) -> None:
    first = bring(Status.RUNNING)
    deployment = submit(depends_on=(Wait(first.pk, Condition.RUNNING),))
    run_requested_cycle(acme.pk)
    services.stop(first, actor="bob")

    services.requeue(fresh(deployment), actor="olga")

    assert_says_the_truth(deployment, "dependency")


def test_one_that_was_preempted_by_hand_says_until_when(bring: Bring) -> None:
    deployment = bring(Status.RUNNING)

    services.preempt(deployment, actor="olga")

    until = f"{fresh(deployment).ready_after:%Y-%m-%d %H:%M:%S} UTC"
    assert_says_the_truth(deployment, "backoff", f"Preempted by olga: competes again at {until}.")


def test_one_that_is_preempted_a_second_time_says_until_when(
    acme: Organization, bring: Bring, submit: Submit, forge: Cluster
) -> None:
    victim = submit(cpu_milli=8000, priority=10)
    for _ in range(2):
        run_requested_cycle(acme.pk)
        preemptor = submit(cpu_milli=8000, priority=90)
        run_requested_cycle(acme.pk)
        services.stop(fresh(preemptor), actor="bob")

    assert_says_the_truth(victim, "backoff", "Ready again at", "eviction 2")


def test_the_back_offs_are_those_of_the_policy(
    acme: Organization, bring: Bring, submit: Submit, forge: Cluster, settings: Settings
) -> None:
    settings.SCHEDULER_POLICY = Policy(backoff_seconds=7, operator_backoff_seconds=9)
    victim = submit(cpu_milli=8000, priority=10)
    with time_machine.travel(timezone.now(), tick=False):
        now = timezone.now()
        for _ in range(2):
            run_requested_cycle(acme.pk)
            preemptor = submit(cpu_milli=8000, priority=90)
            run_requested_cycle(acme.pk)
            services.stop(fresh(preemptor), actor="bob")
        by_hand = bring(Status.RUNNING)
        services.preempt(by_hand, actor="olga")

    assert fresh(victim).ready_after == now + timedelta(seconds=7)
    assert fresh(by_hand).ready_after == now + timedelta(seconds=9)


def test_a_restart_says_until_when(forge: Cluster, acme: Organization, submit: Submit) -> None:
    deployment = submit(env={"SIMULATE_EXIT_CODE": "3"}, restart_policy=RestartPolicy.ON_FAILURE)
    run_requested_cycle(acme.pk)

    reconcile(forge.pk)

    assert_says_the_truth(deployment, "restart_backoff", "Restart 1 of 3 at")


def test_a_back_off_under_a_hold_is_told_when_that_ends(bring: Bring) -> None:
    deployment = bring(Status.RUNNING)
    services.preempt(deployment, actor="olga")
    services.hold(fresh(deployment), actor="alice")
    assert_says_the_truth(deployment, "held", "Held by alice")

    services.release(fresh(deployment), actor="alice")

    assert_says_the_truth(deployment, "backoff", "competes again at")


@pytest.mark.parametrize("code", ["backoff", "restart_backoff", "vanished"])
def test_a_back_off_is_told_as_it_began(forge: Cluster, submit: Submit, code: str) -> None:
    until = timezone.now() + timedelta(seconds=90)
    Deployment.objects.filter(pk=submit().pk).update(
        ready_after=until, status_code=code, status_reason="Its container vanished."
    )

    obstacle = waiting.obstacle(Deployment.objects.get(), timezone.now())

    assert obstacle is not None
    assert (obstacle.code, obstacle.reason) == (code, "Its container vanished.")


@pytest.mark.parametrize("code", ["held", "dependency", "dependency_ended"])
def test_a_back_off_is_told_when_the_row_still_says_what_no_longer_holds(
    forge: Cluster, submit: Submit, code: str
) -> None:
    until = timezone.now() + timedelta(seconds=90)
    Deployment.objects.filter(pk=submit().pk).update(ready_after=until, status_code=code)

    obstacle = waiting.obstacle(Deployment.objects.get(), timezone.now())

    assert obstacle is not None
    assert obstacle.code == "backoff"
    assert f"competes again at {until:%Y-%m-%d %H:%M:%S} UTC" in obstacle.reason


def test_one_that_was_cancelled_while_held_is_held_when_it_is_started_again(
    forge: Cluster, submit: Submit
) -> None:
    deployment = submit()
    services.hold(deployment, actor="alice")
    services.cancel(fresh(deployment), actor="bob")

    services.start(fresh(deployment), actor="bob")

    assert_says_the_truth(deployment, "held", "waits until it is released")


@pytest.mark.parametrize(("steer", "code"), [("cordon", "cluster_cordoned"),
                                             ("drain", "cluster_draining")])  # fmt: skip
def test_one_whose_requested_cluster_is_closed_says_so_after_the_cycle_that_is_asked_for(
    acme: Organization, forge: Cluster, submit: Submit, steer: str, code: str
) -> None:
    deployment = submit(requested_cluster=forge)
    getattr(cluster_services, steer)(forge, actor="olga")

    run_requested_cycle(acme.pk)

    assert_says_the_truth(deployment, code)


def test_one_without_room_says_so_after_the_cycle_that_its_submission_asks_for(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    submit(cpu_milli=8000, priority=90)
    run_requested_cycle(acme.pk)
    deployment = submit(cpu_milli=8000, priority=10)

    run_requested_cycle(acme.pk)

    assert_says_the_truth(deployment, "no_free_capacity")


def test_one_that_nothing_can_hold_any_more_says_so(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    deployment = submit(cpu_milli=8000)
    cluster_services.update(forge, actor="olga", name=forge.name, capacity=Capacity(4000, 16384, 2))

    run_requested_cycle(acme.pk)

    assert_says_the_truth(deployment, "exceeds_capacity")


def test_refreshing_again_changes_nothing(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    first = submit()
    services.hold(first, actor="alice")
    deployment = submit(depends_on=(Wait(first.pk),))
    run_requested_cycle(acme.pk)
    before = kinds(deployment)

    run_requested_cycle(acme.pk)

    assert kinds(deployment) == before


@pytest.mark.django_db(transaction=True)
def test_a_row_that_somebody_holds_is_passed_over_and_keeps_no_cycle_waiting(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    first = submit()
    deployment = submit(depends_on=(Wait(first.pk),))
    other = submit()
    services.cancel(first, actor="bob")

    def cycle() -> None:
        try:
            run_due_cycles()
        finally:
            connection.close()

    with transaction.atomic():
        Deployment.objects.select_for_update(no_key=True).get(pk=deployment.pk)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(cycle).result(timeout=20)

    assert fresh(other).status == Status.STARTING
    assert fresh(deployment).status_code == "dependency"
    run_due_cycles()
    assert_says_the_truth(deployment, "dependency_ended")
