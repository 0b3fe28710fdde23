"""GET /deployments: filters, order, pages, and the number of queries."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import User
from clusters.models import Cluster
from deployments.choices import Status
from deployments.dependencies import Wait
from deployments.models import Deployment
from orgs.models import Membership, Organization, Role
from tests.fixtures.deployments import Bring, Submit
from tests.fixtures.people import ClientFor
from tests.support.answers import ids, refusal


@pytest.fixture
def api(alice: User, forge: Cluster, client_for: ClientFor) -> APIClient:
    return client_for(alice)


@pytest.fixture
def three(bring: Bring, alice: User, forge: Cluster) -> list[Deployment]:
    """Three deployments: bob's pending one, alice's running one, and bob's failed one."""
    return [
        bring(Status.PENDING, name="train-a", priority=10),
        bring(Status.RUNNING, name="train-b", priority=50, created_by=alice),
        bring(Status.FAILED, name="serve", priority=90),
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [2, 1, 0]),
        ("?status=running", [1]),
        ("?status=stopped", []),
        ("?priority_min=50", [2, 1]),
        ("?name=TRAIN", [1, 0]),
        ("?cluster={forge}", [1]),
        ("?created_by={alice}", [1]),
        ("?created_by=me", [1]),
        ("?created_by=bob", [2, 0]),
        ("?status=running&status=failed", [2, 1]),
        ("?priority_max=50", [1, 0]),
        ("?organization={acme}", [2, 1, 0]),
        ("?organization=0", []),
        ("?name=train&priority_min=11", [1]),
        ("?ordering=priority", [0, 1, 2]),
        ("?ordering=-name", [1, 0, 2]),
        ("?ordering=-finished_at,id", [0, 1, 2]),
        ("?limit=2", [2, 1]),
        ("?limit=2&offset=2", [0]),
    ],
)
def test_a_list_is_filtered_ordered_and_limited(
    api: APIClient, three: list[Deployment], forge: Cluster, alice: User, acme: Organization,
    query: str, expected: list[int],
) -> None:  # fmt: skip
    text = query.format(forge=forge.pk, alice=alice.pk, acme=acme.pk)

    assert ids(api.get(f"/deployments{text}")) == [three[n].pk for n in expected]


@pytest.mark.parametrize(
    ("query", "attr"),
    [
        ("status=asleep", "status"), ("cluster=forge", "cluster"),
        ("priority_min=high", "priority_min"), ("limit=0", "limit"), ("limit=501", "limit"),
        ("offset=x", "offset"), ("ordering=env", "ordering"), ("state=pending", "state"),
        ("organization=NaN", "organization"), ("priority_min=1.5", "priority_min"),
    ],
)  # fmt: skip
def test_a_wrong_query_parameter_is_named(api: APIClient, query: str, attr: str) -> None:
    assert refusal(api.get(f"/deployments?{query}"), 400)["attr"] == attr


@pytest.mark.parametrize("name", ["cluster", "created_by", "organization", "priority_min"])
def test_a_number_beyond_all_ids_finds_nothing_rather_than_fails(api: APIClient, name: str) -> None:
    assert api.get(f"/deployments?{name}={10**30}").status_code in (200, 400)


def test_pages_cover_everything_once(api: APIClient, submit: Submit) -> None:
    everything = {submit().pk for _ in range(5)}

    seen: list[int] = []
    page: str | None = "/deployments?limit=2&ordering=priority"
    while page:
        answer = api.get(page)
        assert answer.data["count"] == 5
        seen += ids(answer)
        page = answer.data["next"]

    assert (len(seen), set(seen)) == (5, everything)


def test_a_list_shows_all_of_the_callers_organizations_and_no_other(
    api: APIClient, submit: Submit, alice: User, globex: Organization
) -> None:
    mine = submit()
    theirs = Deployment.objects.create(
        organization=globex, name="theirs", image="x", cpu_milli=1, ram_mib=1
    )

    before = ids(api.get("/deployments"))
    Membership.objects.create(organization=globex, user=alice, role=Role.VIEWER)
    after = ids(api.get("/deployments"))

    assert (before, after) == ([mine.pk], [theirs.pk, mine.pk])


def test_a_former_member_sees_nothing(api: APIClient, submit: Submit, alice: User) -> None:
    deployment = submit()

    alice.memberships.all().delete()

    assert ids(api.get("/deployments")) == []
    refusal(api.get(f"/deployments/{deployment.pk}"), 404)


def test_the_number_of_queries_does_not_depend_on_the_length_of_the_list(
    api: APIClient, submit: Submit, bring: Bring, forge: Cluster
) -> None:
    first = submit()
    counts = []
    for more in (1, 29):
        for _ in range(more):
            bring(
                Status.STARTING, cpu_milli=1, ram_mib=1, requested_cluster=forge,
                depends_on=(Wait(first.pk),),
            )  # fmt: skip
        with CaptureQueriesContext(connection) as queries:
            assert len(ids(api.get("/deployments"))) > more
        counts.append(len(queries))

    assert counts[0] == counts[1]
