from typing import Any

import pytest
from django.utils import timezone

from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.models import Cluster, Connection
from deployments import lifecycle
from deployments.lifecycle import Change, transition
from deployments.models import Deployment
from orgs.models import Organization
from tests.fixtures.deployments import Submit
from tests.fixtures.engines import NewFake
from tests.support.fake_engine import FakeEngine


@pytest.fixture
def engine(new_fake: NewFake) -> FakeEngine:
    """The engine behind foundry."""
    return new_fake("foundry")


@pytest.fixture
def foundry(acme: Organization, engine: FakeEngine) -> Cluster:
    """A cluster of 8 cores, 16 GiB and the GPUs g0 and g1 on an engine that can fail."""
    cluster = cluster_services.create(
        actor="alice", organization=acme, name="foundry", capacity=Capacity(8000, 16384, 2)
    )
    Cluster.objects.filter(pk=cluster.pk).update(driver="docker")
    Connection.objects.create(
        cluster=cluster,
        endpoint="fake://foundry",
        engine_id=engine.engine_id,
        devices=["g0", "g1"],
        probed_at=timezone.now(),
    )
    cluster.refresh_from_db()
    return cluster


@pytest.fixture
def place(submit: Submit, foundry: Cluster) -> Submit:
    """Submit a deployment and place it on foundry, or on the `cluster` named."""

    def place_one(**fields: Any) -> Deployment:
        cluster = fields.pop("cluster", foundry)
        deployment = fields.pop("deployment", None) or submit(**fields)
        change = Change(deployment.pk, "as the test wants it", cluster=cluster.pk)
        transition(lifecycle.PLACE, [change], actor="system:test", now=timezone.now())
        deployment.refresh_from_db()
        return deployment

    return place_one
