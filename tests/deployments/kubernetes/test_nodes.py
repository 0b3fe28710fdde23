"""A Kubernetes cluster has the nodes that Kubernetes has, and deployments run where planned."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from clusters import connections, drivers, nodes
from clusters.capacity import Capacity
from clusters.connections import Route
from clusters.drivers.kubernetes import pods, states
from clusters.models import Cluster, Node
from deployments.choices import Status
from deployments.models import Deployment
from deployments.runtime.models import Run
from hypervisor.base.errors import Conflict, Invalid
from orgs.models import Event, Organization
from scheduling.cycle.run import run_cycle
from scheduling.insight.verify import violations
from scheduling.models import SchedulingCycle
from tests.deployments.kubernetes.conftest import connected
from tests.fixtures.deployments import Submit
from tests.support import kube_api
from tests.support.docker_engine import wait_until
from tests.support.kube_api import KubeCluster
from tests.support.kube_api.status import ApiError
from tests.support.kubernetes import (
    IMAGE,
    UNTIL_ASKED,
    account,
    account_without_others_pods,
    manifests,
)
from tests.support.reconcile import driver_of, reconcile

pytestmark = pytest.mark.django_db


@pytest.fixture
def kube(kube: KubeCluster) -> KubeCluster:
    """Two nodes of 2 GPUs."""
    for node in kube.nodes:
        node.gpu = 2
    return kube


def step(cluster: Cluster) -> None:
    run_cycle(cluster.organization_id, SchedulingCycle.Trigger.MANUAL)
    reconcile(cluster.pk)
    assert list(violations()) == []


def until(cluster: Cluster, condition: Callable[[], bool], what: str) -> None:
    def is_so() -> bool:
        step(cluster)
        return condition()

    wait_until(is_so, what)


def states_of(*deployments: Deployment) -> list[str]:
    rows = dict(Deployment.objects.values_list("pk", "status"))
    return [rows[deployment.pk] for deployment in deployments]


def train(submit: Submit, gpu: int, priority: int = 10) -> Deployment:
    return submit(image=IMAGE, command=UNTIL_ASKED, gpu=gpu, priority=priority)


def node_of(deployment: Deployment) -> str:
    return str(Deployment.objects.values_list("node__name", flat=True).get(pk=deployment.pk))


def places(kube: KubeCluster) -> dict[int, str]:
    """Return the node of each run's Pod, by the run."""
    live = [p for p in kube.store.all()[0] if pods.RUN in p["metadata"].get("labels", {})]
    return {int(p["metadata"]["labels"][pods.RUN]): p["spec"].get("nodeName", "") for p in live}


def evictions(*deployments: Deployment) -> int:
    return Run.objects.filter(deployment__in=deployments, outcome=Run.Outcome.EVICTED).count()


def node(cluster: Cluster, name: str) -> Node:
    return cluster.nodes.get(name=name)


def test_a_cluster_has_the_nodes_of_kubernetes(kube: KubeCluster, east: Cluster) -> None:
    rows = {n.name: Capacity.of(n) for n in east.nodes.all()}

    assert rows == {name: Capacity(8000, 16384, 2) for name in ("node-1", "node-2")}
    assert Capacity.of(east) == Capacity(16000, 32768, 4)


def test_a_preemptor_evicts_the_deployments_of_one_node_and_runs_there(
    kube: KubeCluster, east: Cluster, submit: Submit
) -> None:
    small = [train(submit, gpu=1) for _ in range(4)]
    until(east, lambda: set(states_of(*small)) == {"running"}, "all four run")
    homes = {d.pk: node_of(d) for d in small}
    assert sorted(homes.values()) == ["node-1", "node-1", "node-2", "node-2"]
    large = train(submit, gpu=2, priority=90)

    until(east, lambda: states_of(large) == ["running"], "the preemptor runs")

    victims = Run.objects.filter(outcome=Run.Outcome.EVICTED).values_list("deployment", flat=True)
    assert [homes[pk] for pk in victims] == [node_of(large)] * 2
    run = Run.objects.current().get(deployment=large)
    assert places(kube)[run.pk] == node_of(large)


