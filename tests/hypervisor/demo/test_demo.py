"""`manage.py demo` can show its password again, and remove everything that it created."""

import random
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from clusters.models import Cluster
from deployments.models import Deployment
from hypervisor.base.errors import DomainError
from hypervisor.demo import removal
from hypervisor.demo.company import TEAMS, found, submit_batch
from orgs import services as org_services
from orgs.models import Organization
from scheduling.cycle.run import run_cycle
from scheduling.insight.explain import explain
from scheduling.models import SchedulingCycle
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db


@pytest.fixture
def company() -> list[Organization]:
    """Create the demo's organizations, and place a part of their deployments."""
    organizations = [found(team, removal.password()) for team in TEAMS]
    dice = random.Random(7)
    for team, organization in zip(TEAMS, organizations, strict=True):
        submit_batch(team, organization, dice)
        run_cycle(organization.pk, SchedulingCycle.Trigger.CHANGE)
    return organizations


def output(*arguments: str) -> str:
    out = StringIO()
    call_command("demo", *arguments, stdout=out)
    return out.getvalue()


def test_the_password_is_shown_again(company: list[Organization]) -> None:
    printed = output("--password")

    assert printed == (
        "Sign in to the pages, or at /token, as amara, jonas, wei, priya, tomas, ngozi, lena, omar;"
        f" the password is {removal.password()}\n"
    )
    assert User.objects.get(username="amara").check_password(removal.password())


def test_what_waits_first_has_a_forecast(company: list[Organization]) -> None:
    """A first look shows when things will start, although nothing has ended yet."""
    for organization in company:
        waiting = Deployment.objects.ready(timezone.now()).filter(organization=organization)
        forecast = explain(waiting.order_by("-priority", "queued_at", "pk")[0]).forecast

        assert forecast is not None
        assert forecast.expected is not None, forecast.reason


def test_a_changed_password_is_reset(company: list[Organization]) -> None:
    user = User.objects.get(username="wei")
    user.set_password("another one")
    user.save()

    assert "it was reset" in output("--password")

    user.refresh_from_db()
    assert user.check_password(removal.password())


def test_the_password_depends_on_the_installation(settings: Settings) -> None:
    here = removal.password()
    settings.SECRET_KEY = "another installation's, of thirty-two characters"

    assert removal.password() != here


def test_without_a_demo_there_is_no_password_to_show() -> None:
    with pytest.raises(CommandError, match="does not exist"):
        output("--password")


def test_a_second_demo_names_the_remedies(company: list[Organization]) -> None:
    with pytest.raises(CommandError, match=r"demo --password.*demo --reset"):
        output("--no-docker")


def test_the_demo_is_removed_and_nothing_else(
    company: list[Organization], acme: Organization
) -> None:
    assert not removal.stop_all()
    for cluster in Cluster.objects.all():
        reconcile(cluster.pk)
    assert removal.stop_all()

    removal.remove()

    assert list(Organization.objects.all()) == [acme]
    assert set(User.objects.values_list("username", flat=True)) == {"alice", "bob"}
    assert not Deployment.objects.exists()


def test_nothing_is_removed_while_a_deployment_is_stopping(
    company: list[Organization],
) -> None:
    removal.stop_all()

    with pytest.raises(DomainError, match="active deployments"):
        removal.remove()

    assert Organization.objects.count() == len(TEAMS)
    assert User.objects.filter(username="amara").exists()


def test_an_organization_with_the_same_name_and_another_owner_stays(acme: Organization) -> None:
    acme.name = "Perception"
    acme.save()

    removal.remove()

    assert Organization.objects.get() == acme


def test_a_user_who_is_a_member_elsewhere_prevents_the_removal(
    company: list[Organization], acme: Organization
) -> None:
    Deployment.objects.all().delete()
    org_services.join(User.objects.get(username="wei"), invite_code=acme.invite_code)

    with pytest.raises(DomainError, match="wei is a member of Acme"):
        removal.remove()

    assert Organization.objects.count() == len(TEAMS) + 1
