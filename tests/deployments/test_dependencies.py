"""Dependencies: conditions, cycles, and dependencies that cannot be met any more."""

from itertools import pairwise
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from accounts.models import User
from clusters.models import Cluster
from deployments import services, waiting
from deployments.choices import Condition, Status
from deployments.dependencies import Wait
from deployments.lifecycle import Change
from deployments.models import Dependency, Deployment
from orgs.models import Event, Organization
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle
from scheduling.tasks import run_requested_cycle
from tests.fixtures.deployments import Bring, Submit
from tests.fixtures.people import ClientFor
from tests.support.answers import refusal
from tests.support.cycles import run_due_cycles

BODY = {"name": "second", "image": "busybox", "cpu": 1, "ram_mib": 1024}
HOLDS = {
    Condition.COMPLETED: {Status.COMPLETED},
    Condition.RUNNING: {Status.RUNNING, Status.COMPLETED},
}


@pytest.fixture
def api(alice: User, forge: Cluster, client_for: ClientFor) -> APIClient:
    return client_for(alice)


def wait_for(api: APIClient, waiting: Deployment, *others: Deployment) -> Any:
    return api.patch(f"/deployments/{waiting.pk}", {"depends_on": [other.pk for other in others]})


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("condition", Condition)
def test_a_deployment_is_placed_exactly_when_its_condition_holds(
    acme: Organization, submit: Submit, bring: Bring, condition: Condition, status: Status
) -> None:
    first = bring(status)
    if status is Status.PENDING:
        services.hold(first, actor="alice")
    second = submit(depends_on=(Wait(first.pk, condition),))

    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)

    second.refresh_from_db()
    assert (second.status == Status.STARTING) is (status in HOLDS[condition])


def test_all_conditions_have_to_hold(acme: Organization, submit: Submit, bring: Bring) -> None:
    done, undone = bring(Status.COMPLETED), bring(Status.FAILED)
    second = submit(depends_on=(Wait(done.pk), Wait(undone.pk)))

    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)

    second.refresh_from_db()
    assert second.status == Status.PENDING


def test_a_running_deployment_goes_on_when_its_condition_no_longer_holds(
    acme: Organization, submit: Submit, bring: Bring
) -> None:
    first = bring(Status.COMPLETED)
    second = submit(depends_on=(Wait(first.pk),))
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    services.start(first, actor="bob")

    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)

    second.refresh_from_db()
    assert second.status == Status.STARTING


@pytest.mark.parametrize("length", [1, 2, 3, 10])
def test_a_cycle_of_any_length_is_refused(api: APIClient, submit: Submit, length: int) -> None:
    chain = [submit() for _ in range(length)]
    for earlier, later in pairwise(chain):
        assert wait_for(api, later, earlier).status_code == 200

    error = refusal(wait_for(api, chain[0], chain[-1]), 400)

    assert (error["code"], error["attr"]) == ("dependency_cycle", "depends_on")
    assert "neither would ever start" in error["detail"]
    assert not chain[0].dependencies.exists()


def test_a_cycle_is_refused_in_either_order(api: APIClient, submit: Submit) -> None:
    for first, second in ((submit(), submit()), reversed((submit(), submit()))):
        wait_for(api, first, second)

        assert refusal(wait_for(api, second, first), 400)["code"] == "dependency_cycle"


def test_a_cycle_with_the_condition_running_is_refused(api: APIClient, submit: Submit) -> None:
    first = submit()
    second = submit(depends_on=(Wait(first.pk, Condition.RUNNING),))
    body = {"depends_on": [{"deployment": second.pk, "condition": "running"}]}

    response = api.patch(f"/deployments/{first.pk}", body)

    assert refusal(response, 400)["code"] == "dependency_cycle"


def test_two_paths_to_the_same_deployment_are_not_a_cycle(api: APIClient, submit: Submit) -> None:
    top, left, right, bottom = (submit() for _ in range(4))

    answers = [
        wait_for(api, left, top), wait_for(api, right, top), wait_for(api, bottom, left, right)
    ]  # fmt: skip

    assert [answer.status_code for answer in answers] == [200, 200, 200]