def test_what_other_pods_request_is_not_ours(
    kube: KubeCluster, east: Cluster, submit: Submit
) -> None:
    key = kube.occupy(kube.nodes[0], cpu="1500m", memory="1Gi", gpu="1")
    kube.occupy(kube.nodes[1], "another", namespace="kube-system", gpu="1")
    large = train(submit, gpu=2)

    reconcile(east.pk)
    assert Capacity.of(node(east, "node-1")) == Capacity(6500, 15360, 1)
    assert node(east, "node-2").gpu == 1
    step(east)
    assert states_of(large) == ["pending"]

    kube.delete(key)
    until(east, lambda: states_of(large) == ["running"], "it runs where the other Pod was")
    assert node_of(large) == "node-1"


def test_a_node_that_refuses_is_corrected_and_nothing_is_evicted_twice(
    kube: KubeCluster, east: Cluster, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account may not see the Pod of others that uses a GPU."""
    monkeypatch.setattr(states, "REFUSED_S", 0)
    kube.accounts[0] = account_without_others_pods()
    kube.nodes.pop()
    step(east)
    small = train(submit, gpu=1)
    until(east, lambda: states_of(small) == ["running"], "it runs")
    kube.occupy(kube.nodes[0], gpu="1")
    large = train(submit, gpu=2, priority=90)

    def is_refused() -> bool:
        return Event.objects.filter(kind="node_refused").exists()

    until(east, is_refused, "the node refuses")
    for _ in range(5):
        step(east)

    large.refresh_from_db()
    assert (large.status, large.restarts) == (Status.PENDING, 0)
    assert (node(east, "node-1").state, node(east, "node-1").gpu) == ("active", 1)
    assert "Insufficient nvidia.com/gpu" in Event.objects.get(kind="node_refused").reason
    until(east, lambda: states_of(small) == ["running"], "the victim runs again")
    with time_machine.travel(timezone.now() + timedelta(minutes=6)):
        step(east)
        assert node(east, "node-1").gpu == 2
        step(east)
        large.refresh_from_db()
        assert large.status_code == "preemption_suspended"
        assert states_of(small) == ["running"]
    assert evictions(small) == 1


def test_a_refusal_that_the_reports_explain_leaves_the_node_active(
    kube: KubeCluster, east: Cluster, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "REFUSED_S", 0)
    kube.nodes.pop()
    step(east)
    large = train(submit, gpu=2)
    run_cycle(east.organization_id, SchedulingCycle.Trigger.MANUAL)
    driver = driver_of(east)
    start = driver.start

    def start_late(*args: object) -> None:
        kube.occupy(kube.nodes[0], gpu="1")  # after the capacity was read
        start(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(driver, "start", start_late)
    reconcile(east.pk)
    monkeypatch.undo()
    monkeypatch.setattr(states, "REFUSED_S", 0)

    until(east, lambda: states_of(large) == ["pending"], "it is queued again")

    large.refresh_from_db()
    assert (node(east, "node-1").state, node(east, "node-1").gpu) == ("active", 1)
    assert large.restarts == 0
    assert not Event.objects.filter(kind="node_refused").exists()
    small = train(submit, gpu=1)
    until(east, lambda: states_of(small) == ["running"], "what fits runs there")


def test_a_kubelet_that_rejects_a_pod_gets_none_for_a_while(
    kube: KubeCluster, east: Cluster, submit: Submit
) -> None:
    kube.nodes[0].rejects = "UnexpectedAdmissionError"
    nodes.cordon(node(east, "node-2"), actor="alice")
    deployment = train(submit, gpu=1)

    until(east, lambda: node(east, "node-1").state == "cordoned", "the node is not used")
    nodes.uncordon(node(east, "node-2"), actor="alice")
    until(east, lambda: states_of(deployment) == ["running"], "it runs on the other node")

    deployment.refresh_from_db()
    assert (node_of(deployment), deployment.restarts) == ("node-2", 0)


def test_a_kubelet_that_lacks_cpu_has_less_of_it(
    kube: KubeCluster, east: Cluster, submit: Submit
) -> None:
    kube.nodes[0].rejects = "OutOfcpu"
    nodes.cordon(node(east, "node-2"), actor="alice")
    deployment = submit(image=IMAGE, command=UNTIL_ASKED, cpu_milli=1000)

    until(east, lambda: node(east, "node-1").cpu_milli == 999, "the node has less than 1 CPU")

    deployment.refresh_from_db()
    assert (deployment.status, deployment.restarts) == (Status.PENDING, 0)


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"unschedulable": True}, "cordoned"),
        ({"answers": False}, "lost"),
        ({"taints": [{"key": "team", "value": "x", "effect": "NoSchedule"}]}, "cordoned"),
        ({"taints": [{"key": "team", "value": "x", "effect": "PreferNoSchedule"}]}, "active"),
        ({"taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]}, "active"),
    ],
)
def test_nothing_is_placed_on_a_node_that_takes_no_pods(
    kube: KubeCluster, east: Cluster, submit: Submit, change: dict[str, object], state: str
) -> None:
    for name, value in change.items():
        setattr(kube.nodes[0], name, value)
    reconcile(east.pk)
    assert node(east, "node-1").state == state
    assert bool(node(east, "node-1").engine_message) == (state != "active")

    both = [submit(image=IMAGE, command=UNTIL_ASKED, gpu=0, cpu_milli=8000) for _ in range(2)]

    able = {"node-1", "node-2"} if state == "active" else {"node-2"}
    until(east, lambda: states_of(*both).count("running") == len(able), "what can run runs")
    assert set(places(kube).values()) == able


def test_a_tolerated_taint_does_not_keep_deployments_off(
    kube: KubeCluster, east: Cluster, submit: Submit
) -> None:
    for machine in kube.nodes:
        machine.taints = [{"key": "team", "value": "x", "effect": "NoSchedule"}]
    connection = east.connections.get()
    connection.tolerations = ["team=x:NoSchedule"]
    connection.save()

    deployment = train(submit, gpu=2)

    until(east, lambda: states_of(deployment) == ["running"], "it runs in spite of the taint")


def test_labels_of_nodes_are_taken_over_and_required(
    kube: KubeCluster, east: Cluster, submit: Submit
) -> None:
    kube.nodes[1].labels = {
        "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "topology.kubernetes.io/zone": "b",
        "example.com/rack": "r7", "example.com/secret": "x",
    }  # fmt: skip
    connection = east.connections.get()
    connection.node_labels = ["example.com/rack=rack"]
    connection.save()
    reconcile(east.pk)

    labels = node(east, "node-2").labels
    deployment = submit(image=IMAGE, command=UNTIL_ASKED, require={"rack": ["r7"]})

    assert labels == {"gpu.model": "NVIDIA-H100-80GB-HBM3", "zone": "b", "rack": "r7"}
    until(east, lambda: states_of(deployment) == ["running"], "it runs")
    assert list(places(kube).values()) == ["node-2"]


def test_nodes_that_are_added_and_deleted_in_kubernetes_are_here_too(
    kube: KubeCluster, east: Cluster, submit: Submit
) -> None:
    deployment = train(submit, gpu=2)
    until(east, lambda: states_of(deployment) == ["running"], "it runs")
    gone = next(n for n in kube.nodes if n.name == node_of(deployment))
    kube.nodes.append(kube_api.Node("node-3", gpu=8))

    kube.remove(gone)

    until(
        east,
        lambda: states_of(deployment) == ["running"] and node_of(deployment) != gone.name,
        "it runs on another node",
    )
    until(east, lambda: not east.nodes.filter(name=gone.name).exists(), "its row is deleted")
    assert node(east, "node-3").gpu == 8


def test_a_deployment_that_was_not_launched_leaves_a_node_that_takes_none_any_more(
    kube: KubeCluster, east: Cluster, submit: Submit
) -> None:
    deployment = train(submit, gpu=2)
    run_cycle(east.organization_id, SchedulingCycle.Trigger.MANUAL)
    home = node_of(deployment)
    next(n for n in kube.nodes if n.name == home).unschedulable = True

    reconcile(east.pk)
    deployment.refresh_from_db()
    assert (deployment.status, deployment.status_code) == (Status.PENDING, "node_refused")

    until(east, lambda: states_of(deployment) == ["running"], "it runs elsewhere")
    assert node_of(deployment) != home


def test_the_quota_bounds_the_nodes_together(kube: KubeCluster, east: Cluster) -> None:
    kube.quotas["mlops"] = {"requests.nvidia.com/gpu": "3", "requests.cpu": "10"}

    reconcile(east.pk)

    east.refresh_from_db()
    assert (east.cpu_milli, east.gpu) == (10_000, 3)
    assert (node(east, "node-1").gpu, node(east, "node-2").gpu) == (2, 1)


def test_a_cluster_gets_the_nodes_when_it_is_connected(
    acme: Organization, kube: KubeCluster, rack: Cluster
) -> None:
    route = Route(
        "kubernetes", kube.url, namespace="mlops", credentials={"token": "a-token"},
        node_labels=("kubernetes.io/hostname=host",), tolerations=("team",),
    )  # fmt: skip

    assert connections.probe(rack, route).warnings == ()
    connections.connect(rack, actor="olga", route=route)

    assert {n.name: n.labels for n in rack.nodes.all()} == {
        name: {"host": name} for name in ("node-1", "node-2")
    }
    rack.refresh_from_db()
    assert Capacity.of(rack) == Capacity(16000, 32768, 4)
    with pytest.raises(Conflict, match="those of its engine"):
        nodes.delete(rack.nodes.all()[0], actor="alice")
    connections.disconnect(rack, actor="olga")
    nodes.delete(rack.nodes.all()[0], actor="alice")


@pytest.mark.parametrize(
    ("wrong", "form"),
    [
        ({"tolerations": ("team:Never",)}, "KEY=VALUE:EFFECT"),
        ({"node_labels": ("a=b c",)}, "'b c'"),
    ],
)
def test_malformed_tolerations_and_labels_are_refused(
    kube: KubeCluster, rack: Cluster, wrong: dict[str, Any], form: str
) -> None:
    route = Route(
        "kubernetes", kube.url, namespace="mlops", credentials={"token": "a-token"}, **wrong
    )

    with pytest.raises(Invalid, match=form):
        connections.probe(rack, route)


def test_containers_are_reconciled_while_the_nodes_cannot_be_listed(
    kube: KubeCluster, east: Cluster, submit: Submit
) -> None:
    deployment = train(submit, gpu=1)
    for _ in range(20):
        answer = ApiError(500, "InternalError", "leader changed")
        kube.server.fail_next("GET", "/api/v1/nodes", answer)

    until(east, lambda: states_of(deployment) == ["running"], "it runs")

    assert east.nodes.filter(state="active").count() == 2


# --- Without nodes, and before they were known ----------------------------------------------------


def without_cluster_role(kube: KubeCluster) -> None:
    kube.accounts[0] = account([d for d in manifests() if d["kind"] != "ClusterRole"])


def test_without_the_right_the_cluster_is_one_node_and_kubernetes_chooses(
    acme: Organization, kube: KubeCluster, submit: Submit
) -> None:
    without_cluster_role(kube)
    west = connected(acme, kube)
    deployment = train(submit, gpu=0)

    until(west, lambda: states_of(deployment) == ["running"], "it runs")

    assert west.nodes.count() == 1
    assert all("affinity" not in pod["spec"] for pod in kube.store.all()[0])


def test_running_deployments_keep_their_places_when_the_nodes_become_known(
    acme: Organization, kube: KubeCluster, submit: Submit
) -> None:
    granted = kube.accounts[0]
    without_cluster_role(kube)
    west = connected(acme, kube)
    former = [submit(image=IMAGE, command=UNTIL_ASKED, cpu_milli=4000) for _ in range(2)]
    until(west, lambda: set(states_of(*former)) == {"running"}, "both run")
    runs = places(kube)

    kube.accounts[0] = granted
    drivers._drivers.clear()
    reconcile(west.pk)
    reconcile(west.pk)

    assert places(kube) == runs
    assert set(states_of(*former)) == {"running"}
    assert {pk: node_of(Run.objects.get(pk=pk).deployment) for pk in runs} == runs
    assert set(west.nodes.values_list("name", flat=True)) == {"node-1", "node-2"}
    assert list(violations()) == []
