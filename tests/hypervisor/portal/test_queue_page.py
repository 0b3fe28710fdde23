"""The members' page of the queue."""

from accounts.models import User
from clusters.models import Cluster
from deployments import services
from deployments.choices import Status
from orgs.models import Membership, Organization, Role
from tests.fixtures.deployments import Bring, MemberAs, Submit
from tests.hypervisor.portal.conftest import Browse

PAGE = "/my/queue/"


def test_a_viewer_sees_the_order_with_the_wait_reasons(
    browse: Browse, member_as: MemberAs, bring: Bring, submit: Submit
) -> None:
    bring(Status.RUNNING, cpu_milli=7000, priority=90)
    submit(name="low", cpu_milli=3000, priority=20)
    submit(name="high", cpu_milli=3000, priority=80)

    response = browse(member_as(Role.VIEWER)).get(PAGE)

    entries = response.context["entries"]
    assert [(e.position, e.deployment.name) for e in entries] == [(1, "high"), (2, "low")]
    assert {e.code for e in entries} == {"no_free_capacity"}
    assert "no free capacity" in response.content.decode()


def test_each_group_has_its_tab(browse: Browse, bob: User, bring: Bring, submit: Submit) -> None:
    bring(Status.RUNNING, name="runs")
    services.hold(submit(name="held"), actor="alice")

    browser = browse(bob)
    placed = browser.get(PAGE, {"group": "placed"}).context
    held = browser.get(PAGE, {"group": "held"}).context

    assert [e.deployment.name for e in placed["entries"]] == ["runs"]
    assert [e.deployment.name for e in held["entries"]] == ["held"]
    assert {tab.title: tab.count for tab in held["tabs"]}["On hold"] == 1


def test_it_filters_by_reason_and_name(
    browse: Browse, bob: User, submit: Submit, bring: Bring
) -> None:
    bring(Status.RUNNING, cpu_milli=8000, priority=90)
    submit(name="a")
    submit(name="b")

    browser = browse(bob)
    named = browser.get(PAGE, {"q": "b"}).context["entries"]
    other = browser.get(PAGE, {"code": "next_cycle"}).context["entries"]

    assert [(e.position, e.deployment.name) for e in named] == [(2, "b")]
    assert other == []


def test_no_name_contains_nul(browse: Browse, bob: User, submit: Submit, forge: Cluster) -> None:
    submit()

    assert browse(bob).get(PAGE, {"q": "j\0"}).context["entries"] == []


def test_of_several_organizations_one_is_chosen(
    browse: Browse,
    bob: User,
    globex: Organization,
    globex_cluster: Cluster,
    submit: Submit,
    forge: Cluster,
) -> None:
    Membership.objects.create(organization=globex, user=bob, role=Role.VIEWER)
    submit(name="in-acme")
    browser = browse(bob)

    first = browser.get(PAGE)
    second = browser.get(PAGE, {"organization": globex.pk})

    assert first.context["title"] == "Queue of Acme"
    assert second.context["title"] == "Queue of Globex"
    assert second.context["entries"] == []


def test_another_organization_does_not_exist(
    browse: Browse, bob: User, acme: Organization, globex: Organization
) -> None:
    assert browse(bob).get(PAGE, {"organization": globex.pk}).status_code == 404


def test_without_an_organization_it_says_what_is_missing(browse: Browse, charlie: User) -> None:
    assert "not a member of an organization yet" in browse(charlie).get(PAGE).content.decode()
