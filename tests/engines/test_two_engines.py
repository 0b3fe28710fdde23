"""Two engines as two clusters with GPUs: which container has which GPU on which machine."""

from collections import Counter

import pytest
from django.utils import timezone

from clusters import connections
from clusters.connections import Route
from clusters.drivers.base import Observation, Phase
from clusters.models import Cluster, Connection
from deployments import lifecycle, services
from deployments.choices import Status
from deployments.lifecycle import Change, transition
from deployments.models import Deployment
from orgs.models import Organization
from tests.fixtures.deployments import Submit
from tests.fixtures.docker import NewEngine
from tests.support.docker_engine import Engine, wait_until
from tests.support.docker_image import IMAGE
from tests.support.factories import make_cluster
from tests.support.reconcile import driver_of, reconcile

pytestmark = [pytest.mark.django_db, pytest.mark.docker]

GPUS = ("GPU-0", "GPU-1", "GPU-2")


@pytest.fixture
def clusters(acme: Organization, engine: Engine, new_engine: NewEngine) -> list[Cluster]:
    """Two clusters of three GPUs; the ids of the GPUs are the same on both machines."""
    made = []
    for name, one in (("left", engine), ("right", new_engine())):
        cluster = make_cluster(acme, name, cpu_milli=2000, ram_mib=2048, gpu=len(GPUS))
        route = Route("docker", one.socket, network=Connection.Network.NONE, devices=GPUS)
        connections.connect(cluster, actor="olga", route=route)
        made.append(Cluster.objects.get(pk=cluster.pk))
    return made


def place(deployment: Deployment, cluster: Cluster) -> None:
    change = Change(deployment.pk, "placed", cluster=cluster.pk)
    transition(lifecycle.PLACE, [change], actor="system:test", now=timezone.now())


def running(cluster: Cluster) -> list[Observation]:
    seen = driver_of(cluster).observe(timezone.now())
    return [o for o in seen if o.phase is Phase.RUNNING]


def test_every_gpu_has_one_container_on_its_machine(
    clusters: list[Cluster], submit: Submit
) -> None:
    sleeper = {"image": IMAGE, "command": ("sleep", "600"), "cpu_milli": 100, "ram_mib": 32}
    sizes = (1, 2)
    for cluster in clusters:
        for gpu in sizes:
            place(submit(gpu=gpu, **sleeper), cluster)
        reconcile(cluster.pk)

    for cluster in clusters:
        assigned = Counter(device for o in running(cluster) for device in o.devices)
        assert assigned == dict.fromkeys(GPUS, 1)
        recorded = {run.pk: tuple(run.devices) for run in cluster.runs.all()}
        assert recorded == {o.run_id: o.devices for o in running(cluster)}


def test_a_gpu_is_reassigned_only_after_its_container_is_gone(
    clusters: list[Cluster], submit: Submit
) -> None:
    sleeper = {"image": IMAGE, "command": ("sleep", "600"), "cpu_milli": 100, "ram_mib": 32}
    left, _ = clusters
    first, second = submit(gpu=3, **sleeper), submit(gpu=2, **sleeper)
    place(first, left)
    reconcile(left.pk)
    services.stop(first, actor="bob")
    place(second, left)

    def has_started() -> bool:
        reconcile(left.pk)
        assigned = Counter(device for o in running(left) for device in o.devices)
        assert all(count == 1 for count in assigned.values())
        second.refresh_from_db()
        return second.status == Status.RUNNING

    wait_until(has_started, "the second has its GPUs")
    (seen,) = running(left)
    assert seen.run_id == second.runs.get().pk
    assert len(seen.devices) == 2
