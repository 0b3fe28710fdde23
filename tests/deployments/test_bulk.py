"""POST /deployments/bulk: up to 1,000 deployments, all or none."""

from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries, Settings
from rest_framework.test import APIClient

from accounts.models import User
from clusters.models import Cluster
from deployments.models import Deployment
from orgs.models import Event, Organization, Role
from tests.fixtures.deployments import MemberAs, Submit
from tests.fixtures.people import ClientFor

pytestmark = pytest.mark.django_db


def named(answer: Any) -> list[str | None]:
    """Return the fields that an error names, whatever its status."""
    return [error["attr"] for error in answer.data["errors"]]


@pytest.fixture
def api(client_for: ClientFor, bob: User, forge: Cluster) -> APIClient:
    return client_for(bob)


def row(**fields: Any) -> dict[str, Any]:
    return {"name": "sweep", "image": "pytorch", "cpu": 1, "ram_mib": 1024, **fields}


def test_all_are_submitted_in_their_order(api: APIClient, bob: User, submit: Submit) -> None:
    first = submit()
    rows = [row(name=f"sweep-{n}", env={"N": {"secret": str(n)}}) for n in range(3)]
    rows[2]["depends_on"] = [first.pk]

    answer = api.post("/deployments/bulk", {"deployments": rows})

    assert answer.status_code == 201
    created = answer.data["deployments"]
    assert [d["name"] for d in created] == ["sweep-0", "sweep-1", "sweep-2"]
    assert created[2]["depends_on"] == [{"deployment": first.pk, "condition": "completed"}]
    assert created[0]["env"] == {"N": {"secret": None}}
    assert {d["created_by"] for d in created} == {bob.pk}
    events = Event.objects.filter(kind="submitted", subject_id__in=[d["id"] for d in created])
    assert {(e.status, e.actor) for e in events} == {("pending", "bob")}
    assert events.count() == 3


def test_the_response_has_the_same_fields_as_that_of_a_single_submission(api: APIClient) -> None:
    (one,) = api.post("/deployments/bulk", {"deployments": [row()]}).data["deployments"]
    other = api.post("/deployments", row()).data

    unlike = {"id", "created_at", "queued_at"}
    assert {k: v for k, v in one.items() if k not in unlike} == {
        k: v for k, v in other.items() if k not in unlike
    }


WRONG = [
    ({"cpu": 0}, "cpu"),
    ({"cpus": 1}, "cpus"),
    ({"gpu": 99}, "gpu"),
    ({"depends_on": [4711]}, "depends_on"),
    ({"cluster": 4711}, "cluster"),
    ({"requested_cluster": 4711}, "requested_cluster"),
    ({"organization": 4711}, "organization"),
    ({"image": "Not/An:Image"}, "image"),
    ({"env": {"A": {"secret": None}}}, "env"),
]


@pytest.mark.parametrize(("wrong", "attr"), WRONG)
def test_a_single_submission_and_a_bulk_of_one_are_refused_alike(
    api: APIClient, wrong: dict[str, Any], attr: str
) -> None:
    one = api.post("/deployments", row(**wrong))
    bulk = api.post("/deployments/bulk", {"deployments": [row(**wrong)]})

    assert named(one) == [attr]
    assert one.status_code == bulk.status_code
    for error in bulk.data["errors"]:
        error["attr"] = error["attr"].removeprefix("deployments.0.")
    assert one.data == bulk.data


def test_an_error_about_the_whole_request_names_no_entry(
    api: APIClient, settings: Settings
) -> None:
    settings.MAX_PENDING_PER_USER = 1
    rows = [row(), row()]
    bulk = api.post("/deployments/bulk", {"deployments": rows})
    assert api.post("/deployments", row()).status_code == 201
    one = api.post("/deployments", row())

    assert (bulk.status_code, one.status_code) == (409, 409)
    assert (named(bulk), named(one)) == ([None], [None])


