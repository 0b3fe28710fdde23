"""Limits on how much one user or one organization may have."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from clusters.models import Cluster, Node
from deployments.choices import Status
from deployments.models import Deployment
from orgs.models import Membership, Organization, Role
from tests.fixtures.deployments import Bring
from tests.fixtures.people import ClientFor
from tests.support.answers import refusal
from tests.support.console import confirm

pytestmark = pytest.mark.django_db

JOB = {"name": "job", "image": "busybox", "cpu": 1, "ram_mib": 1024}
CLUSTER = {"name": "anvil", "cpu": 1, "ram_mib": 1024}


def assert_refused(response: Any, setting: str) -> None:
    error = refusal(response, 409)
    assert error["code"] == "limit_reached"
    assert f"({setting})" in error["detail"]


def found(client: APIClient) -> Any:
    return client.post("/organizations", {"name": "Initech"})


def bulk(client: APIClient, count: int) -> Any:
    return client.post("/deployments/bulk", {"deployments": [JOB] * count})


def test_the_organizations_that_a_user_founds_are_limited(
    charlie: User, client_for: ClientFor, settings: Settings
) -> None:
    settings.MAX_ORGANIZATIONS_PER_USER = 2
    client = client_for(charlie)

    assert [found(client).status_code for _ in range(2)] == [201, 201]
    assert_refused(found(client), "MAX_ORGANIZATIONS_PER_USER")


def test_organizations_that_others_founded_do_not_count(
    bob: User, acme: Organization, client_for: ClientFor, settings: Settings
) -> None:
    settings.MAX_ORGANIZATIONS_PER_USER = 1

    assert found(client_for(bob)).status_code == 201


def test_the_clusters_of_an_organization_are_limited(
    alice: User, forge: Cluster, client_for: ClientFor, settings: Settings
) -> None:
    settings.MAX_CLUSTERS_PER_ORGANIZATION = 1

    refused = client_for(alice).post("/clusters", CLUSTER)

    assert_refused(refused, "MAX_CLUSTERS_PER_ORGANIZATION")
    assert "Acme has 1 clusters" in refusal(refused, 409)["detail"]


def test_the_nodes_of_an_organization_are_limited(
    alice: User, forge: Cluster, client_for: ClientFor, settings: Settings
) -> None:
    settings.MAX_NODES_PER_ORGANIZATION = 3
    client, nodes = client_for(alice), f"/clusters/{forge.pk}/nodes"
    many = {"name": "rack", "nodes": [CLUSTER | {"count": 3}]}

    assert_refused(client.post("/clusters", many), "MAX_NODES_PER_ORGANIZATION")
    assert client.post(nodes, CLUSTER).status_code == 201
    assert client.post("/clusters", CLUSTER).status_code == 201
    for refused in (client.post("/clusters", CLUSTER), client.post(nodes, CLUSTER)):
        assert_refused(refused, "MAX_NODES_PER_ORGANIZATION")
    assert "Acme has 3 nodes" in refusal(refused, 409)["detail"]


def test_operators_are_exempt(
    console: Client, acme: Organization, alice: User, forge: Cluster, settings: Settings
) -> None:
    settings.MAX_ORGANIZATIONS_PER_USER = settings.MAX_CLUSTERS_PER_ORGANIZATION = 1
    settings.MAX_NODES_PER_ORGANIZATION = 1

    console.post(reverse("admin:orgs_organization_add"), {"name": "Initech", "owner": alice.pk})
    console.post(
        reverse("admin:clusters_cluster_add"),
        {"organization": acme.pk, "name": "anvil", "cpu_milli": 9000, "ram_mib": 20000, "gpu": 2},
    )

    console.post(
        reverse("admin:clusters_node_add"),
        {"cluster": forge.pk, "name": "second", "cpu_milli": 1, "ram_mib": 1, "gpu": 0},
    )

    assert (Organization.objects.count(), Cluster.objects.count()) == (2, 2)
    assert forge.nodes.count() == 2


def test_the_pending_deployments_of_a_user_are_limited(
    bob: User, alice: User, forge: Cluster, client_for: ClientFor, settings: Settings
) -> None:
    settings.MAX_PENDING_PER_USER = 2
    client = client_for(bob)

    assert [client.post("/deployments", JOB).status_code for _ in range(2)] == [201, 201]
    assert_refused(client.post("/deployments", JOB), "MAX_PENDING_PER_USER")
    assert client_for(alice).post("/deployments", JOB).status_code == 201


def test_the_pending_deployments_of_all_members_are_limited(
    bob: User, alice: User, forge: Cluster, client_for: ClientFor, settings: Settings
) -> None:
    settings.MAX_PENDING_PER_ORGANIZATION = 2
    for user in (bob, alice):
        assert client_for(user).post("/deployments", JOB).status_code == 201

    assert_refused(client_for(bob).post("/deployments", JOB), "MAX_PENDING_PER_ORGANIZATION")


@pytest.mark.parametrize("setting", ["MAX_PENDING_PER_USER", "MAX_PENDING_PER_ORGANIZATION"])
def test_a_bulk_submission_counts_as_a_whole(
    bob: User, forge: Cluster, client_for: ClientFor, settings: Settings, setting: str
) -> None:
    setattr(settings, setting, 5)
    client = client_for(bob)

    assert bulk(client, 3).status_code == 201
    assert_refused(bulk(client, 3), setting)
    assert bulk(client, 2).status_code == 201


def test_a_bulk_submission_is_counted_without_a_query_for_each_entry(
    bob: User, forge: Cluster, client_for: ClientFor
) -> None:
    counts = []
    bulk(client_for(bob), 1)  # the first submission of a process counts what is pending
    for size in (2, 20):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            bulk(client_for(bob), size)
        counts.append(len(queries))

    assert counts[0] == counts[1]


def test_a_dry_run_is_refused_as_well_and_takes_no_lock(
    bob: User, forge: Cluster, client_for: ClientFor, settings: Settings
) -> None:
    settings.MAX_PENDING_PER_USER = 1
    client = client_for(bob)
    with CaptureQueriesContext(connection) as queries:
        assert client.post("/deployments?dry_run=true", JOB).status_code == 200
    client.post("/deployments", JOB)

    refused = client.post("/deployments?dry_run=true", JOB)

    assert_refused(refused, "MAX_PENDING_PER_USER")
    assert not [query for query in queries if "advisory" in query["sql"]]


def test_a_restart_counts_for_the_submitter(
    bob: User, alice: User, bring: Bring, client_for: ClientFor, settings: Settings
) -> None:
    ended = bring(Status.STOPPED)
    bring(Status.PENDING)
    settings.MAX_PENDING_PER_USER = 1

    for user in (bob, alice):
        again = client_for(user).post(f"/deployments/{ended.pk}/start")
        assert_refused(again, "MAX_PENDING_PER_USER")


def test_an_operators_restart_is_exempt(console: Client, bring: Bring, settings: Settings) -> None:
    ended = bring(Status.STOPPED)
    bring(Status.PENDING)
    settings.MAX_PENDING_PER_USER = settings.MAX_PENDING_PER_ORGANIZATION = 1

    confirm(console, "start", ended)

    ended.refresh_from_db()
    assert ended.status == Status.PENDING


def test_zero_means_no_limit(
    alice: User, forge: Cluster, client_for: ClientFor, settings: Settings
) -> None:
    settings.MAX_ORGANIZATIONS_PER_USER = settings.MAX_CLUSTERS_PER_ORGANIZATION = 0
    settings.MAX_NODES_PER_ORGANIZATION = 0
    settings.MAX_PENDING_PER_USER = settings.MAX_PENDING_PER_ORGANIZATION = 0
    client = client_for(alice)

    assert client.post("/deployments", JOB).status_code == 201
    assert client.post("/clusters", CLUSTER).status_code == 201
    assert found(client).status_code == 201


Call = Callable[[APIClient], Any]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("setting", "call", "rows"),
    [
        ("MAX_ORGANIZATIONS_PER_USER", found, Membership.objects.filter(role=Role.OWNER)),
        (
            "MAX_CLUSTERS_PER_ORGANIZATION",
            lambda client: client.post("/clusters", CLUSTER | {"name": str(id(client))}),
            Cluster.objects.all(),
        ),
        (
            "MAX_NODES_PER_ORGANIZATION",
            lambda client: client.post("/clusters", CLUSTER | {"name": str(id(client))}),
            Node.objects.all(),
        ),
        (
            "MAX_PENDING_PER_USER",
            lambda client: client.post("/deployments", JOB),
            Deployment.objects.pending(),
        ),
        (
            "MAX_PENDING_PER_ORGANIZATION",
            lambda client: bulk(client, 2),
            Deployment.objects.pending(),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_concurrent_requests_do_not_exceed_the_limit(
    alice: User,
    forge: Cluster,
    client_for: ClientFor,
    settings: Settings,
    setting: str,
    call: Call,
    rows: Any,
) -> None:
    setattr(settings, setting, 4)
    start = threading.Barrier(8)
    statuses: list[int] = []

    def post() -> None:
        start.wait()
        statuses.append(call(client_for(alice)).status_code)
        connection.close()

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(statuses) == {201, 409}
    assert rows.all().count() == 4
