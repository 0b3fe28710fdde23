"""The first page: a checklist for people who are new, and the demo."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts.models import User
from clusters import services
from clusters.capacity import Capacity
from clusters.models import Cluster
from deployments.choices import Status
from hypervisor.demo import progress
from hypervisor.tasks import fill_demo
from orgs.models import Organization
from tests.fixtures.deployments import Bring
from tests.hypervisor.portal.conftest import Browse

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
START = "/my/start/"


def done(page: Any) -> int:
    """Return how many steps the page shows as done."""
    return len(re.findall("p-done", page.content.decode()))


def test_programs_get_the_documentation_at_the_root() -> None:
    for accept in ("*/*", "application/json", ""):
        assert Client(headers={"Accept": accept}).get("/")["Location"] == "/docs"


def test_people_sign_in_at_the_root() -> None:
    assert Client(headers=BROWSER).get("/")["Location"] == "/account/sign-in/?next=/"


def test_a_person_without_an_organization_is_led_to_the_first_page(
    browse: Browse, charlie: User
) -> None:
    page: Any = browse(charlie).get("/", follow=True)
    assert page.redirect_chain == [(START, 302)]
    said = page.content.decode()
    assert reverse("portal:new_organization") in said
    assert reverse("portal:join") in said
    assert "demo" not in said
    assert done(page) == 0


def test_a_member_is_led_there_until_there_is_a_cluster(
    browse: Browse, acme: Organization, bob: User
) -> None:
    assert browse(bob).get("/")["Location"] == START

    services.create(
        actor="alice", organization=acme, name="forge", capacity=Capacity(1000, 1024, 0)
    )

    assert browse(bob).get("/").status_code == 200


def test_a_member_who_may_add_no_cluster_is_told_whom_to_ask(
    browse: Browse, acme: Organization, bob: User, alice: User
) -> None:
    page = browse(bob).get(START)
    assert "Ask an admin of Acme" in page.content.decode()
    assert done(page) == 1
    add = f"{reverse('portal:new_cluster')}?organization={acme.pk}"
    assert add in browse(alice).get(START).content.decode()


def test_the_checklist_shows_what_is_done(
    browse: Browse, forge: Cluster, bob: User, bring: Bring
) -> None:
    browser = browse(bob)
    assert done(browser.get(START)) == 2
    bring(Status.RUNNING)
    assert done(browser.get(START)) == 3


@pytest.fixture
def development(settings: Settings) -> None:
    settings.PRODUCTION = False
    progress.end()


@pytest.mark.usefixtures("development")
def test_only_operators_of_a_development_service_start_the_demo(
    browse: Browse, olga: User, alice: User, settings: Settings
) -> None:
    assert "Start the demo" in browse(olga).get(START).content.decode()
    assert browse(alice).post(START).status_code == 404
    settings.PRODUCTION = True
    assert "Start the demo" not in browse(olga).get(START).content.decode()
    assert browse(olga).post(START).status_code == 404


@pytest.mark.usefixtures("development")
def test_the_demo_is_started_once(browse: Browse, olga: User) -> None:
    browser = browse(olga)
    assert "being filled" in browser.post(START, follow=True).content.decode()
    assert not progress.begin()


@pytest.mark.usefixtures("development")
def test_why_the_demo_failed_is_shown(browse: Browse, olga: User) -> None:
    User.objects.create(username="amara")
    progress.begin()
    fill_demo()
    page = browse(olga).get(START).content.decode()
    assert "could not be filled" in page
    assert "taken" in page
    assert progress.begin()
