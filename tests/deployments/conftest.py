from typing import Any

import pytest
from django.utils import timezone

from clusters import drivers
from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.drivers.kinds import KINDS
from clusters.models import Cluster, Connection
from deployments import lifecycle
from deployments.lifecycle import Change, transition
from deployments.models import Deployment
from orgs.models import Organization
from tests.fixtures.deployments import Submit
from tests.support.fake_engine import ENGINES, FakeEngine


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """The engine behind foundry."""
    monkeypatch.setitem(KINDS, "docker", "tests.support.fake_engine.KIND")
    monkeypatch.setattr(drivers, "_drivers", {})
    made = FakeEngine()
    monkeypatch.setitem(ENGINES, "fake://foundry", made)
    return made


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
        engine_id="fake",
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
