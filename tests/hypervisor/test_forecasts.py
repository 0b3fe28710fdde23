"""Every page that shows a waiting deployment says when it will probably start."""

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from deployments.choices import Status
from deployments.models import Deployment
from scheduling.insight import forecast
from tests.fixtures.deployments import Bring, Submit

ABOUT = "in about 2 h ("


@pytest.fixture(autouse=True)
def nothing_is_kept() -> None:
    forecast.forget_all()


@pytest.fixture
def waiting(bring: Bring, submit: Submit) -> Deployment:
    """A deployment that waits for another one, which ends in two hours at the latest."""
    bring(Status.RUNNING, name="long", cpu_milli=8000, priority=90, max_runtime_s=7200)
    return submit(name="waiting", cpu_milli=8000)


def page(client: Client, person: User, address: str) -> str:
    client.force_login(person, "django.contrib.auth.backends.ModelBackend")
    response = client.get(address)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def test_the_list_of_deployments(client: Client, bob: User, waiting: Deployment) -> None:
    text = page(client, bob, reverse("portal:deployments"))
    assert f'title="Probably starts {ABOUT}' in text
    assert ">starts about " in text


def test_the_members_queue(client: Client, bob: User, waiting: Deployment) -> None:
    assert f"Starts {ABOUT}" in page(client, bob, reverse("portal:queue"))


def test_the_operators_queue(client: Client, olga: User, waiting: Deployment) -> None:
    assert f"Starts {ABOUT}" in page(client, olga, reverse("queue"))


@pytest.mark.parametrize("operator", [False, True])
def test_the_page_of_one(
    client: Client, bob: User, olga: User, waiting: Deployment, operator: bool
) -> None:
    name = "admin:deployments_deployment_change" if operator else "portal:deployment"
    text = page(client, olga if operator else bob, reverse(name, args=[waiting.pk]))
    assert f"Probably starts {ABOUT}" in text
    assert "on forge, when long (" in text


def test_the_page_of_one_that_starts_next_says_it_once(
    client: Client, bob: User, submit: Submit, bring: Bring
) -> None:
    bring(Status.COMPLETED)
    text = page(client, bob, reverse("portal:deployment", args=[submit(cpu_milli=8000).pk]))
    assert text.count("The next cycle places it on forge.") == 2  # once for screen readers


def test_the_preview_of_a_submission(client: Client, bob: User, waiting: Deployment) -> None:
    client.force_login(bob, "django.contrib.auth.backends.ModelBackend")
    values = {"name": "probe", "image": "busybox", "cpu": "8", "ram_mib": "1Gi", "do": "preview"}
    text = client.post(reverse("portal:submit"), {"key": "k", **values}).content.decode()
    assert "Would wait at place 2 of 2 in the queue." in text
    assert "No forecast: waiting (" in text
    Deployment.objects.filter(pk=waiting.pk).update(max_runtime_s=3600)
    text = client.post(reverse("portal:submit"), {"key": "k", **values}).content.decode()
    assert "Would wait at place 2 of 2 in the queue; probably starts about " in text
    assert "Probably starts in about 3 h (" in text
