"""The first page of a member: the list of deployments."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from clusters.models import Cluster
from deployments import services
from deployments.arrays.elements import ArraySpec
from deployments.bulk import Entry, submit_many
from deployments.choices import Status
from deployments.models import Deployment
from deployments.specs import Spec
from orgs.models import Membership, Organization, Role
from tests.fixtures.deployments import Bring, Submit
from tests.hypervisor.portal.conftest import Browse


def look(browser: Client, **query: Any) -> tuple[str, Any]:
    """Return the page as text with single spaces, and its context."""
    response = browser.get("/", query)
    assert response.status_code == 200
    return " ".join(response.content.decode().split()), response.context


def shown(context: Any) -> list[str]:
    return [line.deployment.name for line in context["lines"]]


def test_it_shows_my_deployments_the_newest_first(
    browse: Browse, bob: User, alice: User, submit: Submit, forge: Cluster
) -> None:
    submit(name="first")
    submit(name="hers", created_by=alice)
    submit(name="second")

    _, context = look(browse(bob))
    _, everybody = look(browse(bob), whose="all")

    assert shown(context) == ["second", "first"]
    assert shown(everybody) == ["second", "hers", "first"]


def test_a_stranger_sees_none_of_them(
    browse: Browse, charlie: User, globex: Organization, submit: Submit, forge: Cluster
) -> None:
    submit(name="secret-project")

    page, context = look(browse(charlie), whose="all")

    assert shown(context) == []
    assert "secret-project" not in page


def test_a_waiting_deployment_shows_its_place_and_why_it_waits(
    browse: Browse, bob: User, bring: Bring, submit: Submit
) -> None:
    bring(Status.RUNNING, cpu_milli=7000, priority=90, name="large")
    submit(cpu_milli=3000, priority=20, name="low")
    submit(cpu_milli=3000, priority=30, name="middle")

    page, context = look(browse(bob))

    standing = {line.deployment.name: line.standing for line in context["lines"]}
    assert (standing["middle"].position, standing["low"].position) == (1, 2)
    assert standing["low"].length == 2
    assert standing["low"].code == "no_free_capacity"
    assert "<strong>2</strong> of 2" in page
    assert "no free capacity" in page
    assert "<strong>forge</strong> short of 2 CPU" in page
    assert standing["large"] is None


def test_one_that_does_not_compete_has_a_reason_but_no_place(
    browse: Browse, bob: User, submit: Submit, forge: Cluster
) -> None:
    held = submit(name="held")
    services.hold(held, actor="alice")

    _, context = look(browse(bob))

    (line,) = context["lines"]
    assert (line.state, line.standing.code, line.standing.position) == ("held", "held", None)


def test_the_tabs_count_the_states(
    browse: Browse, bob: User, alice: User, bring: Bring, submit: Submit
) -> None:
    bring(Status.RUNNING)
    bring(Status.FAILED)
    bring(Status.FAILED)
    submit()
    submit(created_by=alice)
    services.hold(submit(), actor="alice")

    _, context = look(browse(bob))

    counts = {tab.title: tab.count for tab in context["tabs"]}
    assert counts == {"All": None, "Pending": 1, "On hold": 1, "Running": 1, "Failed": 2}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"status": "failed"}, ["b"]),
        ({"status": "pending"}, ["c", "a"]),
        ({"status": "held"}, []),
        ({"q": "B"}, ["b"]),
        ({"q": "nothing"}, []),
        ({"label": "team=vision"}, ["a"]),
        ({"label": "team"}, ["a"]),
        ({"whose": "nobody"}, ["c", "b", "a"]),
    ],
)
def test_filters(
    browse: Browse,
    bob: User,
    bring: Bring,
    submit: Submit,
    query: dict[str, str],
    expected: list[str],
) -> None:
    submit(name="a", labels={"team": "vision"})
    bring(Status.FAILED, name="b")
    submit(name="c")

    _, context = look(browse(bob), **query)

    assert shown(context) == expected


def test_it_searches_by_id(browse: Browse, bob: User, submit: Submit, forge: Cluster) -> None:
    wanted = submit(name="wanted")
    submit(name="other")

    _, context = look(browse(bob), q=str(wanted.pk))

    assert shown(context) == ["wanted"]


def test_the_elements_of_an_array_are_shown_to_all_its_members(
    browse: Browse, alice: User, bob: User, acme: Organization, forge: Cluster
) -> None:
    page, context = look(browse(alice), array=sweep(bob, acme))

    assert len(context["lines"]) == 3
    assert "<h1>Array sweep</h1>" in page


def test_an_array_of_strangers_is_unknown(
    browse: Browse,
    charlie: User,
    globex: Organization,
    bob: User,
    acme: Organization,
    forge: Cluster,
) -> None:
    page, context = look(browse(charlie), array=sweep(bob, acme), whose="all")

    assert context["lines"] == []
    assert "sweep" not in page


def sweep(submitter: User, organization: Organization) -> int | None:
    """Submit an array of three elements; return its id."""
    spec = Spec(name="sweep", image="busybox", cpu_milli=1000, ram_mib=1024)
    entry = Entry(organization, spec, array=ArraySpec(3, None))
    (first,) = submit_many(created_by=submitter, entries=[entry])
    return first.array_id


def test_a_wrong_label_is_reported(browse: Browse, bob: User, acme: Organization) -> None:
    page, _ = look(browse(bob), label="=x")

    assert "is not a label&#x27;s name" in page


def test_one_organization_can_be_chosen(
    browse: Browse, bob: User, globex: Organization, submit: Submit, forge: Cluster
) -> None:
    submit(name="here")
    Membership.objects.create(organization=globex, user=bob, role=Role.DEVELOPER)

    page, context = look(browse(bob), organization=globex.pk)

    assert shown(context) == []
    assert "<option" in page
    assert "Globex" in page


def test_pages_follow_each_other_in_both_directions(
    browse: Browse, bob: User, acme: Organization
) -> None:
    Deployment.objects.bulk_create(
        Deployment(
            organization=acme, name=f"job-{n}", image="busybox", created_by=bob,
            cpu_milli=1000, ram_mib=1, status=Status.PENDING,
        )
        for n in range(120)
    )  # fmt: skip
    browser = browse(bob)

    def page(link: str) -> Any:
        return browser.get("/" + link).context

    first = page("")
    second = page(first["older"])
    third = page(second["older"])
    back = page(third["newer"])

    assert [len(each["lines"]) for each in (first, second, third)] == [50, 50, 20]
    assert (first["newer"], third["older"]) == (None, None)
    assert shown(back) == shown(second)
    assert shown(first)[0] == "job-119"


def test_the_number_of_queries_does_not_grow_with_the_rows(
    browse: Browse, bob: User, submit: Submit, forge: Cluster
) -> None:
    browser = browse(bob)
    submit(cpu_milli=8000, priority=90)

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            look(browser)
        return len(captured)

    submit()
    look(browser)
    few = queries()
    for _ in range(10):
        submit()
    look(browser)

    assert queries() <= few


def test_without_a_deployment_it_leads_to_the_submission(
    browse: Browse, bob: User, forge: Cluster
) -> None:
    page, _ = look(browse(bob))

    assert 'href="/my/submit/">Submit a deployment</a>' in page


def test_it_needs_a_signed_in_person(db: None, client: Client) -> None:
    response = client.get("/", headers={"Accept": "text/html"})

    assert response.status_code == 302
    assert response["Location"].startswith("/account/sign-in/")
