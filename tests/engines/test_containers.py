"""What a deployment may set of its container, from its submission to a real engine."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import cache
from pytest_django import Settings

from clusters import connections
from clusters.connections import Route
from clusters.models import Cluster, Connection
from deployments.choices import Status
from deployments.environment import seal
from deployments.logs import store
from deployments.models import Deployment
from deployments.registries import services as registries
from hypervisor.base.errors import Invalid
from orgs.models import Organization
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Submit
from tests.support.docker_engine import Engine, wait_until
from tests.support.docker_image import IMAGE
from tests.support.factories import make_cluster
from tests.support.reconcile import reconcile
from tests.support.registry import Registry

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.docker]

Ended = Callable[..., Deployment]


@pytest.fixture
def cluster(acme: Organization, engine: Engine, settings: Settings) -> Cluster:
    settings.STOP_GRACE_SECONDS = 1
    cache.clear()
    made = make_cluster(acme, "real", cpu_milli=2000, ram_mib=2048)
    route = Route("docker", engine.socket, network=Connection.Network.NONE)
    connections.connect(made, actor="olga", route=route)
    return Cluster.objects.get(pk=made.pk)


@pytest.fixture
def private() -> Iterator[Registry]:
    """A registry that needs a log-in."""
    with Registry() as made:
        made.login = ("ci", "hunter2")
        yield made


@pytest.fixture
def ended(cluster: Cluster, submit: Submit) -> Ended:
    """Submit a deployment; return it once it has ended and its container is gone."""

    def run(*command: str, **fields: Any) -> Deployment:
        made = {"image": IMAGE, "command": command, "cpu_milli": 100, "ram_mib": 32, **fields}
        deployment = submit(**made)
        run_cycle(cluster.organization_id, SchedulingCycle.Trigger.CHANGE)

        def is_over() -> bool:
            reconcile(cluster.pk)
            deployment.refresh_from_db()
            runs = deployment.runs.all()
            return deployment.finished_at is not None and all(run.ended_at for run in runs)

        wait_until(is_over, "it has ended")
        return deployment

    return run


def output(deployment: Deployment) -> str:
    return store.read(store.run_of(deployment), tail=None).decode().strip()


def test_the_user_and_secrets_reach_the_container(ended: Ended) -> None:
    deployment = ended(
        "sh", "-c", "echo $(id -u) $(id -g) $TOKEN",
        run_as={"uid": 1234, "gid": 5678}, env={"TOKEN": seal("s3cret")},
    )  # fmt: skip

    assert (deployment.status, output(deployment)) == (Status.COMPLETED, "1234 5678 s3cret")


def test_an_image_is_pulled_with_the_log_in_of_the_organization(
    ended: Ended, acme: Organization, private: Registry, engine: Engine
) -> None:
    without = ended("true", image=private.image)
    log_in = registries.add(
        actor="alice", organization=acme, host=private.host, username="ci", password="wrong-one"
    )
    wrong = ended("true", image=private.image)
    registries.update(log_in, actor="alice", username="ci", password="hunter2")
    right = ended("echo", "pulled", image=private.image)
    engine.remove_image(private.image)

    for failed in (without, wrong):
        assert (failed.status, failed.status_code) == (Status.FAILED, "image_not_pullable")
        assert "store or correct the log-in to its registry" in failed.status_reason
        assert "wrong-one" not in failed.status_reason
    assert (right.status, output(right)) == (Status.COMPLETED, "pulled")


def test_an_engine_that_cannot_limit_storage_gets_no_deployment_with_a_limit(
    ended: Ended, cluster: Cluster
) -> None:
    with pytest.raises(Invalid, match="leave `ephemeral_storage_mib` out"):
        ended("true", ephemeral_storage_mib=100)
    # As if it was connected by a release that did not ask for it.
    cluster.nodes.update(can_limit_storage=True)

    deployment = ended("true", ephemeral_storage_mib=100)

    assert (deployment.status, deployment.status_code) == (Status.FAILED, "no_storage_limit")
    assert "leave `ephemeral_storage_mib` out" in deployment.status_reason
    with pytest.raises(Invalid, match="leave `ephemeral_storage_mib` out"):
        ended("true", ephemeral_storage_mib=100)
