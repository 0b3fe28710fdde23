"""Objects of Acme, for tests of all routes."""

import pytest

from accounts.models import User
from deployments.choices import Status
from deployments.models import Array, Deployment
from deployments.notices import services as notices
from deployments.registries import services as registries
from orgs.models import Organization, Role
from orgs.service_accounts import services as service_accounts
from orgs.webhooks import services as webhooks
from tests.fixtures.deployments import Bring
from tests.support.tokens import token_of


@pytest.fixture
def ids(acme: Organization, bob: User, bring: Bring) -> dict[str, int]:
    """Return ids of objects of Acme, by the first part of their paths."""
    deployment = bring(Status.RUNNING)
    assert deployment.cluster_id is not None
    assert deployment.node_id is not None
    registry = registries.add(
        actor="alice", organization=acme, host="ghcr.io", username="ci", password="hunter2"
    )
    alice = acme.memberships.get(role=Role.OWNER).user
    account = service_accounts.create(acme, by=alice, name="ci", role=Role.DEVELOPER)
    webhook, _ = webhooks.add(acme, by=alice, url="https://hooks.example.org")
    rule, _ = notices.add(
        by=alice, user=None, organization=acme, channel="slack", url="https://hooks.example.org"
    )
    notices.send_test(alice, rule)
    array = Array.objects.create(organization=acme, name="sweep", size=1)
    Deployment.objects.filter(pk=deployment.pk).update(array=array, array_index=0)
    return {
        "organizations": acme.pk,
        "service-accounts": account.pk,
        "clusters": deployment.cluster_id,
        "arrays": array.pk,
        "nodes": deployment.node_id,
        "deployments": deployment.pk,
        "registries": registry.pk,
        "notices": rule.pk,
        "tokens": token_of(bob)[0].pk,
        "webhooks": webhook.pk,
        "deliveries": webhook.deliveries.create(number=1, kind="placed", status="failed").pk,
        "user": bob.pk,
    }
