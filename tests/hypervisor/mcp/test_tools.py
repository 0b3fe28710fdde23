"""The tools do what the REST API does, for the same callers, with the same sentences."""

from datetime import timedelta
from typing import Any

import jsonschema_rs
import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import AuditEntry, User
from clusters.models import Cluster
from deployments.choices import Status
from deployments.logs.models import RunOutput
from deployments.models import Deployment
from deployments.runtime.models import Run
from hypervisor.mcp import results, submission
from hypervisor.mcp.tools import TOOLS
from orgs.models import Event, Organization
from orgs.tokens.grants import Scope
from tests.fixtures.deployments import Bring, Submit
from tests.support.mcp import refused, sent, tool
from tests.support.tokens import client_with

pytestmark = pytest.mark.django_db

JOB: dict[str, Any] = {"name": "train", "image": "ml/train:1", "cpu": 1, "ram_mib": "1Gi"}
WRITING = {
    "submit_deployment": JOB,
    "stop_deployment": {"id": 1},
    "change_priority": {"id": 1, "priority": 7},
}


@pytest.fixture
def agent(bob: User, forge: Cluster) -> APIClient:
    """A client with a token of bob's to submit."""
    return client_with(bob, Scope.SUBMIT)


def confirmed(agent: APIClient, **job: Any) -> dict[str, Any]:
    """Return the arguments of a submission with the confirmation of its dry run."""
    return {**job, "confirmation": tool(agent, "submit_deployment", **job)["confirmation"]}


def listed() -> dict[str, Any]:
    return {name: each.listed() for name, each in TOOLS.items()}


def test_each_tool_has_closed_input_and_says_whether_it_only_reads(agent: APIClient) -> None:
    shown = {each["name"]: each for each in sent(agent, "tools/list").json()["result"]["tools"]}

    assert shown == listed()
    assert {name for name, each in shown.items() if not each["annotations"]["readOnlyHint"]} == {
        *WRITING
    }
    for each in shown.values():
        assert each["inputSchema"]["additionalProperties"] is False
        assert all(field.get("items") != {} for field in each["inputSchema"]["properties"].values())
        for schema in (each["inputSchema"], each["outputSchema"]):
            jsonschema_rs.meta.validate(schema)
            assert schema["type"] == "object"


def test_what_a_tool_returns_is_what_its_schema_says(
    agent: APIClient, bring: Bring, submit: Submit
) -> None:
    running, waiting = bring(Status.RUNNING, gpu=2), submit(gpu=2)
    job = confirmed(agent, **JOB)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("list_clusters", {"state": ["active"], "limit": 1}),
        ("list_deployments", {"status": ["running", "pending"], "created_by": ["me"]}),
        ("list_deployments", {"label": ["run=42"]}),
        ("get_deployment", {"id": running.pk}),
        ("explain_deployment", {"id": waiting.pk}),
        ("list_deployment_events", {"id": running.pk}),
        ("get_usage", {"organization_id": running.organization_id}),
        ("submit_deployment", JOB),
        ("submit_deployment", job),
        ("change_priority", {"id": waiting.pk, "priority": 60, "dry_run": True}),
        ("change_priority", {"id": waiting.pk, "priority": 60}),
        ("stop_deployment", {"id": running.pk, "dry_run": True}),
        ("stop_deployment", {"id": waiting.pk}),
    ]

    for name, arguments in calls:
        for schema, value in (
            (listed()[name]["inputSchema"], arguments),
            (listed()[name]["outputSchema"], tool(agent, name, **arguments)),
        ):
            jsonschema_rs.validate(schema, value)


def test_a_submission_needs_the_confirmation_of_its_dry_run(agent: APIClient, bring: Bring) -> None:
    victim = bring(Status.RUNNING, gpu=2, priority=10)
    job = {**JOB, "gpu": 2, "priority": 90}

    tried = tool(agent, "submit_deployment", **job)
    assert not tried["submitted"]
    assert [each["deployment"] for each in tried["dry_run"]["evictions"]] == [victim.pk]
    assert not Deployment.objects.filter(name="train").exists()

    made = tool(agent, "submit_deployment", **job, confirmation=tried["confirmation"])
    assert made["submitted"]
    assert Deployment.objects.get(name="train").pk == made["deployment"]["id"]


