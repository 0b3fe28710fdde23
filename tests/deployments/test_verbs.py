"""Verbs of deployments over REST: allowed or 409, with their events."""

import pytest
from django.utils.dateparse import parse_datetime
from rest_framework.test import APIClient

from accounts.models import User
from clusters.models import Cluster
from deployments import services
from deployments.choices import Status
from deployments.models import Deployment
from orgs.models import Event
from tests.fixtures.deployments import Bring, Submit
from tests.fixtures.people import ClientFor
from tests.support.answers import ids, refusal

LEGAL = {
    "start": (202, Status.PENDING, ("stopped", "failed", "completed", "cancelled")),
    "stop": (202, Status.STOPPING, ("starting", "running")),
    "cancel": (200, Status.CANCELLED, ("pending",)),
    "hold": (200, Status.PENDING, ("pending",)),
    "release": (200, Status.PENDING, ("pending",)),
    "checkpoint": (204, Status.RUNNING, ("running",)),
}
ALLOWED = [(verb, Status(s)) for verb, (_, _, sources) in LEGAL.items() for s in sources]
REFUSED = [(verb, s) for verb, (_, _, sources) in LEGAL.items() for s in Status if s not in sources]
REMEDIES = {
    Status.PENDING: "cancel it",
    Status.STARTING: "stop it first",
    Status.RUNNING: "stop it first",
    Status.STOPPING: "wait until it has stopped",
}


@pytest.fixture
def api(alice: User, forge: Cluster, client_for: ClientFor) -> APIClient:
    return client_for(alice)


def path(deployment: Deployment, verb: str = "") -> str:
    return f"/deployments/{deployment.pk}" + (f"/{verb}" if verb else "")


def kinds(deployment: Deployment) -> list[str]:
    events = Event.objects.filter(subject="deployment", subject_id=deployment.pk)
    return list(events.order_by("pk").values_list("kind", flat=True))


@pytest.mark.parametrize(("verb", "status"), ALLOWED)
def test_an_allowed_verb_returns_the_new_state(
    api: APIClient, bring: Bring, verb: str, status: Status
) -> None:
    deployment = bring(status)
    answer, target, _ = LEGAL[verb]

    response = api.post(path(deployment, verb))

    assert response.status_code == answer
    assert api.get(path(deployment)).data["status"] == target
    if answer != 204:
        assert response.data == api.get(path(deployment)).data


@pytest.mark.parametrize(("verb", "status"), REFUSED)
def test_a_forbidden_verb_changes_nothing_and_names_the_remedy(
    api: APIClient, bring: Bring, verb: str, status: Status
) -> None:
    deployment = bring(status)
    before = kinds(deployment)

    error = refusal(api.post(path(deployment, verb)), 409)

    assert error["code"] == "conflict"
    assert f"Deployment {deployment.pk} is {status}" in error["detail"]
    if verb in ("start", "stop", "cancel"):
        assert REMEDIES.get(status, "start it again") in error["detail"]
    assert kinds(deployment) == before


@pytest.mark.parametrize("status", [Status.STARTING, Status.RUNNING, Status.STOPPING])
def test_a_deployment_on_a_cluster_cannot_be_deleted(
    api: APIClient, bring: Bring, status: Status
) -> None:
    error = refusal(api.delete(path(bring(status))), 409)

    assert "stop it, wait until it has ended" in error["detail"]


@pytest.mark.parametrize("status", ["pending", "completed", "failed", "stopped", "cancelled"])
def test_a_deployment_on_no_cluster_can_be_deleted_and_its_events_stay(
    api: APIClient, bring: Bring, status: str
) -> None:
    deployment = bring(Status(status))

    assert api.delete(path(deployment)).status_code == 204

    assert refusal(api.get(path(deployment)), 404)["code"] == "not_found"
    assert kinds(deployment)[-1] == "deleted"


def test_holding_twice_writes_one_event(api: APIClient, submit: Submit) -> None:
    deployment = submit()

    answers = [api.post(path(deployment, "hold")).data for _ in range(2)]

    assert [answer["held"] for answer in answers] == [True, True]
    assert "Held by alice" in answers[0]["status_reason"]
    assert kinds(deployment) == ["submitted", "held"]


