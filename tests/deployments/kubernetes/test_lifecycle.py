"""Deployments on a Kubernetes cluster, from the cycle that places them to their last container."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone
from pytest_django import Settings

from clusters.drivers.base import ContainerSpec
from clusters.drivers.kubernetes import pods
from clusters.models import Cluster, Connection
from deployments import services
from deployments.choices import Status
from deployments.environment import seal
from deployments.models import Deployment
from deployments.runtime.launching import SETTLE
from deployments.runtime.models import Run
from scheduling.cycle.run import run_cycle
from scheduling.insight.verify import violations
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Submit
from tests.support.docker_engine import wait_until
from tests.support.kube_api import KubeCluster
from tests.support.kubernetes import IMAGE, NAMESPACE, STUBBORN, UNTIL_ASKED
from tests.support.reconcile import driver_of, reconcile

pytestmark = pytest.mark.django_db


def step(cluster: Cluster) -> None:
    """Carry out the requested work: a cycle and a reconciliation."""
    run_cycle(cluster.organization_id, SchedulingCycle.Trigger.MANUAL)
    reconcile(cluster.pk)
    assert list(violations()) == []


def until(cluster: Cluster, deployment: Deployment, status: Status) -> Deployment:
    def is_so() -> bool:
        step(cluster)
        deployment.refresh_from_db()
        return deployment.status == status

    wait_until(is_so, f"{deployment.name} is {status}")
    return deployment


def key(cluster: Cluster, run: Run) -> tuple[str, str]:
    uid = Connection.objects.get(cluster=cluster).uid
    run.refresh_from_db()
    assert run.container
    return NAMESPACE, pods.name_of(uid, run.container)


def running(cluster: Cluster, deployment: Deployment) -> Run:
    """Let it run until its program handles signals."""
    until(cluster, deployment, Status.RUNNING)
    run = Run.objects.current().get(deployment=deployment)
    uid = run.container
    assert uid
    driver = driver_of(cluster)
    wait_until(lambda: b"up" in b"".join(driver.logs(uid)), "its first word")
    return run


def names(kube: KubeCluster) -> list[str]:
    return [pod["metadata"]["name"] for pod in kube.store.all()[0]]


def test_a_deployment_runs_to_its_end_and_leaves_no_pod(
    kube: KubeCluster, east: Cluster, submit: Submit
) -> None:
    deployment = submit(image=IMAGE, command=["sh", "-c", "echo $WORD", "x"], env={"WORD": "done"})

    until(east, deployment, Status.COMPLETED)

    run = Run.objects.get(deployment=deployment)
    step(east)
    run.refresh_from_db()
    assert (run.exit_code, run.ended_at is not None) == (0, True)
    assert names(kube) == []


def test_a_secret_reaches_the_container_and_ends_with_it(
    kube: KubeCluster, east: Cluster, submit: Submit
) -> None:
    deployment = submit(
        image=IMAGE,
        command=["sh", "-c", 'test "$TOKEN" = hunter2 && echo up && sleep 600', "x"],
        env={"PLAIN": "1", "TOKEN": seal("hunter2")},
    )
    running(east, deployment)
    assert "hunter2" not in repr([kube.store.all()[0][0]["spec"]["containers"][0]["env"]])
    assert len(kube.secrets.all()) == 1

    services.stop(deployment, actor="bob")
    until(east, deployment, Status.STOPPED)

    step(east)
    assert (names(kube), kube.secrets.all()) == ([], [])


@pytest.mark.parametrize("fault", [("POST", "/secrets"), ("PATCH", "/pods")], ids=" ".join)
def test_a_worker_that_dies_while_it_starts_a_container_with_a_secret_leaves_no_secret(
    kube: KubeCluster, east: Cluster, submit: Submit, fault: tuple[str, str]
) -> None:
    deployment = submit(image=IMAGE, command=UNTIL_ASKED, env={"TOKEN": seal("hunter2")})
    kube.server.fail_next(*fault, None)
    step(east)
    assert len(names(kube)) == 1

    services.stop(deployment, actor="bob")
    with time_machine.travel(timezone.now() + 2 * SETTLE):
        until(east, deployment, Status.STOPPED)

    assert (names(kube), kube.secrets.all()) == ([], [])


@pytest.mark.parametrize("fault", [("POST", "/secrets"), ("PATCH", "/pods")], ids=" ".join)
def test_an_interrupted_start_with_a_secret_is_completed(
    kube: KubeCluster, east: Cluster, submit: Submit, fault: tuple[str, str]
) -> None:
    deployment = submit(image=IMAGE, command=UNTIL_ASKED, env={"TOKEN": seal("hunter2")})
    kube.server.fail_next(*fault, None)

    step(east)
    running(east, deployment)

    assert (len(names(kube)), len(kube.secrets.all())) == (1, 1)
    assert Run.objects.filter(deployment=deployment).count() == 1


def test_a_failure_has_its_code(kube: KubeCluster, east: Cluster, submit: Submit) -> None:
    deployment = submit(image=IMAGE, command=["sh", "-c", "exit 3"])

    until(east, deployment, Status.FAILED)

    assert deployment.exit_code == 3


@pytest.mark.parametrize(
    ("fields", "remedy"),
    [
        ({"image": "nobody/nothing:1"}, "correct `image`"),
        ({"image": IMAGE, "command": ["no-such-program"]}, "`command`"),
        ({"image": IMAGE, "command": ["tail", "/dev/zero"], "ram_mib": 16}, "`ram_mib`"),
    ],
)
def test_a_start_that_cannot_succeed_is_reported_with_the_remedy(
    kube: KubeCluster, east: Cluster, submit: Submit, fields: dict[str, object], remedy: str
) -> None:
    deployment = submit(**fields)

    until(east, deployment, Status.FAILED)
    step(east)

    assert remedy in deployment.status_reason
    assert names(kube) == []


def test_a_preemptor_waits_until_its_victims_container_has_ended(
    kube: KubeCluster, east: Cluster, submit: Submit, settings: Settings
) -> None:
    settings.STOP_GRACE_SECONDS = 3
    kube.nodes.pop()
    step(east)
    victim = submit(image=IMAGE, command=STUBBORN, cpu_milli=8000, priority=10)
    first = running(east, victim)
    preemptor = submit(image=IMAGE, command=UNTIL_ASKED, cpu_milli=8000, priority=90)

    step(east)
    together = names(kube)
    until(east, preemptor, Status.RUNNING)

    first.refresh_from_db()
    victim.refresh_from_db()
    second = Run.objects.current().get(deployment=preemptor)
    assert together == [key(east, first)[1]]
    assert (first.exit_code, victim.status) == (137, Status.PENDING)
    assert second.launched_at is not None
    assert first.ended_at is not None
    assert first.ended_at <= second.launched_at
    assert names(kube) == [key(east, second)[1]]


def test_a_stop_is_honoured_within_its_grace(
    kube: KubeCluster, east: Cluster, submit: Submit
) -> None:
    deployment = submit(image=IMAGE, command=UNTIL_ASKED)
    running(east, deployment)

    services.stop(deployment, actor="bob")
    until(east, deployment, Status.STOPPED)

    step(east)
    assert names(kube) == []


@pytest.mark.parametrize("way", ["drain", "preempt", "delete"])
@pytest.mark.parametrize("counts_back", [True, False])
def test_an_eviction_that_happened_while_no_worker_ran_is_queued_again(
    kube: KubeCluster, east: Cluster, submit: Submit, way: str
) -> None:
    deployment = submit(image=IMAGE, command=UNTIL_ASKED)
    run = running(east, deployment)
    kube.confirms_after_s = 1.1
    getattr(kube, way)(key(east, run))

    def is_confirmed() -> bool:
        meta = kube.store.get(key(east, run))["metadata"]
        return bool(meta.get("deletionGracePeriodSeconds") == 0)

    wait_until(is_confirmed, "its node has confirmed")
    reconcile(east.pk)

    run.refresh_from_db()
    deployment.refresh_from_db()
    assert run.outcome == Run.Outcome.REQUEUED
    assert (deployment.status, deployment.status_code) == (Status.PENDING, "engine_evicted")


@pytest.mark.parametrize("way", ["drain", "preempt", "press", "delete"])
def test_an_eviction_by_kubernetes_is_not_a_restart_even_after_an_exit_with_0(
    kube: KubeCluster, east: Cluster, submit: Submit, way: str
) -> None:
    deployment = submit(image=IMAGE, command=UNTIL_ASKED)
    run = running(east, deployment)

    getattr(kube, way)(key(east, run))

    def is_requeued() -> bool:
        reconcile(east.pk)
        run.refresh_from_db()
        return run.released_at is not None

    wait_until(is_requeued, "it is queued again")
    deployment.refresh_from_db()
    assert run.outcome == Run.Outcome.REQUEUED
    assert (deployment.status, deployment.restarts) == (Status.PENDING, 0)
    until(east, deployment, Status.RUNNING)
    assert len(names(kube)) == 1


def test_a_node_that_becomes_not_ready_is_reported_on_its_deployment_at_once(
    kube: KubeCluster, east: Cluster, submit: Submit
) -> None:
    deployment = submit(image=IMAGE, command=UNTIL_ASKED)
    run = running(east, deployment)
    node = next(n for n in kube.nodes if n.name == kube_node(kube, run, east))

    kube.silence(node)
    step(east)
    deployment.refresh_from_db()
    meanwhile = deployment.status, deployment.status_code
    node.answers = True

    def is_told() -> bool:
        step(east)
        deployment.refresh_from_db()
        return deployment.status_code == "running"

    wait_until(is_told, "that its node is back")
    assert meanwhile == (Status.RUNNING, "node_lost")
    assert deployment.status_reason == "Runs on node-1 of east."


def test_a_deployment_on_a_lost_node_is_queued_again_only_when_its_pod_is_gone(
    kube: KubeCluster, east: Cluster, submit: Submit
) -> None:
    deployment = submit(image=IMAGE, command=UNTIL_ASKED)
    run = running(east, deployment)
    node = next(n for n in kube.nodes if n.name == kube_node(kube, run, east))

    kube.lose(node)
    with time_machine.travel(timezone.now() + timedelta(minutes=2)):
        step(east)
    deployment.refresh_from_db()
    meanwhile = deployment.status, deployment.status_code, deployment.status_reason
    kube.remove(node)

    wait_until(lambda: _again(east, deployment, run), "it runs elsewhere")
    run.refresh_from_db()
    assert meanwhile[:2] == (Status.RUNNING, "node_lost")
    assert f"Node {node.name} does not report" in meanwhile[2]
    assert run.outcome == Run.Outcome.REQUEUED
    assert deployment.restarts == 0
    assert len(names(kube)) == 1


def test_a_pod_that_was_force_deleted_is_replaced(
    kube: KubeCluster, east: Cluster, submit: Submit
) -> None:
    deployment = submit(image=IMAGE, command=UNTIL_ASKED)
    run = running(east, deployment)

    kube.store.update(key(east, run), lambda pod: pod["metadata"].update(finalizers=[]))
    kube.store.delete(key(east, run), 0)

    wait_until(lambda: _again(east, deployment, run), "it runs again")


def test_a_pod_of_a_run_that_has_ended_is_removed(
    kube: KubeCluster, east: Cluster, submit: Submit
) -> None:
    deployment = submit(image=IMAGE, command=UNTIL_ASKED)
    run = running(east, deployment)
    services.stop(deployment, actor="bob")
    until(east, deployment, Status.STOPPED)
    uid = Connection.objects.get(cluster=east).uid
    assert run.container
    spec = ContainerSpec(run.container, IMAGE, ("true",), {}, cpu_milli=100, ram_mib=64, gpu=0)
    orphan = pods.manifest(uid, spec, grace_seconds=1)

    kube.create_pod(NAMESPACE, orphan)

    def is_gone() -> bool:
        reconcile(east.pk)
        return names(kube) == []

    wait_until(is_gone, "the orphan is removed")


def test_nothing_starts_twice_while_the_api_server_does_not_answer(
    kube: KubeCluster, east: Cluster, submit: Submit
) -> None:
    deployment = submit(image=IMAGE, command=UNTIL_ASKED)
    kube.server.fail_next("POST", "/pods", None, after=True)

    step(east)
    assert Connection.objects.get(cluster=east).lost_contact_at is not None
    until(east, deployment, Status.RUNNING)

    assert len([r for r in kube.server.requests if r.method == "POST"]) <= 2
    assert len(names(kube)) == 1
    assert Run.objects.filter(deployment=deployment).count() == 1


def kube_node(kube: KubeCluster, run: Run, cluster: Cluster) -> str:
    return str(kube.store.get(key(cluster, run))["spec"]["nodeName"])


def _again(cluster: Cluster, deployment: Deployment, before: Run) -> bool:
    step(cluster)
    deployment.refresh_from_db()
    current = Run.objects.current().filter(deployment=deployment).first()
    return deployment.status == Status.RUNNING and current is not None and current.pk != before.pk