def test_the_dry_run_of_an_array_is_about_all_of_its_elements(
    agent: APIClient, bring: Bring
) -> None:
    victims = {bring(Status.RUNNING, gpu=1, priority=10).pk for _ in range(2)}
    job = {**JOB, "gpu": 1, "priority": 90, "array": {"size": 6, "at_once": 3}}

    tried = tool(agent, "submit_deployment", **job)

    assert {each["deployment"] for each in tried["dry_run"]["evictions"]} == victims
    assert (tried["dry_run"]["array"]["starting"], tried["dry_run"]["array"]["waiting"]) == (2, 4)
    jsonschema_rs.validate(listed()["submit_deployment"]["outputSchema"], tried)


def test_a_confirmation_submits_once(agent: APIClient) -> None:
    job = confirmed(agent, **JOB)

    first, repeated = (tool(agent, "submit_deployment", **job) for _ in range(2))
    other = tool(agent, "submit_deployment", **confirmed(agent, **JOB))

    assert first == repeated
    assert other["deployment"]["id"] != first["deployment"]["id"]
    assert Deployment.objects.count() == 2


def test_a_confirmation_is_for_one_caller_these_arguments_and_a_while(
    agent: APIClient, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = confirmed(agent, **JOB)

    for client, wrong in (
        (agent, {**job, "gpu": 1}),
        (agent, {**job, "confirmation": "yes"}),
        (client_with(alice), job),
    ):
        assert "exactly these arguments" in refused(client, "submit_deployment", **wrong)
    monkeypatch.setattr(submission, "VALID_S", -1)
    assert "expired" in refused(agent, "submit_deployment", **job)
    assert not Deployment.objects.exists()


@pytest.mark.parametrize("name", WRITING)
def test_a_token_to_read_changes_nothing(bob: User, bring: Bring, name: str) -> None:
    deployment = bring(Status.RUNNING)
    arguments = WRITING[name] | ({"id": deployment.pk} if "id" in WRITING[name] else {})
    before = Event.objects.count()

    text = refused(client_with(bob, Scope.READ), name, **arguments)

    assert "the scope submit; yours has the scope read." in text
    assert "(code token_scope)" in text
    assert Event.objects.count() == before


def test_a_stranger_and_a_token_for_another_organization_see_nothing(
    charlie: User, alice: User, bring: Bring
) -> None:
    deployment = bring(Status.RUNNING)
    other = Organization.objects.create(name="Initech")

    for client in (client_with(charlie), client_with(alice, Scope.ADMIN, other)):
        assert tool(client, "list_deployments")["count"] == 0
        assert tool(client, "list_clusters")["count"] == 0
        for name in ("get_deployment", "explain_deployment", "stop_deployment"):
            text = refused(client, name, id=deployment.pk)
            assert text == "It does not exist in any of your organizations. (code not_found)"


@pytest.mark.parametrize("value", [[], {}, ["true"]])
def test_a_dry_run_that_is_no_single_value_is_refused_and_changes_nothing(
    agent: APIClient, submit: Submit, bob: User, value: Any
) -> None:
    waiting = submit(priority=5, created_by=bob)

    text = refused(agent, "change_priority", id=waiting.pk, priority=60, dry_run=value)

    assert text == "dry_run: Give a single value."
    waiting.refresh_from_db()
    assert waiting.priority == 5


def test_a_filter_of_several_values_is_no_object(agent: APIClient) -> None:
    text = refused(agent, "list_deployments", status={"running": 1})

    assert text == "status: Give a list of values."


def test_a_dry_run_shows_whom_a_change_would_evict_and_changes_nothing(
    agent: APIClient, forge: Cluster, bring: Bring, submit: Submit
) -> None:
    victim = bring(Status.RUNNING, gpu=forge.gpu, name="victim", priority=10)
    waiting = submit(gpu=forge.gpu, priority=5)

    tried = tool(agent, "change_priority", id=waiting.pk, priority=90, dry_run=True)

    shown = {each["kind"]: each["name"] for each in tried["preview"]["consequences"]}
    assert shown["evicted"] == victim.name
    waiting.refresh_from_db()
    assert waiting.priority == 5


def test_what_a_tool_changes_is_in_the_trail_of_its_caller(
    agent: APIClient, bob: User, submit: Submit
) -> None:
    deployment = submit()

    row = tool(agent, "change_priority", id=deployment.pk, priority=77)

    assert row["priority"] == 77
    entry = AuditEntry.objects.filter(object_id=deployment.pk).latest("pk")
    assert (entry.actor, entry.via, entry.after) == (bob, "/mcp", {"priority": 77})


@pytest.mark.parametrize(
    ("status", "after"), [(Status.PENDING, "cancelled"), (Status.RUNNING, "stopping")]
)
def test_stopping_cancels_what_is_pending(
    agent: APIClient, bring: Bring, status: Status, after: str
) -> None:
    deployment = bring(status)

    assert tool(agent, "stop_deployment", id=deployment.pk)["status"] == after
    assert "code conflict" in refused(agent, "stop_deployment", id=deployment.pk)


@pytest.mark.parametrize(
    ("name", "arguments", "parts"),
    [
        ("get_deployment", {}, ["id: This argument is required."]),
        ("get_deployment", {"id": "7/../8"}, ["id: Give a whole number"]),
        ("get_deployment", {"id": 10**30}, ["id: Give a whole number"]),
        ("get_deployment", {"id": [7]}, ["id: Give a whole number"]),
        ("get_deployment", {"id": None}, ["id: This argument is required."]),
        ("get_deployment", {"id": -1}, ["id: Give a whole number"]),
        ("get_usage", {"organization_id": 10**18}, ["organization_id: Give a whole"]),
        ("get_usage", {"organization_id": "../1"}, ["organization_id: Give a whole number"]),
        ("list_deployments", {"page": 2}, ["page: There is no such argument."]),
        ("list_deployments", {"limit": 1000}, ["limit: Give a whole number from 1 to 100."]),
        ("list_deployments", {"cursor": "x"}, ["cursor: "]),
        ("list_deployments", {"status": ["asleep"]}, ["status: "]),
        ("list_deployments", {"status": {"a": 1}}, ["status: "]),
        ("read_deployment_logs", {"id": 1, "tail": "all"}, ["tail: Give a whole number"]),
        ("submit_deployment", {**JOB, "cpu": "x", "gpu": -1}, ["cpu: ", "\ngpu: "]),
        ("submit_deployment", {**JOB, "cluster": 1}, ["cluster: There is no such argument."]),
        ("change_priority", {"id": 1, "priority": 101}, ["code not_found"]),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_refused_by_name(
    agent: APIClient, name: str, arguments: dict[str, Any], parts: list[str]
) -> None:
    text = refused(agent, name, **arguments)

    assert [part for part in parts if part not in text] == []


def test_null_stands_for_an_argument_that_is_not_given(agent: APIClient, submit: Submit) -> None:
    submit()
    job = {**JOB, "requested_cluster": None, "confirmation": None, "priority": None}

    assert tool(agent, "list_deployments", name=None, limit=None, cursor=None)["count"] == 1
    made = tool(agent, "submit_deployment", **confirmed(agent, **job))
    assert made["deployment"]["priority"] == 50


def test_a_list_continues_at_its_cursor(agent: APIClient, submit: Submit) -> None:
    rows = [submit().pk for _ in range(3)]

    first = tool(agent, "list_deployments", limit=2, ordering="id")
    second = tool(agent, "list_deployments", limit=2, ordering="id", cursor=first["next_cursor"])

    assert [row["id"] for page in (first, second) for row in page["results"]] == rows
    assert (first["count"], second["next_cursor"]) == (3, None)
    assert "env" not in first["results"][0]


def test_an_output_is_cut_to_its_end(agent: APIClient, bring: Bring) -> None:
    deployment = bring(Status.COMPLETED)
    run = Run.objects.get(deployment=deployment)
    Run.objects.filter(pk=run.pk).update(
        launched_at=timezone.now() - timedelta(1), ended_at=timezone.now()
    )
    text = "".join(f"epoch {n:05} {'.' * 90}\n" for n in range(1000))
    RunOutput.objects.create(run=run, text=text.encode())

    whole = tool(agent, "read_deployment_logs", id=deployment.pk, tail=2)
    cut = tool(agent, "read_deployment_logs", id=deployment.pk, tail=1000)

    assert whole == {"output": text[-2 * 103 :], "truncated": False}
    assert cut["truncated"]
    assert len(cut["output"]) <= results.MOST_TEXT
    assert text.endswith("\n" + cut["output"])


def test_a_long_list_in_an_object_is_cut() -> None:
    many = {"clusters": list(range(250)), "code": "x"}

    cut = results.bounded(many)

    assert len(cut["clusters"]) == results.MOST_ROWS
    assert cut["omitted"] == {"clusters": 150}
    assert results.bounded({"clusters": [1]}) == {"clusters": [1]}


def test_a_refusal_says_when_to_repeat_the_call() -> None:
    error = {"errors": [{"attr": None, "detail": "Locked.", "code": "locked"}]}

    assert results.Refused.by_api(error, "2").text == (
        "Locked. (code locked)\nRepeat the call after 2 seconds."
    )
