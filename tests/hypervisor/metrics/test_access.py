"""Who may read the metrics, which name all organizations."""

import pytest
from django.contrib.auth.models import Group
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from hypervisor.env import read
from orgs.models import Organization
from orgs.tokens import services as tokens
from orgs.tokens.grants import Scope
from tests.fixtures.people import ClientFor
from tests.support.answers import refusal

TOKEN = "a-token-of-the-scraper-with-32-characters"
ELSEWHERE = "192.0.2.7"

pytestmark = pytest.mark.django_db


def status(address: str = "127.0.0.1", **headers: str) -> int:
    response = APIClient(REMOTE_ADDR=address).get("/metrics", headers=headers)
    return int(response.status_code)


def test_a_scraper_reads_them_with_the_token(settings: Settings) -> None:
    settings.METRICS_TOKEN, settings.PRODUCTION = TOKEN, True

    assert status(ELSEWHERE, Authorization=f"Bearer {TOKEN}") == 200
    assert status(ELSEWHERE, Authorization=f"Bearer {TOKEN}x") == 401
    assert status(ELSEWHERE, Authorization="Bearer ") == 401
    assert status(ELSEWHERE) == 401


def test_without_a_token_in_the_settings_no_token_is_right(settings: Settings) -> None:
    settings.METRICS_TOKEN = ""

    assert status(ELSEWHERE, Authorization="Bearer ") == 401
    assert status(ELSEWHERE, Authorization=f"Bearer {TOKEN}") == 401


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "127.8.9.1"])
def test_in_development_a_program_on_this_machine_needs_no_token(
    settings: Settings, address: str
) -> None:
    settings.PRODUCTION = False

    assert status(address) == 200


@pytest.mark.parametrize("address", [ELSEWHERE, "10.0.0.1", ""])
def test_in_development_other_machines_need_one(settings: Settings, address: str) -> None:
    settings.PRODUCTION = False

    assert status(address) == 401


@pytest.mark.parametrize(
    "header", ["Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP"]
)
def test_a_caller_behind_a_proxy_on_this_machine_needs_a_token(header: str) -> None:
    assert status(**{header: "127.0.0.1"}) == 401


def test_in_production_no_address_is_trusted(settings: Settings) -> None:
    settings.PRODUCTION = True

    assert status("127.0.0.1") == 401


def test_operators_read_them_and_members_do_not(
    client_for: ClientFor, alice: User, bob: User, olga: User
) -> None:
    bob.groups.add(Group.objects.get(name="Viewers"))

    refusal(client_for(alice).get("/metrics"), 403)
    assert client_for(bob).get("/metrics").status_code == 200
    assert client_for(olga).get("/metrics").status_code == 200


def test_an_operator_reads_them_with_an_api_token_of_any_scope_for_all_organizations(
    olga: User, alice: User, acme: Organization
) -> None:
    def status_with(user: User, organization: Organization | None) -> int:
        _, text = tokens.create(
            user, name="scraper", scope=Scope.READ, organization=organization, days=1
        )
        return status(ELSEWHERE, Authorization=f"Bearer {text}")

    assert status_with(olga, None) == 200
    assert status_with(olga, acme) == 403
    assert status_with(alice, None) == 403


def test_an_unknown_parameter_is_refused(client_for: ClientFor, olga: User) -> None:
    assert refusal(client_for(olga).get("/metrics?name=x"), 400)["attr"] == "name"


def test_a_short_token_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRICS_TOKEN", TOKEN[:31])

    with pytest.raises(Exception, match="METRICS_TOKEN: needs 32 characters or more"):
        read()
