"""Clusters over REST: shapes, units, states, and refusals with their remedies."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import User
from clusters import services
from clusters.capacity import Capacity
from clusters.models import Cluster
from clusters.resources import describe
from deployments import services as deployment_services
from deployments.choices import Status
from orgs.models import Event, Membership, Organization, Role
from tests.fixtures.deployments import Bring, Submit
from tests.fixtures.people import ClientFor
from tests.support.answers import attrs, ids, refusal

KEYS = {
    "id", "organization", "name", "cpu", "ram_mib", "gpu", "nodes", "allocated", "available",
    "largest_free", "state", "driver", "lost_contact_at", "created_at",
}  # fmt: skip
BODY = {"name": "anvil", "cpu": 4, "ram_mib": 8192, "gpu": 1}


@pytest.fixture
def api(alice: User, acme: Organization, client_for: ClientFor) -> APIClient:
    return client_for(alice)


def path(cluster: Cluster, verb: str = "") -> str:
    return f"/clusters/{cluster.pk}" + (f"/{verb}" if verb else "")


def test_creating_a_cluster_returns_it_in_full(api: APIClient, acme: Organization) -> None:
    response = api.post("/clusters", BODY)

    assert response.status_code == 201
    assert set(response.data) == KEYS
    row = {key: value for key, value in response.data.items() if key not in ("id", "created_at")}
    assert row == BODY | {
        "organization": acme.pk,
        "allocated": {"cpu": 0, "ram_mib": 0, "gpu": 0},
        "available": {"cpu": 4, "ram_mib": 8192, "gpu": 1},
        "nodes": 1,
        "largest_free": {"cpu": 4, "ram_mib": 8192, "gpu": 1},
        "state": "active",
        "driver": "simulated",
        "lost_contact_at": None,
    }
    assert Event.objects.filter(subject="cluster", subject_id=response.data["id"]).count() == 1


def test_reading_a_cluster_returns_the_same_as_creating_it(api: APIClient) -> None:
    created = api.post("/clusters", BODY).data

    assert api.get(f"/clusters/{created['id']}").data == created


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ({"cpu": 0.5}, {"cpu": 0.5}),
        ({"cpu": 1.125}, {"cpu": 1.125}),
        ({"cpu": "500m"}, {"cpu": 0.5}),
        ({"cpu": "2"}, {"cpu": 2}),
        ({"ram_mib": "8Gi"}, {"ram_mib": 8192}),
        ({"ram_mib": "500M"}, {"ram_mib": 477}),
        ({"gpu": 0}, {"gpu": 0}),
    ],
)
def test_quantities_are_accepted_in_either_form_and_returned_as_numbers(
    api: APIClient, sent: dict[str, Any], answered: dict[str, Any]
) -> None:
    response = api.post("/clusters", BODY | sent)

    assert response.status_code == 201
    assert {key: response.data[key] for key in answered} == answered


@pytest.mark.parametrize(
    ("attr", "value"),
    [
        ("cpu", 0), ("cpu", -1), ("cpu", 0.0001), ("cpu", "many"), ("cpu", True), ("cpu", None),
        ("cpu", "1e999999999"), ("cpu", "1e99999999m"), ("cpu", 10**30), ("cpu", [1]),
        ("ram_mib", 0), ("ram_mib", 1.5), ("ram_mib", "8Gb"), ("ram_mib", "9" * 1_000_001),
        ("ram_mib", True), ("gpu", -1), ("gpu", 0.5), ("gpu", 10**30),
        ("name", ""), ("name", "x" * 101), ("name", None), ("name", "a\0b"),
        ("organization", "Acme"), ("colour", "red"),
    ],
    ids=lambda value: repr(value)[:24],
)  # fmt: skip
def test_a_wrong_field_is_named(api: APIClient, attr: str, value: Any) -> None:
    response = api.post("/clusters", BODY | {attr: value})

    assert attrs(response) == {attr}
    assert not Cluster.objects.exists()


@pytest.mark.parametrize("missing", ["name", "cpu", "ram_mib"])
def test_a_missing_field_is_named(api: APIClient, missing: str) -> None:
    response = api.post("/clusters", {k: v for k, v in BODY.items() if k != missing})

    assert attrs(response) == {missing}


def test_a_name_is_unique_in_its_organization(api: APIClient, forge: Cluster) -> None:
    error = refusal(api.post("/clusters", BODY | {"name": "forge"}), 400)

    assert error["attr"] == "name"
    assert "choose another name" in error["detail"]


def test_two_organizations_may_use_the_same_cluster_name(
    charlie: User, globex: Organization, forge: Cluster, client_for: ClientFor
) -> None:
    assert client_for(charlie).post("/clusters", BODY | {"name": "forge"}).status_code == 201


def test_a_member_of_several_organizations_has_to_name_one(
    api: APIClient, alice: User, acme: Organization, globex: Organization
) -> None:
    Membership.objects.create(organization=globex, user=alice, role=Role.ADMIN)

    error = refusal(api.post("/clusters", BODY), 400)
    named = api.post("/clusters", BODY | {"organization": globex.pk})

    assert error["attr"] == "organization"
    assert "give the id of one of them" in error["detail"]
    assert (named.status_code, named.data["organization"]) == (201, globex.pk)


def test_the_requests_of_active_deployments_are_allocated(
    api: APIClient, forge: Cluster, bring: Bring
) -> None:
    for status in Status:
        bring(status, cpu_milli=500, ram_mib=100, gpu=int(status is Status.RUNNING))

    data = api.get(path(forge)).data

    assert data["allocated"] == {"cpu": 1, "ram_mib": 200, "gpu": 1}
    assert data["available"] == {"cpu": 7, "ram_mib": 16184, "gpu": 1}


def test_the_response_of_a_get_can_be_put_back(api: APIClient, forge: Cluster) -> None:
    read = api.get(path(forge)).data
    events = Event.objects.count()

    response = api.put(path(forge), read)

    assert (response.status_code, response.data) == (200, read)
    assert Event.objects.count() == events


def test_a_patch_changes_only_the_given_fields(api: APIClient, forge: Cluster) -> None:
    before = api.get(path(forge)).data

    after = api.patch(path(forge), {"cpu": 16}).data

    free = {"cpu": 16, "ram_mib": 16384, "gpu": 2}
    assert after == before | {"cpu": 16, "available": free, "largest_free": free}


def test_a_put_resets_omitted_fields(api: APIClient, forge: Cluster) -> None:
    response = api.put(path(forge), {"name": "smithy", "cpu": 2, "ram_mib": 1024})

    assert response.status_code == 200
    assert (response.data["name"], response.data["gpu"]) == ("smithy", 0)


def test_a_put_needs_the_same_fields_as_a_post(api: APIClient, forge: Cluster) -> None:
    assert attrs(api.put(path(forge), {"name": "smithy"})) == {"cpu", "ram_mib"}


def test_a_cluster_cannot_take_the_name_of_another(api: APIClient, forge: Cluster) -> None:
    api.post("/clusters", BODY)

    assert refusal(api.patch(path(forge), {"name": "anvil"}), 400)["attr"] == "name"


def test_a_cluster_cannot_change_its_organization(
    api: APIClient, forge: Cluster, globex: Organization
) -> None:
    response = api.patch(path(forge), {"organization": globex.pk})

    assert refusal(response, 400)["attr"] == "organization"


@pytest.mark.parametrize("shrunk", [{"cpu": 0.999}, {"ram_mib": 1023}, {"gpu": 0}])
def test_a_cluster_cannot_shrink_below_what_is_allocated(
    api: APIClient, forge: Cluster, bring: Bring, shrunk: dict[str, Any]
) -> None:
    bring(Status.STARTING, gpu=1)

    error = refusal(api.patch(path(forge), shrunk), 409)

    assert f"{describe(1000, 1024, 1)} are allocated" in error["detail"]
    assert "cordon the cluster" in error["detail"]


def test_a_cluster_may_shrink_to_what_is_allocated(
    api: APIClient, forge: Cluster, bring: Bring
) -> None:
    bring(Status.RUNNING)

    response = api.patch(path(forge), {"cpu": 1, "ram_mib": 1024, "gpu": 0})

    assert response.status_code == 200
    assert response.data["available"] == {"cpu": 0, "ram_mib": 0, "gpu": 0}


@pytest.mark.parametrize(
    ("verb", "state"), [("cordon", "cordoned"), ("drain", "draining"), ("uncordon", "active")]
)
def test_a_change_of_state_is_returned_and_recorded_once(
    api: APIClient, forge: Cluster, alice: User, verb: str, state: str
) -> None:
    if verb == "uncordon":
        services.cordon(forge, actor="alice")

    responses = [api.post(path(forge, verb)) for _ in range(2)]

    assert [(r.status_code, r.data["state"]) for r in responses] == [(200, state)] * 2
    assert set(responses[0].data) == KEYS
    event = Event.objects.get(subject="cluster", subject_id=forge.pk, kind=state)
    assert event.actor == "alice"


def test_a_cluster_without_deployments_can_be_deleted(api: APIClient, forge: Cluster) -> None:
    assert api.delete(path(forge)).status_code == 204
    assert refusal(api.get(path(forge)), 404)["code"] == "not_found"


@pytest.mark.parametrize("status", [Status.STARTING, Status.RUNNING, Status.STOPPING])
def test_a_cluster_with_deployments_on_it_cannot_be_deleted(
    api: APIClient, forge: Cluster, bring: Bring, status: Status
) -> None:
    bring(status)

    error = refusal(api.delete(path(forge)), 409)

    assert "drain it or stop them first" in error["detail"]


def test_a_cluster_with_stopping_containers_cannot_be_deleted(
    api: APIClient, forge: Cluster, bring: Bring
) -> None:
    deployment_services.requeue(bring(Status.RUNNING), actor="bob")

    error = refusal(api.delete(path(forge)), 409)

    assert "still stopping" in error["detail"]


def test_a_cluster_that_a_pending_deployment_requests_cannot_be_deleted(
    api: APIClient, forge: Cluster, submit: Submit
) -> None:
    waiting = submit(requested_cluster=forge)

    error = refusal(api.delete(path(forge)), 409)

    assert f"Deployment {waiting.pk} waits for cluster forge" in error["detail"]
    assert "cancel it" in error["detail"]


def test_a_cluster_that_no_pending_deployment_requests_can_be_deleted(
    api: APIClient, forge: Cluster, bring: Bring
) -> None:
    bring(Status.PENDING)
    bring(Status.CANCELLED, requested_cluster=forge)

    assert api.delete(path(forge)).status_code == 204


@pytest.mark.parametrize("number", ["0", "99999999", "9" * 40])
def test_an_unknown_cluster_is_not_found(api: APIClient, number: str) -> None:
    assert refusal(api.get(f"/clusters/{number}"), 404)["code"] == "not_found"


def grow_acme(organization: Organization, count: int) -> list[Cluster]:
    return [
        services.create(
            actor="alice", organization=organization, name=f"c{n}",
            capacity=Capacity(1000 * (n + 1), 1024, 0),
        )
        for n in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [0, 1, 2]),
        ("?name=C1", [1]),
        ("?state=cordoned", [2]),
        ("?ordering=-cpu_milli", [2, 1, 0]),
        ("?ordering=state,-id", [1, 0, 2]),
        ("?limit=2", [0, 1]),
        ("?limit=1&offset=1", [1]),
        ("?organization={acme}", [0, 1, 2]),
        ("?organization=0", []),
    ],
)
def test_a_list_is_filtered_ordered_and_paginated(
    api: APIClient, acme: Organization, query: str, expected: list[int]
) -> None:
    clusters = grow_acme(acme, 3)
    services.cordon(clusters[2], actor="alice")

    response = api.get(f"/clusters{query.format(acme=acme.pk)}")

    assert ids(response) == [clusters[n].pk for n in expected]


def test_a_page_links_to_the_next(api: APIClient, acme: Organization) -> None:
    clusters = grow_acme(acme, 3)

    first = api.get("/clusters?limit=2")
    second = api.get(first.data["next"])

    assert (first.data["count"], first.data["previous"]) == (3, None)
    assert ids(second) == [clusters[2].pk]
    assert second.data["next"] is None


@pytest.mark.parametrize(
    ("query", "attr"),
    [
        ("state=bent", "state"), ("organization=Acme", "organization"), ("limit=0", "limit"),
        ("limit=501", "limit"), ("offset=-1", "offset"), ("ordering=colour", "ordering"),
        ("colour=red", "colour"), ("name=%00", "name"), ("organization=NaN", "organization"),
    ],
)  # fmt: skip
def test_a_wrong_query_parameter_is_named(api: APIClient, query: str, attr: str) -> None:
    assert refusal(api.get(f"/clusters?{query}"), 400)["attr"] == attr


def test_a_list_needs_the_same_number_of_queries_for_any_length(
    api: APIClient, acme: Organization
) -> None:
    counts = []
    for more in (1, 29):
        for n in range(more):
            services.create(
                actor="alice", organization=acme, name=f"{more}-{n}", capacity=Capacity(1, 1, 0)
            )
        with CaptureQueriesContext(connection) as queries:
            assert api.get("/clusters").status_code == 200
        counts.append(len(queries))

    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    "field",
    [{"driver": "docker"}, {"endpoint": "unix:///run/docker.sock"}, {"connection": 1},
     {"credentials": "x"}],
)  # fmt: skip
def test_the_api_cannot_set_a_connection(
    api: APIClient, forge: Cluster, field: dict[str, Any]
) -> None:
    api.post("/clusters", BODY | field)
    api.patch(path(forge), field)

    assert set(Cluster.objects.values_list("driver", flat=True)) == {"simulated"}
