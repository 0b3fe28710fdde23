from collections.abc import Callable, Iterator
from ipaddress import ip_network

import pytest
from pytest_django import Settings

from accounts.models import User
from orgs.events import record
from orgs.models import Organization, Webhook
from orgs.webhooks import services
from tests.support.receiver import Receiver, receiving

Add = Callable[..., tuple[Webhook, str]]


@pytest.fixture
def loopback_allowed(settings: Settings) -> None:
    """Let webhooks call the receivers of these tests."""
    settings.WEBHOOK_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]


@pytest.fixture
def receiver(loopback_allowed: None) -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def add(acme: Organization, alice: User) -> Add:
    """Return a function that adds a webhook of Acme, and returns it with its secret."""

    def added(url: str, *kinds: str, organization: Organization = acme) -> tuple[Webhook, str]:
        return services.add(organization, by=alice, url=url, description="", kinds=list(kinds))

    return added


@pytest.fixture
def write(acme: Organization) -> Callable[..., None]:
    def write_many(
        count: int = 1, kind: str = "renamed", organization: Organization = acme
    ) -> None:
        for _ in range(count):
            record(organization, kind, "alice")

    return write_many