def test_a_dependency_cannot_be_repeated(api: APIClient, submit: Submit) -> None:
    first = submit()

    error = refusal(wait_for(api, submit(), first, first), 400)

    assert error["attr"] == "depends_on"


def test_a_patch_of_dependencies_replaces_them(api: APIClient, submit: Submit) -> None:
    first, second, third = submit(), submit(), submit()
    wait_for(api, third, first)

    wait_for(api, third, second)

    assert [wait.on_id for wait in third.dependencies.all()] == [second.pk]


def test_dependencies_can_be_removed(api: APIClient, submit: Submit) -> None:
    first, second = submit(), submit()
    wait_for(api, second, first)

    wait_for(api, second)

    assert not Dependency.objects.exists()


def test_a_running_deployment_cannot_get_dependencies(
    api: APIClient, submit: Submit, bring: Bring
) -> None:
    error = refusal(wait_for(api, bring(Status.RUNNING), submit()), 409)

    assert "depends_on can change only while it is pending" in error["detail"]


@pytest.mark.parametrize(
    ("status", "past"),
    [("failed", "failed"), ("stopped", "was stopped"), ("cancelled", "was cancelled")],
)
def test_a_dependency_that_needs_action_is_explained_with_the_remedy(
    api: APIClient, submit: Submit, bring: Bring, status: str, past: str
) -> None:
    first = bring(Status(status))
    second = submit(depends_on=(Wait(first.pk),))

    data = api.get(f"/deployments/{second.pk}/explain").data

    assert data["code"] == "dependency_ended"
    assert f"deployment {first.pk} (job) to be completed, but it {past}: start" in data["reason"]
    assert "start it again, or change `depends_on`" in data["reason"]


def test_the_reason_mentions_that_a_dependency_is_held(api: APIClient, submit: Submit) -> None:
    first = submit()
    services.hold(first, actor="alice")
    second = submit(depends_on=(Wait(first.pk),))

    data = api.get(f"/deployments/{second.pk}/explain").data

    assert "an admin has to release it first" in data["reason"]


def test_starting_a_failed_dependency_again_lets_its_dependent_run(
    api: APIClient, acme: Organization, submit: Submit, bring: Bring
) -> None:
    first = bring(Status.FAILED)
    second = submit(depends_on=(Wait(first.pk, Condition.RUNNING),))
    api.post(f"/deployments/{first.pk}/start")
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)

    data = api.get(f"/deployments/{second.pk}/explain").data

    assert data["waits_for"] == [
        f"Waits for deployment {first.pk} (job) to be running; it is starting."
    ]


@pytest.mark.parametrize("status", ["pending", "completed", "failed"])
def test_a_dependency_of_a_pending_deployment_cannot_be_deleted(
    api: APIClient, submit: Submit, bring: Bring, status: str
) -> None:
    first = bring(Status(status))
    second = submit(depends_on=(Wait(first.pk),))

    error = refusal(api.delete(f"/deployments/{first.pk}"), 409)

    assert f"Deployment {second.pk} waits for deployment {first.pk}" in error["detail"]
    assert "cancel it or change its `depends_on` first" in error["detail"]


def test_a_dependency_of_ended_deployments_can_be_deleted(api: APIClient, bring: Bring) -> None:
    first = bring(Status.COMPLETED)
    bring(Status.COMPLETED, depends_on=(Wait(first.pk),))

    assert api.delete(f"/deployments/{first.pk}").status_code == 204


def test_a_waiting_deployment_can_be_deleted(api: APIClient, submit: Submit) -> None:
    first = submit()
    second = submit(depends_on=(Wait(first.pk),))

    assert api.delete(f"/deployments/{second.pk}").status_code == 204
    assert Deployment.objects.get() == first


def test_a_deployment_is_cancelled_if_it_asks_for_that_and_its_dependency_fails(
    acme: Organization, submit: Submit, bring: Bring
) -> None:
    failed = bring(Status.FAILED)
    second = submit(depends_on=(Wait(failed.pk),), on_dependency_failure="cancel")
    third = submit(depends_on=(Wait(second.pk),), on_dependency_failure="cancel")
    patient = submit(depends_on=(Wait(failed.pk),))

    run_due_cycles()

    for deployment in (second, third, patient):
        deployment.refresh_from_db()
    assert [d.status for d in (second, third, patient)] == ["cancelled", "cancelled", "pending"]
    assert second.status_reason == (
        f"Cancelled because deployment {failed.pk} (job) failed. To run it, start deployment"
        f" {failed.pk} again, then this one."
    )
    assert f"because deployment {second.pk} (job) was cancelled." in third.status_reason
    event = Event.objects.get(subject_id=second.pk, kind="cancelled")
    assert event.reason == second.status_reason


