from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import User
from clusters import drivers
from clusters import services as cluster_services
from clusters.models import Cluster, Connection
from clusters.services import Capacity
from deployments import lifecycle, services
from deployments.lifecycle import Change, Verb, transition
from deployments.models import Deployment, Status
from deployments.specs import Spec
from orgs.models import Membership, Organization, Role
from tests.support.fake_engine import ENGINES, PATH, FakeEngine

Submit = Callable[..., Deployment]
Bring = Callable[..., Deployment]
MemberAs = Callable[[Role], User]

_STARTED = (lifecycle.PLACE, lifecycle.START)
WAYS: dict[Status, tuple[Verb, ...]] = {
    Status.PENDING: (),
    Status.STARTING: (lifecycle.PLACE,),
    Status.RUNNING: _STARTED,
    Status.STOPPING: (*_STARTED, lifecycle.STOP),
    Status.COMPLETED: (*_STARTED, lifecycle.COMPLETE),
    Status.FAILED: (*_STARTED, lifecycle.FAIL),
    Status.STOPPED: (*_STARTED, lifecycle.STOP, lifecycle.FINISH_STOP),
    Status.CANCELLED: (lifecycle.CANCEL,),
}
"""How a deployment gets into each status."""


@pytest.fixture
def forge(acme: Organization) -> Cluster:
    """A cluster of 8 cores, 16 GiB and 2 GPUs."""
    return cluster_services.create(
        actor="alice", organization=acme, name="forge", capacity=Capacity(8000, 16384, 2)
    )


@pytest.fixture
def submit(acme: Organization, bob: User) -> Submit:
    """Submit a deployment of bob's: one core and 1 GiB unless said otherwise."""

    def submit_one(**fields: Any) -> Deployment:
        created_by = fields.pop("created_by", bob)
        spec = Spec(
            **{"name": "job", "image": "busybox", "cpu_milli": 1000, "ram_mib": 1024, **fields}
        )
        return services.submit(created_by=created_by, organization=acme, spec=spec)

    return submit_one


@pytest.fixture
def bring(forge: Cluster, submit: Submit) -> Bring:
    """Submit a deployment and bring it into a status, on forge where it is on a cluster."""

    def bring_one(status: Status, **fields: Any) -> Deployment:
        deployment = submit(**fields)
        for verb in WAYS[status]:
            change = Change(deployment.pk, "as the test wants it", cluster=forge.pk)
            transition(verb, [change], actor="system:test", now=timezone.now())
        deployment.refresh_from_db()
        return deployment

    return bring_one


@pytest.fixture
def member_as(acme: Organization) -> MemberAs:
    """Return a new member of Acme in the role."""

    def add(role: Role) -> User:
        user = User.objects.create(username=f"some-{role}")
        Membership.objects.create(organization=acme, user=user, role=role)
        return user

    return add


@pytest.fixture
def globex(charlie: User) -> Organization:
    """An organization of charlie's that nobody else is in."""
    organization = Organization.objects.create(name="Globex")
    Membership.objects.create(organization=organization, user=charlie, role=Role.OWNER)
    return organization


@pytest.fixture
def globex_cluster(globex: Organization) -> Cluster:
    return cluster_services.create(
        actor="charlie", organization=globex, name="theirs", capacity=Capacity(8000, 16384, 2)
    )


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """The engine behind foundry."""
    monkeypatch.setitem(drivers._PATHS, Cluster.Driver.DOCKER, PATH)
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
    Cluster.objects.filter(pk=cluster.pk).update(driver=Cluster.Driver.DOCKER)
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
