"""The wait reason in a pending deployment's row is always that of `explain`."""

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
from clusters.capacity import Capacity
from clusters.models import Cluster
from deployments import bulk, services, waiting
from deployments.choices import Condition, OnDependencyFailure, RestartPolicy, Status
from deployments.dependencies import Wait
from deployments.models import Deployment
from deployments.specs import Spec
from orgs.models import Event, Organization
from scheduling.insight.explain import explain
from scheduling.planner.policy import Policy
from scheduling.tasks import run_requested_cycle
from tests.fixtures.deployments import Bring, Submit
from tests.fixtures.people import ClientFor
from tests.support.cycles import run_due_cycles
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db


def fresh(deployment: Deployment) -> Deployment:
    return Deployment.objects.get(pk=deployment.pk)


def assert_row_agrees_with_explain(deployment: Deployment, code: str, *words: str) -> None:
    row = fresh(deployment)
    explanation = explain(row)
    assert (row.status_code, row.status_reason) == (explanation.code, explanation.reason)
    assert row.status_code == code
    for word in words:
        assert word in row.status_reason


def waits_on(deployment: Deployment, *others: Deployment) -> None:
    spec = replace(Spec.of(fresh(deployment)), depends_on=tuple(Wait(on.pk) for on in others))
    services.update(fresh(deployment), actor="bob", spec=spec)


def kinds(deployment: Deployment) -> list[str]:
    rows = Event.objects.filter(subject="deployment", subject_id=deployment.pk).order_by("pk")
    return list(rows.values_list("kind", flat=True))


