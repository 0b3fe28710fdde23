"""What an organization has and uses, in all and by each user."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import User
from clusters.models import Cluster
from deployments.choices import Status
from deployments.models import Deployment
from deployments.usage import reading
from orgs.models import Organization
from tests.fixtures.deployments import Bring, Submit
from tests.fixtures.people import ClientFor

pytestmark = pytest.mark.django_db

NOTHING = {"cpu": 0, "ram_mib": 0, "gpu": 0}


def usage(client: APIClient, organization: Organization) -> dict[str, object]:
    response = client.get(f"/organizations/{organization.pk}/usage")
    assert response.status_code == 200
    return dict(response.json())


def test_usage_has_the_sums_and_each_user_with_live_deployments(
    acme: Organization, alice: User, bob: User, rack: Cluster, bring: Bring, submit: Submit,
    client_for: ClientFor,
) -> None:  # fmt: skip
    bring(Status.RUNNING, gpu=1)
    bring(Status.STARTING, cpu_milli=500)
    bring(Status.COMPLETED)
    submit(created_by=alice, gpu=2)

    found = usage(client_for(bob), acme)

    bobs = {"cpu": 1.5, "ram_mib": 2048, "gpu": 1}
    assert found == {
        "organization": acme.pk,
        "capacity": {"cpu": 16, "ram_mib": 32768, "gpu": 6},
        "allocated": bobs,
        "active": 2,
        "pending": 1,
        "users": [
            {"id": bob.pk, "username": "bob", "active": 2, "pending": 0, "allocated": bobs},
            {"id": alice.pk, "username": "alice", "active": 0, "pending": 1, "allocated": NOTHING},
        ],
    }


def test_an_organization_without_clusters_uses_nothing(
    acme: Organization, bob: User, client_for: ClientFor
) -> None:
    found = usage(client_for(bob), acme)

    assert (found["capacity"], found["allocated"], found["users"]) == (NOTHING, NOTHING, [])


def test_the_list_of_users_is_bounded_and_the_sums_are_not(
    acme: Organization, alice: User, forge: Cluster, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit()
    submit(created_by=alice)
    monkeypatch.setattr(reading, "MOST_USERS", 1)

    with CaptureQueriesContext(
        connection,
    ) as queries:
        found = reading.read(acme)

    assert (len(found.users), found.pending, Deployment.objects.count()) == (1, 2, 2)
    assert len(queries) == 2
