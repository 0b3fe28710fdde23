"""PUT and PATCH /deployments/{id}: which fields may change, and when."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from clusters.models import Cluster
from deployments.choices import ENDED, Status
from deployments.dependencies import Wait
from deployments.models import Deployment
from orgs.models import Event, Membership, Organization, Role
from tests.fixtures.deployments import Bring, Submit
from tests.fixtures.people import ClientFor
from tests.support.answers import attrs, refusal
from tests.support.factories import make_cluster

PLACED = (Status.STARTING, Status.RUNNING, Status.STOPPING)
LIVE = (Status.PENDING, *PLACED)
FROZEN: list[tuple[str, Any]] = [
    ("image", "other"), ("command", ["sh"]), ("env", {"A": "1"}), ("cpu", 2), ("ram_mib", 2048),
    ("gpu", 1), ("max_runtime_s", 60), ("on_dependency_failure", "cancel"),
]  # fmt: skip


@pytest.fixture
def api(alice: User, forge: Cluster, client_for: ClientFor) -> APIClient:
    return client_for(alice)


def path(deployment: Deployment) -> str:
    return f"/deployments/{deployment.pk}"


@pytest.mark.parametrize("status", LIVE)
def test_name_and_priority_change_at_any_time_before_it_ends(
    api: APIClient, bring: Bring, status: Status
) -> None:
    deployment = bring(status)

    response = api.patch(path(deployment), {"name": "renamed", "priority": 77})

    assert response.status_code == 200
    assert (response.data["name"], response.data["priority"]) == ("renamed", 77)
    event = Event.objects.get(subject_id=deployment.pk, kind="updated")
    assert (event.actor, event.status) == ("alice", None)
    assert event.data == {"name": ["job", "renamed"], "priority": [50, 77]}


@pytest.mark.parametrize("status", ENDED)
@pytest.mark.parametrize("change", [{"name": "renamed"}, {"priority": 77}, {"image": "other"}])
def test_an_ended_deployment_cannot_be_changed(
    api: APIClient, bring: Bring, status: Status, change: dict[str, Any]
) -> None:
    error = refusal(api.patch(path(bring(status)), change), 409)

    assert f"has ended ({status})" in error["detail"]
    assert "start it again" in error["detail"]


@pytest.mark.parametrize(("field", "value"), FROZEN)
def test_the_specification_can_be_changed_while_pending(
    api: APIClient, submit: Submit, field: str, value: Any
) -> None:
    deployment = submit()

    response = api.patch(path(deployment), {field: value})

    assert (response.status_code, response.data[field]) == (200, value)
    assert api.get(path(deployment)).data[field] == value


@pytest.mark.parametrize("status", PLACED)
@pytest.mark.parametrize(("field", "value"), FROZEN)
def test_the_specification_cannot_be_changed_once_placed(
    api: APIClient, bring: Bring, status: Status, field: str, value: Any
) -> None:
    deployment = bring(status)

    error = refusal(api.patch(path(deployment), {"name": "renamed", field: value}), 409)

    assert f"is {status}" in error["detail"]
    assert "only while it is pending: stop it, start it again and then change it" in error["detail"]
    assert f"; {field} can change" in error["detail"]
    assert Deployment.objects.get(pk=deployment.pk).name == "job"


@pytest.mark.parametrize("word", ["cluster", "requested_cluster"])
def test_the_requested_cluster_is_set_and_cleared_while_pending(
    api: APIClient, submit: Submit, forge: Cluster, word: str
) -> None:
    deployment = submit()

    answers = [api.patch(path(deployment), {word: value}) for value in (forge.pk, None)]

    assert [answer.data["requested_cluster"] for answer in answers] == [forge.pk, None]


def test_a_running_deployment_cannot_request_another_cluster(
    api: APIClient, bring: Bring, acme: Organization
) -> None:
    anvil = make_cluster(acme, "anvil", cpu_milli=9000, ram_mib=9000)

    error = refusal(api.patch(path(bring(Status.RUNNING)), {"cluster": anvil.pk}), 409)

    assert "requested_cluster" in error["detail"]


def test_a_cluster_of_strangers_does_not_exist(
    api: APIClient, submit: Submit, globex_cluster: Cluster
) -> None:
    error = refusal(api.patch(path(submit()), {"cluster": globex_cluster.pk}), 404)

    assert error["attr"] == "cluster"


def test_a_cluster_of_the_callers_other_organization_is_refused(
    api: APIClient, submit: Submit, alice: User, globex: Organization, globex_cluster: Cluster
) -> None:
    Membership.objects.create(organization=globex, user=alice, role=Role.OWNER)

    error = refusal(api.patch(path(submit()), {"requested_cluster": globex_cluster.pk}), 400)

    assert error["attr"] == "requested_cluster"


def test_a_deployment_cannot_change_its_organization(
    api: APIClient, submit: Submit, globex: Organization
) -> None:
    error = refusal(api.patch(path(submit()), {"organization": globex.pk}), 400)

    assert error["attr"] == "organization"


def test_a_pending_deployment_cannot_request_more_than_every_cluster_has(
    api: APIClient, submit: Submit
) -> None:
    error = refusal(api.patch(path(submit()), {"gpu": 3}), 400)

    assert (error["code"], error["attr"]) == ("exceeds_capacity", "gpu")


@pytest.mark.parametrize("status", Status)
def test_a_response_can_be_sent_back_unchanged_in_any_status(
    api: APIClient, bring: Bring, forge: Cluster, status: Status
) -> None:
    first = bring(Status.COMPLETED)
    deployment = bring(
        status, requested_cluster=forge, env={"A": "1"}, command=("sh", "-c"), max_runtime_s=5
    )
    api.patch(path(deployment), {"depends_on": [first.pk]})
    read = api.get(path(deployment)).data
    events = Event.objects.count()

    response = api.put(path(deployment), read)

    assert (response.status_code, response.data) == (200, read)
    assert Event.objects.count() == events


def test_a_placed_deployment_can_be_sent_back_without_its_cluster(
    api: APIClient, bring: Bring, forge: Cluster
) -> None:
    deployment = bring(Status.RUNNING)
    read = api.get(path(deployment)).data

    response = api.put(path(deployment), read | {"name": "renamed"})

    assert (response.data["cluster"], response.data["requested_cluster"]) == (forge.pk, None)


def test_a_patch_keeps_the_other_fields(api: APIClient, submit: Submit, forge: Cluster) -> None:
    deployment = submit(
        requested_cluster=forge, env={"A": "1"}, command=("sh",), max_runtime_s=5, gpu=1, priority=7
    )
    before = api.get(path(deployment)).data

    after = api.patch(path(deployment), {"image": "other"}).data

    assert after == before | {"image": "other"}


def test_a_put_resets_missing_fields(api: APIClient, submit: Submit, forge: Cluster) -> None:
    deployment = submit(
        requested_cluster=forge, env={"A": "1"}, command=("sh",), max_runtime_s=5, gpu=1, priority=7
    )
    least = {"name": "job", "image": "busybox", "cpu": 1, "ram_mib": 1024}
    reset: dict[str, Any] = {
        "requested_cluster": None, "env": {}, "command": [], "max_runtime_s": None, "gpu": 0,
        "priority": 50, "depends_on": [], "on_dependency_failure": "wait",
    }  # fmt: skip

    data = api.put(path(deployment), least).data

    assert {key: data[key] for key in reset} == reset


def test_a_put_needs_the_same_fields_as_a_post(api: APIClient, submit: Submit) -> None:
    assert attrs(api.put(path(submit()), {"priority": 9})) == {"name", "image", "cpu", "ram_mib"}


def test_the_event_of_a_changed_environment_contains_no_value(
    api: APIClient, submit: Submit
) -> None:
    deployment = submit(env={"TOKEN": "old-secret"})

    api.patch(path(deployment), {"env": {"TOKEN": "new-secret"}})

    assert "secret" not in str(Event.objects.get(kind="updated").data)
    assert "secret" not in str(api.get(f"{path(deployment)}/events").data)


def test_reordered_dependencies_are_not_a_change(
    api: APIClient, acme: Organization, submit: Submit, bring: Bring
) -> None:
    first, second = bring(Status.COMPLETED), bring(Status.COMPLETED)
    waiting = submit(depends_on=(Wait(first.pk), Wait(second.pk)))

    response = api.patch(path(waiting), {"depends_on": [second.pk, first.pk]})

    assert response.status_code == 200
    assert not Event.objects.filter(subject_id=waiting.pk, kind="updated").exists()