def test_a_submission_with_a_dependency_has_its_wait_reason_at_once(
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
    assert_row_agrees_with_explain(second, "dependency")
    assert Event.objects.get(subject_id=second.pk, kind="submitted").reason == sentence
    found = client_for(bob).get("/deployments", {"status_code": "dependency"}).data
    assert [row["id"] for row in found["results"]] == [second.pk]


def test_many_submissions_have_their_wait_reasons_at_once(
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
    assert_row_agrees_with_explain(rows[1], "dependency", f"deployment {first.pk}")
    assert_row_agrees_with_explain(
        rows[2], "dependency_ended", "start it again, or change `depends_on`"
    )
    assert f"deployment {first.pk}" in Event.objects.get(subject_id=rows[1].pk).reason


def change_of_dependencies(deployment: Deployment, first: Deployment) -> None:
    waits_on(deployment, first)


def hold_and_release(deployment: Deployment, first: Deployment) -> None:
    waits_on(deployment, first)
    services.hold(fresh(deployment), actor="alice")
    assert_row_agrees_with_explain(deployment, "held", "Held by alice")
    services.release(fresh(deployment), actor="alice")


def start_again(deployment: Deployment, first: Deployment) -> None:
    waits_on(deployment, first)
    services.cancel(fresh(deployment), actor="bob")
    services.start(fresh(deployment), actor="bob")


@pytest.mark.parametrize("way", [change_of_dependencies, hold_and_release, start_again])
def test_every_way_to_get_a_dependency_sets_the_wait_reason_at_once(
    forge: Cluster, submit: Submit, way: Callable[[Deployment, Deployment], None]
) -> None:
    first, deployment = submit(), submit()

    way(deployment, first)

    assert_row_agrees_with_explain(deployment, "dependency", f"Waits for deployment {first.pk}")


def test_a_removed_dependency_is_not_waited_for(forge: Cluster, submit: Submit) -> None:
    first = submit()
    deployment = submit(depends_on=(Wait(first.pk),))

    waits_on(deployment)

    assert fresh(deployment).status_reason == "Waits for the next scheduling cycle."


def test_the_wait_reason_follows_the_state_of_the_dependency(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    first = submit(priority=90)
    deployment = submit(depends_on=(Wait(first.pk),), cpu_milli=8000)

    def look() -> None:
        run_requested_cycle(acme.pk)

    services.hold(first, actor="alice")
    look()
    assert_row_agrees_with_explain(
        deployment, "dependency", "held: an admin has to release it first"
    )
    services.cancel(fresh(first), actor="bob")
    look()
    assert_row_agrees_with_explain(
        deployment, "dependency_ended", "it was cancelled: start it again"
    )
    services.start(fresh(first), actor="bob")
    services.release(fresh(first), actor="alice")
    look()
    assert_row_agrees_with_explain(deployment, "dependency", "to be completed.")
    assert kinds(deployment) == ["submitted", "waits", "waits", "waits"]


def test_the_end_of_a_dependency_is_an_event_of_its_dependent(
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
def test_a_dependent_of_a_hopeless_deployment_is_hopeless(
    acme: Organization, forge: Cluster, submit: Submit, length: int
) -> None:
    chain = [submit()]
    for _ in range(length):
        chain.append(submit(depends_on=(Wait(chain[-1].pk),)))

    services.cancel(chain[0], actor="bob")
    run_requested_cycle(acme.pk)
    for deployment in chain[1:]:
        assert_row_agrees_with_explain(deployment, "dependency_ended")

    services.start(chain[0], actor="bob")
    run_requested_cycle(acme.pk)
    for deployment in chain[1:]:
        assert_row_agrees_with_explain(deployment, "dependency")


def test_the_periodic_cycle_replaces_a_lost_request_for_one(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    first = submit()
    deployment = submit(depends_on=(Wait(first.pk),))
    services.cancel(first, actor="bob")

    run_due_cycles()

    assert_row_agrees_with_explain(deployment, "dependency_ended")


def test_a_dependent_with_the_policy_cancel_is_cancelled_and_does_not_wait(
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


def test_an_evicted_deployment_whose_dependency_fails_says_so(
    acme: Organization, forge: Cluster, submit: Submit, bring: Bring
) -> None:
    first = bring(Status.RUNNING)
    deployment = submit(depends_on=(Wait(first.pk, Condition.RUNNING),))
    run_requested_cycle(acme.pk)
    services.stop(first, actor="bob")

    services.requeue(fresh(deployment), actor="olga")

    assert_row_agrees_with_explain(deployment, "dependency")


def test_a_deployment_preempted_by_an_operator_shows_when_its_back_off_ends(bring: Bring) -> None:
    deployment = bring(Status.RUNNING)

    services.preempt(deployment, actor="olga")

    until = f"{fresh(deployment).ready_after:%Y-%m-%d %H:%M:%S} UTC"
    assert_row_agrees_with_explain(
        deployment, "backoff", f"Preempted by olga: competes again at {until}."
    )


def test_a_deployment_preempted_a_second_time_shows_when_its_back_off_ends(
    acme: Organization, bring: Bring, submit: Submit, forge: Cluster
) -> None:
    victim = submit(cpu_milli=8000, priority=10)
    for _ in range(2):
        run_requested_cycle(acme.pk)
        preemptor = submit(cpu_milli=8000, priority=90)
        run_requested_cycle(acme.pk)
        services.stop(fresh(preemptor), actor="bob")

    assert_row_agrees_with_explain(victim, "backoff", "Ready again at", "eviction 2")


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


def test_a_restart_shows_when_its_back_off_ends(
    forge: Cluster, acme: Organization, submit: Submit
) -> None:
    deployment = submit(env={"SIMULATE_EXIT_CODE": "3"}, restart_policy=RestartPolicy.ON_FAILURE)
    run_requested_cycle(acme.pk)

    reconcile(forge.pk)

    assert_row_agrees_with_explain(deployment, "restart_backoff", "Restart 1 of 3 at")


def test_a_back_off_during_a_hold_is_shown_after_the_release(bring: Bring) -> None:
    deployment = bring(Status.RUNNING)
    services.preempt(deployment, actor="olga")
    services.hold(fresh(deployment), actor="alice")
    assert_row_agrees_with_explain(deployment, "held", "Held by alice")

    services.release(fresh(deployment), actor="alice")

    assert_row_agrees_with_explain(deployment, "backoff", "competes again at")


@pytest.mark.parametrize("code", ["backoff", "restart_backoff", "vanished"])
def test_a_back_off_keeps_its_first_reason(forge: Cluster, submit: Submit, code: str) -> None:
    until = timezone.now() + timedelta(seconds=90)
    Deployment.objects.filter(pk=submit().pk).update(
        ready_after=until, status_code=code, status_reason="Its container vanished."
    )

    obstacle = waiting.obstacle(Deployment.objects.get(), timezone.now())

    assert obstacle is not None
    assert (obstacle.code, obstacle.reason) == (code, "Its container vanished.")


@pytest.mark.parametrize("code", ["held", "dependency", "dependency_ended"])
def test_a_back_off_replaces_an_outdated_wait_reason(
    forge: Cluster, submit: Submit, code: str
) -> None:
    until = timezone.now() + timedelta(seconds=90)
    Deployment.objects.filter(pk=submit().pk).update(ready_after=until, status_code=code)

    obstacle = waiting.obstacle(Deployment.objects.get(), timezone.now())

    assert obstacle is not None
    assert obstacle.code == "backoff"
    assert f"competes again at {until:%Y-%m-%d %H:%M:%S} UTC" in obstacle.reason


def test_a_deployment_cancelled_on_hold_is_on_hold_when_it_is_started_again(
    forge: Cluster, submit: Submit
) -> None:
    deployment = submit()
    services.hold(deployment, actor="alice")
    services.cancel(fresh(deployment), actor="bob")

    services.start(fresh(deployment), actor="bob")

    assert_row_agrees_with_explain(deployment, "held", "waits until it is released")


@pytest.mark.parametrize(("verb", "code"), [("cordon", "cluster_cordoned"),
                                             ("drain", "cluster_draining")])  # fmt: skip
def test_a_closed_requested_cluster_is_the_wait_reason_after_the_requested_cycle(
    acme: Organization, forge: Cluster, submit: Submit, verb: str, code: str
) -> None:
    deployment = submit(requested_cluster=forge)
    getattr(cluster_services, verb)(forge, actor="olga")

    run_requested_cycle(acme.pk)

    assert_row_agrees_with_explain(deployment, code)


def test_missing_capacity_is_the_wait_reason_after_the_requested_cycle(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    submit(cpu_milli=8000, priority=90)
    run_requested_cycle(acme.pk)
    deployment = submit(cpu_milli=8000, priority=10)

    run_requested_cycle(acme.pk)

    assert_row_agrees_with_explain(deployment, "no_free_capacity")


def test_a_deployment_that_no_longer_fits_on_any_cluster_says_so(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    deployment = submit(cpu_milli=8000)
    cluster_services.update(forge, actor="olga", name=forge.name, capacity=Capacity(4000, 16384, 2))

    run_requested_cycle(acme.pk)

    assert_row_agrees_with_explain(deployment, "exceeds_capacity")


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
def test_a_locked_row_is_skipped_and_delays_no_cycle(
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
    assert_row_agrees_with_explain(deployment, "dependency_ended")
