"""Pages of lists: no row is lost or repeated while other rows come and go."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from clusters.models import Cluster
from deployments import services
from deployments.choices import Status
from deployments.models import Deployment
from orgs.models import Organization
from scheduling.views import DeploymentViewSet
from tests.fixtures.deployments import Bring, Submit
from tests.fixtures.people import ClientFor
from tests.support.answers import ids, refusal
from tests.support.factories import MembershipFactory

ORDERINGS = [
    *DeploymentViewSet.ordering_fields,
    *(f"-{name}" for name in DeploymentViewSet.ordering_fields),
    "-finished_at,priority,-name", "finished_at,-priority", "status,-started_at",
    "-priority,-priority,id,name",
]  # fmt: skip


@pytest.fixture
def api(alice: User, forge: Cluster, client_for: ClientFor) -> APIClient:
    return client_for(alice)


@pytest.fixture
def many(bring: Bring) -> list[Deployment]:
    """Return nine deployments that are equal in most columns, some of which are null."""
    made = [
        bring(status, cpu_milli=1, ram_mib=1, priority=priority, name=f"job-{priority}")
        for priority in (10, 50, 10)
        for status in (Status.PENDING, Status.RUNNING, Status.FAILED)
    ]
    moment = timezone.now()
    Deployment.objects.exclude(started_at=None).update(started_at=moment)
    Deployment.objects.filter(pk__in=[d.pk for d in made[:5]]).update(queued_at=moment)
    return made


def pages(api: APIClient, address: str | None, direction: str = "next") -> Iterator[Any]:
    while address:
        answer = api.get(address)
        assert answer.status_code == 200, answer.data
        yield answer.data
        address = answer.data[direction]


def seen(api: APIClient, address: str | None, direction: str = "next") -> list[int]:
    return [row["id"] for page in pages(api, address, direction) for row in page["results"]]


@pytest.mark.parametrize("ordering", ORDERINGS)
def test_pages_forwards_and_backwards_cover_the_list(
    api: APIClient, many: list[Deployment], ordering: str
) -> None:
    address = f"/deployments?ordering={ordering}"
    whole = ids(api.get(address))

    forwards = list(pages(api, f"{address}&limit=2"))
    backwards = list(pages(api, forwards[-1]["previous"], "previous"))

    assert [row["id"] for page in forwards for row in page["results"]] == whole
    assert [page["results"] for page in reversed(backwards)] == [
        page["results"] for page in forwards[:-1]
    ]
    assert forwards[0]["previous"] is None
    assert len(whole) == len(many)


@pytest.mark.parametrize("ordering", ORDERINGS)
def test_rows_that_come_and_go_between_two_pages_hide_no_others(
    api: APIClient, many: list[Deployment], submit: Submit, ordering: str
) -> None:
    address = f"/deployments?ordering={ordering}&limit=2"
    whole = ids(api.get(f"/deployments?ordering={ordering}"))

    found: list[int] = []
    for page in pages(api, address):
        shown = [row["id"] for row in page["results"]]
        found += shown
        # Delete the row after which the next page starts, and add another one.
        Deployment.objects.filter(pk=shown[-1]).delete()
        if len(found) < 6:
            submit(cpu_milli=1, ram_mib=1, priority=30)

    assert len(found) == len(set(found))
    assert [pk for pk in found if pk in whole] == whole


def test_a_client_that_cancels_page_by_page_cancels_all(api: APIClient, submit: Submit) -> None:
    everything = [submit(cpu_milli=1, ram_mib=1).pk for _ in range(7)]

    for page in pages(api, "/deployments?status=pending&ordering=id&limit=2"):
        for row in page["results"]:
            assert api.post(f"/deployments/{row['id']}/cancel").status_code == 200

    cancelled = Deployment.objects.filter(status=Status.CANCELLED)
    assert sorted(cancelled.values_list("pk", flat=True)) == everything


def test_the_links_keep_the_filters_and_the_size(api: APIClient, many: list[Deployment]) -> None:
    first = api.get("/deployments?priority_min=50&name=job&limit=1&offset=0").data

    query = parse_qs(urlsplit(first["next"]).query)
    assert (query["priority_min"], query["name"], query["limit"]) == (["50"], ["job"], ["1"])
    assert "offset" not in query
    assert set(seen(api, first["next"])) <= {d.pk for d in many if d.priority == 50}


def test_after_all_later_rows_are_gone_previous_leads_back(api: APIClient, submit: Submit) -> None:
    rows = [submit() for _ in range(5)]
    first = api.get("/deployments?ordering=id&limit=2").data
    for row in rows[2:]:
        services.cancel(row, actor="bob")
        services.delete(row, actor="bob")

    empty = api.get(first["next"]).data

    assert (empty["count"], empty["next"], empty["results"]) == (2, None, [])
    assert seen(api, empty["previous"], "previous") == [rows[0].pk, rows[1].pk]


def test_after_all_earlier_rows_are_gone_next_leads_to_the_first_page(
    api: APIClient, submit: Submit
) -> None:
    rows = [submit() for _ in range(4)]
    second = api.get(api.get("/deployments?ordering=id&limit=2").data["next"]).data
    for row in rows[:2]:
        Deployment.objects.filter(pk=row.pk).delete()

    empty = api.get(second["previous"]).data

    assert (empty["results"], empty["previous"]) == ([], None)
    assert seen(api, empty["next"]) == [rows[2].pk, rows[3].pk]


def test_rows_added_before_the_first_page_are_behind_previous(
    api: APIClient, submit: Submit
) -> None:
    old = [submit().pk for _ in range(3)]
    second = api.get(api.get("/deployments?limit=2").data["next"]).data
    new = submit().pk

    first = api.get(second["previous"]).data
    assert [row["id"] for row in first["results"]] == [old[2], old[1]]
    assert seen(api, first["previous"], "previous") == [new]


def test_an_offset_continues_with_pages_that_lose_nothing(api: APIClient, submit: Submit) -> None:
    rows = [submit().pk for _ in range(5)]

    middle = api.get("/deployments?ordering=id&offset=2&limit=2").data
    Deployment.objects.filter(pk__in=rows[:3]).delete()

    assert [row["id"] for row in middle["results"]] == rows[2:4]
    assert seen(api, middle["next"]) == rows[4:]
    beyond = api.get("/deployments?ordering=id&offset=9&limit=2").data
    assert (beyond["results"], beyond["next"]) == ([], None)
    assert seen(api, beyond["previous"], "previous") == rows[3:]


@pytest.mark.parametrize("change", ["x", ":", "é%00", "x:y:z"])
def test_an_invented_cursor_is_refused_by_name(api: APIClient, change: str) -> None:
    error = refusal(api.get(f"/deployments?cursor={change}"), 400)

    assert error["attr"] == "cursor"
    assert "`next`" in error["detail"]


def test_a_cursor_is_valid_only_for_its_list_and_order(
    api: APIClient, many: list[Deployment]
) -> None:
    link = api.get("/deployments?limit=2&ordering=name").data["next"]
    cursor = parse_qs(urlsplit(link).query)["cursor"][0]

    for address in ("/deployments?ordering=-name", "/deployments", "/clusters?ordering=name"):
        answer = api.get(address, {**parse_qs(urlsplit(address).query), "cursor": cursor})
        assert refusal(answer, 400)["attr"] == "cursor"
    assert refusal(api.get(f"{link}&offset=1"), 400)["attr"] == "offset"


def test_members_and_events_are_paginated_in_the_same_way(
    api: APIClient, acme: Organization, bring: Bring
) -> None:
    deployment = bring(Status.RUNNING)
    for _ in range(3):
        MembershipFactory(organization=acme)

    events = list(pages(api, f"/deployments/{deployment.pk}/events?limit=1"))
    people = []
    for page in pages(api, f"/organizations/{acme.pk}/members?limit=2"):
        people += [row["user"]["username"] for row in page["results"]]
        acme.memberships.filter(user__username=people[-1]).exclude(user__username="alice").delete()

    assert [page["results"][0]["kind"] for page in events] == ["submitted", "placed", "running"]
    assert len(people) == len(set(people)) == 5
