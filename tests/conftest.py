"""The cast: alice owns Acme, bob is a member, charlie is a stranger, olga operates the platform."""

from collections.abc import Callable

import pytest
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from orgs.models import Membership, Organization, Role
from tests.engines.fixtures import _shared_engine, engine, new_engine

__all__ = ["_shared_engine", "engine", "new_engine"]

ClientFor = Callable[[User], APIClient]


def _person(name: str) -> User:
    user = User(username=name, email=f"{name}@example.org")
    user.set_unusable_password()
    user.save()
    return user


@pytest.fixture(autouse=True)
def cheap_passwords(settings: Settings) -> None:
    """Hash as fast as it goes: hundreds of passwords are set here."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def alice(db: None) -> User:
    return _person("alice")


@pytest.fixture
def bob(db: None) -> User:
    return _person("bob")


@pytest.fixture
def charlie(db: None) -> User:
    return _person("charlie")


@pytest.fixture
def olga(db: None) -> User:
    return User.objects.create_superuser("olga", password="not-tried")


@pytest.fixture
def acme(alice: User, bob: User) -> Organization:
    organization = Organization.objects.create(name="Acme")
    Membership.objects.create(organization=organization, user=alice, role=Role.OWNER)
    Membership.objects.create(organization=organization, user=bob, role=Role.DEVELOPER)
    return organization


@pytest.fixture
def console(olga: User) -> Client:
    """A browser in which olga is logged in to the admin."""
    browser = Client()
    browser.force_login(olga, "django.contrib.auth.backends.ModelBackend")
    return browser


@pytest.fixture
def client_for() -> ClientFor:
    """Return an API client that is logged in as the person."""

    def logged_in(user: User) -> APIClient:
        client = APIClient()
        client.force_authenticate(user)
        return client

    return logged_in
