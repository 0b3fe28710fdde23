"""POST /deployments: accepted requests, their responses, and refusals."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from clusters.models import Cluster
from clusters.resources import describe
from deployments.choices import Status
from deployments.models import Deployment
from orgs.models import Event, Membership, Organization, Role
from tests.fixtures.deployments import Submit
from tests.fixtures.people import ClientFor
from tests.support.answers import attrs, refusal
from tests.support.factories import make_cluster

KEYS = {
    "id", "organization", "name", "labels", "image", "command", "env", "run_as", "cpu", "ram_mib",
    "gpu",
    "ephemeral_storage_mib", "priority", "requested_cluster", "require", "prefer", "cluster",
    "node", "status", "status_reason", "status_code", "held", "max_runtime_s", "restart_policy",
    "max_restarts", "restarts", "depends_on", "on_dependency_failure", "array", "preemptions",
    "exit_code", "created_by", "created_at", "queued_at", "ready_after", "placed_at", "started_at",
    "finished_at", "lost_contact_at",
}  # fmt: skip
BODY = {"name": "train", "image": "pytorch", "cpu": 1, "ram_mib": 1024}


@pytest.fixture
def api(bob: User, forge: Cluster, client_for: ClientFor) -> APIClient:
    return client_for(bob)


def test_a_minimal_request_gets_defaults_for_the_rest(
    api: APIClient, acme: Organization, bob: User
) -> None:
    response = api.post("/deployments", BODY)

    assert response.status_code == 201
    assert set(response.data) == KEYS
    unknown = {"id", "created_at", "queued_at", "status_reason"}
    row = {key: value for key, value in response.data.items() if key not in unknown}
    assert row == BODY | {
        "organization": acme.pk,
        "labels": {},
        "command": [],
        "env": {},
        "run_as": None,
        "gpu": 0,
        "ephemeral_storage_mib": None,
        "priority": 50,
        "requested_cluster": None,
        "cluster": None,
        "node": None,
        "require": {},
        "prefer": {},
        "status": "pending",
        "status_code": "submitted",
        "held": False,
        "max_runtime_s": None,
        "restart_policy": "never",
        "max_restarts": 3,
        "restarts": 0,
        "depends_on": [],
        "on_dependency_failure": "wait",
        "array": None,
        "preemptions": 0,
        "exit_code": None,
        "created_by": bob.pk,
        "ready_after": None,
        "placed_at": None,
        "started_at": None,
        "finished_at": None,
        "lost_contact_at": None,
    }
    event = Event.objects.get(subject="deployment", subject_id=response.data["id"])
    assert (event.kind, event.actor, event.status) == ("submitted", "bob", "pending")


def test_all_fields_are_stored(api: APIClient, forge: Cluster, submit: Submit) -> None:
    first = submit()
    full = BODY | {
        "command": ["python", "train.py"],
        "env": {"LR": "0.1", "EMPTY": ""},
        "cpu": 0.125,
        "gpu": 2,
        "priority": 100,
        "requested_cluster": forge.pk,
        "max_runtime_s": 60,
        "ephemeral_storage_mib": 2048,
        "depends_on": [{"deployment": first.pk, "condition": "running"}],
        "on_dependency_failure": "cancel",
    }

    created = api.post("/deployments", full).data

    assert {key: created[key] for key in full} == full
    assert api.get(f"/deployments/{created['id']}").data == created


@pytest.mark.parametrize("word", ["cluster", "requested_cluster"])
def test_cluster_means_the_requested_cluster(api: APIClient, forge: Cluster, word: str) -> None:
    data = api.post("/deployments", BODY | {word: forge.pk}).data

    assert (data["requested_cluster"], data["cluster"]) == (forge.pk, None)


def test_a_bare_id_waits_for_completion(api: APIClient, submit: Submit) -> None:
    first = submit()

    data = api.post("/deployments", BODY | {"depends_on": [first.pk]}).data

    assert data["depends_on"] == [{"deployment": first.pk, "condition": "completed"}]


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ({"cpu": "250m"}, {"cpu": 0.25}),
        ({"cpu": "1.5"}, {"cpu": 1.5}),
        ({"cpu": 2.0}, {"cpu": 2}),
        ({"ram_mib": "8Gi"}, {"ram_mib": 8192}),
        ({"ram_mib": "100Ki"}, {"ram_mib": 1}),
        ({"ephemeral_storage_mib": "20Gi"}, {"ephemeral_storage_mib": 20480}),
        ({"ephemeral_storage_mib": 100}, {"ephemeral_storage_mib": 100}),
    ],
)
def test_quantities_are_accepted_in_either_form_and_returned_as_numbers(
    api: APIClient, sent: dict[str, Any], answered: dict[str, Any]
) -> None:
    data = api.post("/deployments", BODY | sent).data

    assert {key: data[key] for key in answered} == answered


@pytest.mark.parametrize(
    ("attr", "value"),
    [
        ("name", ""), ("name", "x" * 201), ("image", ""), ("image", "x" * 501), ("image", None),
        ("cpu", 0), ("cpu", 0.0001), ("cpu", "1e99999999m"), ("ram_mib", "lots"), ("gpu", -1),
        ("ephemeral_storage_mib", 0), ("ephemeral_storage_mib", "lots"),
        ("ephemeral_storage_mib", 1.5),
        ("priority", 0), ("priority", 101), ("priority", "high"), ("priority", None),
        ("command", "python"), ("command", ["x"] * 101), ("command", None),
        ("env", ["A=1"]), ("env", {"A=B": "1"}), ("env", {"": "1"}), ("env", {"A\0": "1"}),
        ("env", {"N": None}), ("env", {str(n): "" for n in range(101)}),
        ("max_runtime_s", 0), ("max_runtime_s", 2**31), ("requested_cluster", "forge"),
        ("depends_on", 7), ("depends_on", ["7"]), ("depends_on", [True]), ("depends_on", [10**30]),
        ("depends_on", [{"deployment": 7, "condition": "gone"}]), ("depends_on", [{}]),
        ("depends_on", [{"deployment": 7, "when": "completed"}]), ("depends_on", [999999]),
        ("depends_on", [{"deployment": 7, "condition": ["completed"]}]),
        ("depends_on", [0]), ("on_dependency_failure", "explode"),
        ("organization", "Acme"), ("gpus", 1),
    ],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
def test_a_wrong_field_is_named(api: APIClient, attr: str, value: Any) -> None:
    response = api.post("/deployments", BODY | {attr: value})

    assert {name.split(".")[0] for name in attrs(response)} == {attr}
    assert not Deployment.objects.exists()


@pytest.mark.parametrize(
    "text", [r'"env": {"\ud800": "1"}', r'"env": {"N": "\ud800"}', r'"name": "\ud800"']
)
def test_half_of_a_surrogate_pair_is_refused(api: APIClient, text: str) -> None:
    body = f'{{"image": "x", "cpu": 1, "ram_mib": 1, "name": "x", {text}}}'

    assert api.post("/deployments", body, content_type="application/json").status_code == 400


@pytest.mark.parametrize("missing", sorted(BODY))
def test_a_missing_field_is_named(api: APIClient, missing: str) -> None:
    response = api.post("/deployments", {k: v for k, v in BODY.items() if k != missing})

    assert attrs(response) == {missing}


@pytest.mark.parametrize("body", [[BODY], "train", 7, None])
def test_a_body_that_is_not_an_object_is_refused(api: APIClient, body: Any) -> None:
    assert api.post("/deployments", body).status_code == 400


def test_a_body_that_is_not_json_is_refused(api: APIClient) -> None:
    response = api.post("/deployments", "{", content_type="application/json")

    assert response.status_code == 400
    assert response.data["errors"][0]["code"] == "parse_error"


def test_read_only_fields_are_ignored(api: APIClient) -> None:
    sent = {"status": "running", "held": True, "preemptions": 9, "exit_code": 3, "created_by": 1}

    data = api.post("/deployments", BODY | sent).data

    assert (data["status"], data["held"], data["preemptions"]) == ("pending", False, 0)


@pytest.mark.parametrize(
    ("more", "attr"), [({"cpu": 9}, "cpu"), ({"ram_mib": "17Gi"}, "ram_mib"), ({"gpu": 3}, "gpu")]
)
def test_a_request_that_no_cluster_can_ever_hold_is_refused_with_the_capacities(
    api: APIClient, more: dict[str, Any], attr: str
) -> None:
    error = refusal(api.post("/deployments", BODY | more), 400)

    assert (error["code"], error["attr"]) == ("exceeds_capacity", attr)
    assert f"forge has {describe(8000, 16384, 2)}" in error["detail"]
    assert "Request less, or add a larger node." in error["detail"]


def test_a_combination_that_no_cluster_has_is_refused_without_naming_a_field(
    api: APIClient, acme: Organization
) -> None:
    make_cluster(acme, "cpus", cpu_milli=64000, ram_mib=1024)

    error = refusal(api.post("/deployments", BODY | {"cpu": 32, "gpu": 1}), 400)

    assert (error["code"], error["attr"]) == ("exceeds_capacity", None)


def test_only_the_requested_cluster_counts(
    api: APIClient, acme: Organization, forge: Cluster
) -> None:
    make_cluster(acme, "vast", cpu_milli=64000, ram_mib=10**6, gpu=8)

    error = refusal(api.post("/deployments", BODY | {"gpu": 4, "cluster": forge.pk}), 400)

    assert error["code"] == "exceeds_capacity"
    assert "vast" not in error["detail"]


def test_without_any_cluster_the_remedy_is_to_create_one(
    alice: User, acme: Organization, client_for: ClientFor
) -> None:
    error = refusal(client_for(alice).post("/deployments", BODY), 400)

    assert error["code"] == "exceeds_capacity"
    assert "create one first" in error["detail"]


def test_a_submission_to_a_full_cluster_is_accepted(api: APIClient, submit: Submit) -> None:
    submit(cpu_milli=8000)

    assert api.post("/deployments", BODY | {"cpu": 8}).status_code == 201


@pytest.mark.parametrize("query", ["", "?dry_run=true"])
@pytest.mark.parametrize("word", ["cluster", "requested_cluster"])
def test_a_cluster_of_another_organization_does_not_exist(
    api: APIClient, globex_cluster: Cluster, word: str, query: str
) -> None:
    error = refusal(api.post(f"/deployments{query}", BODY | {word: globex_cluster.pk}), 404)

    assert error["attr"] == word
    assert str(globex_cluster.pk) in error["detail"]


def test_another_organization_does_not_exist(api: APIClient, globex: Organization) -> None:
    error = refusal(api.post("/deployments", BODY | {"organization": globex.pk}), 404)

    assert error["attr"] == "organization"


def test_the_requested_cluster_determines_the_organization(
    api: APIClient, bob: User, globex: Organization, globex_cluster: Cluster, acme: Organization
) -> None:
    Membership.objects.create(organization=globex, user=bob, role=Role.DEVELOPER)

    unsaid = refusal(api.post("/deployments", BODY), 400)
    meant = api.post("/deployments", BODY | {"cluster": globex_cluster.pk})
    torn = api.post("/deployments", BODY | {"cluster": globex_cluster.pk, "organization": acme.pk})

    assert unsaid["attr"] == "organization"
    assert (meant.status_code, meant.data["organization"]) == (201, globex.pk)
    assert refusal(torn, 400)["attr"] == "organization"


def test_a_dependency_on_another_organizations_deployment_is_refused(
    api: APIClient, bob: User, globex: Organization, submit: Submit
) -> None:
    theirs = Deployment.objects.create(
        organization=globex, name="theirs", image="x", cpu_milli=1, ram_mib=1
    )

    error = refusal(api.post("/deployments", BODY | {"depends_on": [theirs.pk]}), 400)

    assert error["attr"] == "depends_on"
    assert "does not exist in this organization" in error["detail"]


def test_a_refused_dependency_stores_nothing(api: APIClient) -> None:
    refusal(api.post("/deployments", BODY | {"depends_on": [999999]}), 400)

    assert not Deployment.objects.filter(status=Status.PENDING).exists()
    assert not Event.objects.filter(subject="deployment").exists()


@pytest.mark.parametrize("query", ["dryrun=true", "dry_run=maybe", "limit=1"])
def test_a_wrong_query_parameter_submits_nothing(api: APIClient, query: str) -> None:
    error = refusal(api.post(f"/deployments?{query}", BODY), 400)

    assert error["attr"] == query.split("=")[0]
    assert not Deployment.objects.exists()