def chain(submit: Submit, first: Deployment, length: int) -> list[Deployment]:
    links = [first]
    for _ in range(length):
        wait = Wait(links[-1].pk)
        links.append(submit(depends_on=(wait,), on_dependency_failure="cancel"))
    return links[1:]


def test_a_chain_is_cancelled_with_as_many_statements_whatever_its_length(
    acme: Organization,
    bring: Bring,
    submit: Submit,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for length in (2, 12):
        links = chain(submit, bring(Status.FAILED), length)
        with django_assert_num_queries(9):
            assert services.cancel_unsatisfiable(acme.pk, actor="olga") == length

        for cause, link in pairwise(links):
            cause.refresh_from_db()
            link.refresh_from_db()
            assert link.status == cause.status == Status.CANCELLED
            assert f"because deployment {cause.pk} (job) was cancelled." in link.status_reason


def test_a_deployment_that_changes_while_its_chain_is_cancelled_keeps_its_dependents(
    acme: Organization, bring: Bring, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = chain(submit, bring(Status.FAILED), 3)
    found = waiting.cancellations

    def found_before_a_change(organization: int) -> list[Change]:
        changes = found(organization)
        Deployment.objects.filter(pk=second.pk).update(
            on_dependency_failure="wait", revision=second.revision + 1
        )
        return changes

    monkeypatch.setattr(waiting, "cancellations", found_before_a_change)

    assert services.cancel_unsatisfiable(acme.pk, actor="olga") == 1

    statuses = [Deployment.objects.get(pk=d.pk).status for d in (first, second, third)]
    assert statuses == ["cancelled", "pending", "pending"]


def test_a_cancellation_names_the_first_dependencies_that_ended_and_no_others(
    acme: Organization, submit: Submit, bring: Bring
) -> None:
    ended = [bring(Status.FAILED, name="fit") for _ in range(4)]
    running = bring(Status.RUNNING)
    second = submit(
        depends_on=tuple(Wait(each.pk) for each in (*ended, running)),
        on_dependency_failure="cancel",
    )

    run_requested_cycle(acme.pk)

    second.refresh_from_db()
    named = ", ".join(f"deployment {each.pk} (fit) failed" for each in ended[:3])
    assert second.status_reason == (
        f"Cancelled because {named} and 1 more of its dependencies ended as well. To run it, start"
        " them again, then this one."
    )


def test_a_deployment_is_not_cancelled_while_its_dependency_can_be_met(
    acme: Organization, submit: Submit, bring: Bring
) -> None:
    second = submit(depends_on=(Wait(bring(Status.RUNNING).pk),), on_dependency_failure="cancel")

    run_due_cycles()

    second.refresh_from_db()
    assert second.status == Status.PENDING


@pytest.mark.parametrize(
    ("condition", "status"),
    [("completed", "pending"), ("completed", "running"), ("completed", "stopping"),
     ("completed", "completed"), ("running", "completed"), ("running", "running")],
)  # fmt: skip
def test_a_deployment_is_not_cancelled_while_its_condition_holds_or_may_hold(
    acme: Organization, submit: Submit, bring: Bring, condition: str, status: str
) -> None:
    first = bring(Status(status))
    second = submit(
        depends_on=(Wait(first.pk, Condition(condition)),), on_dependency_failure="cancel"
    )

    run_requested_cycle(acme.pk)

    second.refresh_from_db()
    assert second.status != Status.CANCELLED


def test_a_failure_cancels_nothing_in_another_organization(
    submit: Submit, bring: Bring, globex: Organization
) -> None:
    second = submit(depends_on=(Wait(bring(Status.FAILED).pk),), on_dependency_failure="cancel")

    run_requested_cycle(globex.pk)

    second.refresh_from_db()
    assert second.status == Status.PENDING