def test_a_single_submission_and_a_bulk_of_one_record_the_same(
    api: APIClient, submit: Submit
) -> None:
    wanted = row(depends_on=[submit().pk])
    one = api.post("/deployments", wanted).data
    (other,) = api.post("/deployments/bulk", {"deployments": [wanted]}).data["deployments"]

    assert one["status_code"] == "dependency"
    assert traces(one["id"]) == traces(other["id"])


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": "other"},
        {"labels": {"team": "vision"}, "env": {"A": "1"}, "command": ["run"]},
        {"prefer": {"zone": {"in": ["a"], "weight": 5}}, "run_as": 1000},
        {"gpu": 1, "priority": 7, "max_runtime_s": 60, "restart_policy": "on-failure"},
    ],
)
@pytest.mark.parametrize("all_alike", [True, False])
def test_a_bulk_stores_what_single_submissions_store(
    api: APIClient, fields: dict[str, Any], all_alike: bool
) -> None:
    rows = [row(**fields), row(**fields) if all_alike else row()]
    bulk = api.post("/deployments/bulk", {"deployments": rows}).data["deployments"]
    singles = [api.post("/deployments", each).data for each in rows]

    assert [stored(each["id"]) for each in bulk] == [stored(each["id"]) for each in singles]


def stored(deployment: int) -> dict[str, Any]:
    """Return the columns of a deployment without id and times."""
    (columns,) = Deployment.objects.filter(pk=deployment).values()
    return {k: v for k, v in columns.items() if k not in ("id", "created_at", "queued_at")}


def traces(deployment: int) -> list[dict[str, Any]]:
    """Return the events of a deployment without ids and times."""
    rows = Event.objects.filter(subject=Event.Subject.DEPLOYMENT, subject_id=deployment).values()
    return [{k: v for k, v in row.items() if k not in ("id", "subject_id", "time")} for row in rows]


@pytest.mark.parametrize(("wrong", "attr"), WRONG)
def test_a_wrong_entry_is_named_and_nothing_is_stored(
    api: APIClient, wrong: dict[str, Any], attr: str
) -> None:
    answer = api.post("/deployments/bulk", {"deployments": [row(), row(), row(**wrong)]})

    assert answer.status_code in (400, 404)
    assert named(answer) == [f"deployments.2.{attr}"]
    assert not Deployment.objects.exists()
    assert not Event.objects.filter(kind="submitted").exists()


def test_all_wrong_entries_are_named_at_once(api: APIClient) -> None:
    rows = [row(cpu=0), row(), row(name="")]

    answer = api.post("/deployments/bulk", {"deployments": rows})

    assert named(answer) == ["deployments.0.cpu", "deployments.2.name"]


@pytest.mark.parametrize("count", [0, 1001])
def test_an_empty_bulk_and_one_that_is_too_large_are_refused(api: APIClient, count: int) -> None:
    answer = api.post("/deployments/bulk", {"deployments": [row()] * count})

    assert answer.status_code == 400
    assert named(answer) == ["deployments"]


def test_a_viewer_cannot_submit_a_bulk(
    client_for: ClientFor, member_as: MemberAs, forge: Cluster
) -> None:
    answer = client_for(member_as(Role.VIEWER)).post("/deployments/bulk", {"deployments": [row()]})

    assert answer.status_code == 403
    assert not Deployment.objects.exists()


def test_a_strangers_cluster_does_not_exist(
    api: APIClient, globex: Organization, globex_cluster: Cluster
) -> None:
    rows = [row(), row(cluster=globex_cluster.pk)]

    answer = api.post("/deployments/bulk", {"deployments": rows})

    assert answer.status_code == 404
    assert named(answer) == ["deployments.1.cluster"]


def test_the_same_key_submits_once(api: APIClient) -> None:
    body = {"deployments": [row(), row()]}

    answers = [
        api.post("/deployments/bulk", body, headers={"Idempotency-Key": "sweep"}) for _ in range(2)
    ]

    assert answers[0].data == answers[1].data
    assert Deployment.objects.count() == 2


def test_the_number_of_statements_does_not_depend_on_the_number_of_entries(
    api: APIClient, submit: Submit, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    first = submit()

    for count in (1, 300):
        with django_assert_max_num_queries(24):
            answer = api.post(
                "/deployments/bulk", {"deployments": [row(depends_on=[first.pk])] * count}
            )
        assert answer.status_code == 201