def test_releasing_twice_writes_one_event(api: APIClient, submit: Submit) -> None:
    deployment = submit()
    services.hold(deployment, actor="alice")

    answers = [api.post(path(deployment, "release")).data for _ in range(2)]

    assert [answer["held"] for answer in answers] == [False, False]
    assert kinds(deployment) == ["submitted", "held", "released"]


def test_starting_again_does_not_release_a_held_deployment(
    api: APIClient, submit: Submit, bob: User, client_for: ClientFor
) -> None:
    deployment = submit()
    services.hold(deployment, actor="alice")
    client_for(bob).post(path(deployment, "cancel"))

    data = client_for(bob).post(path(deployment, "start")).data

    assert (data["status"], data["held"]) == ("pending", True)
    assert "until it is released" in data["status_reason"]
    assert "until it is released" in api.get(path(deployment, "explain")).data["reason"]


def test_starting_again_queues_it_like_a_new_deployment(api: APIClient, bring: Bring) -> None:
    deployment = bring(Status.FAILED)

    data = api.post(path(deployment, "start")).data

    assert data["queued_at"] > data["created_at"]
    cleared = ("cluster", "exit_code", "placed_at", "started_at", "finished_at")
    assert [data[key] for key in cleared] == [None] * 5
    assert data["preemptions"] == 0


def test_a_deployment_has_the_times_of_its_placement_and_of_its_container(
    api: APIClient, bring: Bring
) -> None:
    starting, running = bring(Status.STARTING), bring(Status.RUNNING)

    before = api.get(path(starting)).data
    after = api.get(path(running)).data

    run = running.runs.get()
    assert (parse_datetime(before["placed_at"]), before["started_at"]) == (starting.placed_at, None)
    assert parse_datetime(after["placed_at"]) == run.placed_at
    assert parse_datetime(after["started_at"]) == run.started_at
    assert after["placed_at"] < after["started_at"]


def test_a_checkpoint_is_recorded_in_the_history(api: APIClient, bring: Bring) -> None:
    deployment = bring(Status.RUNNING)

    api.post(path(deployment, "checkpoint"))

    deployment.refresh_from_db()
    assert deployment.checkpoint_at is not None
    assert kinds(deployment)[-1] == "checkpoint"


def test_events_are_listed_oldest_first(api: APIClient, bring: Bring) -> None:
    deployment = bring(Status.RUNNING)
    api.post(path(deployment, "stop"))

    rows = api.get(path(deployment, "events")).data["results"]

    assert [row["kind"] for row in rows] == ["submitted", "placed", "running", "stop_requested"]
    assert [row["status"] for row in rows] == ["pending", "starting", "running", "stopping"]
    assert all(set(row) == {"time", "kind", "actor", "reason", "status", "data"} for row in rows)
    assert rows[-1]["actor"] == "alice"
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)


def test_events_come_in_pages(api: APIClient, bring: Bring) -> None:
    deployment = bring(Status.RUNNING)

    page = api.get(path(deployment, "events?limit=1&offset=1")).data

    assert page["count"] == 3
    assert [row["kind"] for row in page["results"]] == ["placed"]


def test_verbs_refuse_a_body(api: APIClient, submit: Submit) -> None:
    assert api.post(path(submit(), "cancel"), {}).status_code == 200
    deployment = submit()
    error = refusal(api.post(path(deployment, "cancel"), {"dry_run": True}), 400)
    assert "takes no body" in error["detail"]
    deployment.refresh_from_db()
    assert deployment.status == Status.PENDING


@pytest.mark.parametrize("number", ["0", "99999999", "9" * 40])
@pytest.mark.parametrize("verb", ["start", "stop", "cancel", "hold", "release", "checkpoint"])
def test_an_unknown_deployment_is_not_found(api: APIClient, verb: str, number: str) -> None:
    assert refusal(api.post(f"/deployments/{number}/{verb}"), 404)["code"] == "not_found"


@pytest.mark.parametrize("verb", ["start", "stop", "cancel", "hold", "release", "checkpoint"])
def test_verbs_allow_only_post(api: APIClient, submit: Submit, verb: str) -> None:
    response = api.get(path(submit(), verb))

    assert response.status_code == 405
    assert ids(api.get("/deployments?status=pending")) != []
