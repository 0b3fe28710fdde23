"""Arrays: one submission of many equal deployments, and their progress in one row."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import AuditEntry, User
from clusters.models import Cluster
from deployments import lifecycle
from deployments.choices import Status
from deployments.lifecycle import Change, transition
from deployments.models import Array, Deployment
from deployments.retention import purge_ended
from orgs.models import Event, Organization, Role
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import MemberAs, Submit
from tests.fixtures.people import ClientFor
from tests.support.answers import attrs, ids, refusal

BODY = {
    "name": "sweep", "image": "pytorch", "cpu": 1, "ram_mib": 1024, "env": {"LR": "0.1"},
    "labels": {"run": "42"}, "array": {"size": 5, "at_once": 2},
}  # fmt: skip


@pytest.fixture
def api(bob: User, forge: Cluster, client_for: ClientFor) -> APIClient:
    return client_for(bob)


def elements(array: int) -> list[Deployment]:
    return list(Deployment.objects.filter(array=array).order_by("array_index"))


def test_a_submission_makes_equal_elements_that_know_their_index(
    api: APIClient, bob: User, acme: Organization
) -> None:
    made = api.post("/deployments", BODY)

    assert made.status_code == 201, made.data
    array = made.data["array"]["id"]
    assert made.data["array"] == {"id": array, "index": 0, "size": 5, "at_once": 2}
    assert made.headers["Location"] == f"/deployments/{made.data['id']}"
    rows = elements(array)
    assert [row.name for row in rows] == [f"sweep-{n}" for n in range(5)]
    assert [row.env for row in rows] == [
        {"LR": "0.1", "HV_INDEX": str(n), "HV_ARRAY_SIZE": "5"} for n in range(5)
    ]
    assert {(row.image, row.cpu_milli, str(row.labels)) for row in rows} == {
        ("pytorch", 1000, str(BODY["labels"]))
    }
    assert [row.status_code for row in rows] == ["submitted"] * 2 + ["array_limit"] * 3
    assert rows[4].status_reason == (
        "Its array runs at most 2 elements at once: waits until another one has ended."
    )
    assert ids(api.get(f"/deployments?array={array}&ordering=id")) == [row.pk for row in rows]
    assert api.get(f"/deployments/{rows[4].pk}").data["array"]["index"] == 4
    events = Event.objects.filter(kind="submitted", subject_id__in=[row.pk for row in rows])
    assert events.count() == 5


def test_the_progress_of_an_array_is_one_row(api: APIClient) -> None:
    array = api.post("/deployments", BODY).data["array"]["id"]
    first, *_ = elements(array)
    transition(lifecycle.CANCEL, [Change(first.pk, "so")], actor="bob", now=timezone.now())

    shown = api.get(f"/arrays/{array}").data

    none = dict.fromkeys(map(str, Status), 0)
    assert shown["counts"] == none | {"pending": 4, "cancelled": 1}
    assert (shown["name"], shown["size"], shown["at_once"]) == ("sweep", 5, 2)
    assert api.get("/arrays?name=swe").data["results"] == [shown]
    assert ids(api.get("/arrays?name=other")) == []


def test_a_stranger_sees_no_array(api: APIClient, client_for: ClientFor, charlie: User) -> None:
    array = api.post("/deployments", BODY).data["array"]["id"]

    refusal(client_for(charlie).get(f"/arrays/{array}"), 404)
    assert ids(client_for(charlie).get("/arrays")) == []


def test_failed_elements_are_retried_by_one_call(api: APIClient) -> None:
    array = api.post("/deployments", BODY).data["array"]["id"]
    assert api.post(f"/deployments/cancel?array={array}").data["remaining"] == 0
    rows = elements(array)
    Deployment.objects.filter(pk__in=[rows[1].pk, rows[3].pk]).update(status=Status.FAILED)

    retried = api.post(f"/deployments/start?array={array}&status=failed").data

    assert retried["deployments"] == [rows[1].pk, rows[3].pk]
    assert api.get(f"/arrays/{array}").data["counts"]["pending"] == 2


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"array": 5}, "array"),
        ({"array": {"at_once": 2}}, "array.size"),
        ({"array": {"size": 0}}, "array.size"),
        ({"array": {"size": True}}, "array.size"),
        ({"array": {"size": 5, "at_once": 0}}, "array.at_once"),
        ({"array": {"size": 5, "at_once": 2**31}}, "array.at_once"),
        ({"array": {"size": 5, "id": 3}}, "array.id"),
        ({"array": {"size": 10_001}}, "array.size"),
        ({"name": "n" * 199}, "name"),
        ({"env": {"HV_INDEX": "7"}}, "env.HV_INDEX"),
    ],
)
def test_an_impossible_array_is_refused(api: APIClient, change: dict[str, Any], named: str) -> None:
    for query in ("", "?dry_run=true"):
        assert attrs(api.post(f"/deployments{query}", BODY | change)) == {named}
    assert not Array.objects.exists()


def test_an_error_of_an_array_names_the_bounds_or_the_fields(api: APIClient, settings: Any) -> None:
    settings.MAX_ARRAY_SIZE = 500

    def error(**array: Any) -> tuple[str, str]:
        found = refusal(api.post("/deployments", BODY | {"array": array}), 400)
        return found["code"], found["detail"]

    assert error(size=0) == ("invalid", "Give a whole number from 1 to 500.")
    assert error(size=5, at_once=0) == (
        "invalid",
        "Give a whole number from 1 to 2147483647, or null for any number at once.",
    )
    assert error(at_once=2) == ("required", "This field is required.")
    assert error(size=0, id=3) == (
        "unknown_field",
        "There is no such field. The fields are: size, at_once.",
    )
    bulk = {"deployments": [BODY, BODY | {"array": {"size": 5, "at_once": 0}}]}
    assert attrs(api.post("/deployments/bulk", bulk)) == {"deployments.1.array.at_once"}


def test_the_error_of_an_unknown_field_lists_what_can_be_set_and_where_it_belongs(
    api: APIClient,
) -> None:
    error = refusal(api.post("/deployments", BODY | {"at_once": 3}), 400)

    assert (error["attr"], error["code"]) == ("at_once", "unknown_field")
    assert error["detail"].startswith(
        "There is no such field. Did you mean `array.at_once`? The fields are: organization, name,"
    )
    fields = error["detail"].rpartition(": ")[2].rstrip(".").split(", ")
    assert {"array", "depends_on", "cluster"} < set(fields)
    assert not {"id", "placed_at", "status", "node"} & set(fields)


def test_the_arrays_of_a_bulk_are_limited_together(api: APIClient, settings: Any) -> None:
    settings.MAX_ARRAY_SIZE = 9
    entries = [BODY, BODY | {"array": None}, BODY]

    error = refusal(api.post("/deployments/bulk", {"deployments": entries}), 400)
    assert (error["attr"], error["code"]) == ("deployments.0.array.size", "too_many")

    settings.MAX_ARRAY_SIZE = 10
    made = api.post("/deployments/bulk", {"deployments": entries}).data["deployments"]
    assert [each["array"] and each["array"]["index"] for each in made] == [0, None, 0]
    assert Deployment.objects.count() == 11


def test_every_element_counts_against_the_limits(api: APIClient, settings: Any) -> None:
    settings.MAX_PENDING_PER_USER = 4

    assert refusal(api.post("/deployments", BODY), 409)["code"] == "limit_reached"
    assert not Array.objects.exists()


def test_what_an_element_requests_cannot_be_changed(api: APIClient) -> None:
    made = api.post("/deployments", BODY).data
    path = f"/deployments/{made['id']}"

    assert "element of array" in refusal(api.patch(path, {"cpu": 2}), 409)["detail"]
    assert attrs(api.patch(path, {"array": {"size": 6}})) == {"array"}
    changed = api.patch(path, {"priority": 60, "array": made["array"]})
    assert (changed.data["priority"], changed.data["array"]) == (60, made["array"])


def test_the_number_of_statements_does_not_depend_on_the_size(api: APIClient) -> None:
    counts = []
    for size in (2, 60):
        with CaptureQueriesContext(connection) as queries:
            api.post("/deployments", BODY | {"array": {"size": size}})
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_the_limit_of_an_array_can_be_changed(
    api: APIClient, acme: Organization, bob: User, django_capture_on_commit_callbacks: Any
) -> None:
    array = api.post("/deployments", BODY).data["array"]["id"]
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)

    with django_capture_on_commit_callbacks() as requests:
        raised = api.patch(f"/arrays/{array}", {"at_once": 3})

    assert raised.status_code == 200, raised.data
    assert (raised.data["at_once"], raised.data["counts"]["starting"]) == (3, 2)
    assert len(requests) == 1
    entry = AuditEntry.objects.get(model="deployments.array")
    limits = [values and values["at_once"] for values in (entry.before, entry.after)]
    assert (limits, entry.actor) == ([2, 3], bob)
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    assert api.patch(f"/arrays/{array}", {"at_once": 1}).data["counts"]["starting"] == 3
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    assert api.get(f"/arrays/{array}").data["counts"]["starting"] == 3
    assert elements(array)[4].status_reason == (
        "Its array runs at most one element at once: waits until another one has ended."
    )
    with django_capture_on_commit_callbacks() as requests:
        assert api.patch(f"/arrays/{array}", {"at_once": 1}).status_code == 200
        assert api.patch(f"/arrays/{array}", {}).status_code == 200
    assert requests == []
    api.patch(f"/arrays/{array}", {"at_once": None})
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    assert api.get(f"/arrays/{array}").data["counts"]["starting"] == 5


def test_a_dry_run_of_another_limit_shows_which_elements_would_start(
    api: APIClient, acme: Organization
) -> None:
    array = api.post("/deployments", BODY | {"array": {"size": 12, "at_once": 2}}).data["array"]
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    path = f"/arrays/{array['id']}?dry_run=true"

    higher, lower, any_number = (
        api.patch(path, {"at_once": at_once}).data for at_once in (4, 1, None)
    )

    def started(tried: Any) -> list[tuple[str, int]]:
        rows = tried["preview"]["consequences"]
        return [(row["kind"], row["deployment"]) for row in rows]

    ids_of = [row.pk for row in elements(array["id"])]
    assert higher["at_once"] == 4
    assert started(higher) == [("starts", pk) for pk in ids_of[2:4]]
    assert started(lower) == []
    assert started(any_number) == [("starts", pk) for pk in ids_of[2:8]]
    assert api.get(f"/arrays/{array['id']}").data["at_once"] == 2


@pytest.mark.parametrize(
    ("body", "named", "code"),
    [
        ({"at_once": 0}, "at_once", "min_value"),
        ({"at_once": 2**31}, "at_once", "max_value"),
        ({"at_once": "many"}, "at_once", "invalid"),
        ({"at_once": 3, "size": 9}, "size", "invalid"),
        ({"limit": 3}, "limit", "unknown_field"),
    ],
)
def test_a_wrong_change_of_an_array_is_refused(
    api: APIClient, body: dict[str, Any], named: str, code: str
) -> None:
    made = api.post("/deployments", BODY).data["array"]

    error = refusal(api.patch(f"/arrays/{made['id']}", body), 400)

    assert (error["attr"], error["code"]) == (named, code)
    present = api.get(f"/arrays/{made['id']}").data
    assert api.patch(f"/arrays/{made['id']}", present).data == present


def test_the_submitter_and_admins_may_change_the_limit_of_an_array(
    api: APIClient, alice: User, client_for: ClientFor, member_as: MemberAs, bob: User
) -> None:
    array = api.post("/deployments", BODY).data["array"]["id"]
    other = member_as(Role.DEVELOPER)

    refusal(client_for(other).patch(f"/arrays/{array}", {"at_once": 3}), 403)
    assert client_for(alice).patch(f"/arrays/{array}", {"at_once": 3}).status_code == 200
    handed_over = {"from_user": bob.pk, "to_user": other.pk}
    assert client_for(alice).post("/deployments/hand-over", handed_over).status_code == 200
    assert client_for(other).patch(f"/arrays/{array}", {"at_once": 4}).status_code == 200
    refusal(api.patch(f"/arrays/{array}", {"at_once": 3}), 403)


def test_an_array_is_deleted_with_its_last_element(api: APIClient) -> None:
    array = api.post("/deployments", BODY | {"array": {"size": 2}}).data["array"]["id"]
    first, last = elements(array)

    assert api.delete(f"/deployments/{first.pk}").status_code == 204
    assert ids(api.get("/arrays")) == [array]
    assert api.delete(f"/deployments/{last.pk}?dry_run=true").status_code == 200
    assert api.delete(f"/deployments/{last.pk}").status_code == 204
    assert ids(api.get("/arrays")) == []


def test_an_array_is_deleted_after_its_last_element(api: APIClient, settings: Any) -> None:
    settings.DEPLOYMENT_HISTORY_DAYS = 10
    array = api.post("/deployments", BODY).data["array"]["id"]
    kept = api.post("/deployments", BODY).data["array"]["id"]
    api.post(f"/deployments/cancel?array={array}")

    purge_ended(timezone.now() + timedelta(days=11))

    assert [row.pk for row in Array.objects.all()] == [kept]


def test_operators_see_the_array_and_filter_by_it(
    api: APIClient, console: Client, submit: Submit
) -> None:
    submit()
    made = api.post("/deployments", BODY).data
    array, path = made["array"]["id"], "/admin/deployments/deployment/"

    page = console.get(f"{path}{made['id']}/change/").content.decode()
    assert f"{path}?array={array}" in page
    listed = console.get(path, {"array": array}).context["cl"].result_list
    assert len(listed) == 5
