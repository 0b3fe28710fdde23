"""What the driver reports about the nodes: amounts, labels, states, and changes as they happen."""

import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from clusters.drivers.base import DriverError, NodeReport, NodeState
from clusters.drivers.kubernetes import nodes
from clusters.drivers.kubernetes.api import Api
from clusters.drivers.kubernetes.driver import KubernetesDriver
from clusters.drivers.kubernetes.nodes import Use
from clusters.drivers.kubernetes.supply import Supply
from clusters.drivers.kubernetes.taints import Toleration, barring
from clusters.models import Connection
from tests.support.docker_engine import wait_until
from tests.support.kube_api import KubeCluster, Node
from tests.support.kubernetes import account, manifests

CONNECTION = UUID("0b9bd1f7-3f0b-4b51-8d1f-8b1a4a4f2f10")
GPU = "nvidia.com/gpu"


def amounts(report: NodeReport) -> tuple[int, int, int]:
    return report.cpu_milli, report.ram_mib, report.gpu


def by_name(driver: KubernetesDriver) -> dict[str, NodeReport]:
    found = driver.nodes()
    assert found is not None
    return {report.name: report for report in found}


def requested(**spec: Any) -> dict[str, int]:
    pod = {"metadata": {"name": "x", "namespace": "n"}, "spec": {"nodeName": "a", **spec}}
    use = Use.read(pod, CONNECTION)
    assert use
    return {name: int(amount) for name, amount in use.amounts.items() if amount}


def container(**requests: str) -> dict[str, Any]:
    return {"name": "c", "resources": {"requests": requests}}


# --- Amounts --------------------------------------------------------------------------------------


def test_a_pod_reserves_the_sum_of_its_containers_and_its_overhead() -> None:
    assert requested(
        containers=[container(cpu="500m", memory="1Gi"), container(cpu="1")],
        overhead={"cpu": "250m", "memory": "120Mi"},
    ) == {"cpu_milli": 1750, "ram_mib": 1144}


def test_a_pod_reserves_what_its_largest_init_container_needs() -> None:
    init = [container(cpu="1"), container(cpu="3", **{GPU: "1"})]

    found = requested(containers=[container(cpu="2")], initContainers=init)

    assert found == {"cpu_milli": 3000, "gpu": 1}


def test_a_sidecar_counts_with_the_containers_and_with_later_init_containers() -> None:
    sidecar = container(cpu="500m") | {"restartPolicy": "Always"}

    found = requested(containers=[container(cpu="1")], initContainers=[sidecar, container(cpu="2")])

    assert found == {"cpu_milli": 2500}


def test_a_limit_without_a_request_is_the_request() -> None:
    limited = {"name": "c", "resources": {"limits": {GPU: "2", "cpu": "2"}}}

    assert requested(containers=[limited]) == {"cpu_milli": 2000, "gpu": 2}


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_an_ended_pod_uses_nothing(phase: str) -> None:
    pod = {"metadata": {"name": "x"}, "spec": {}, "status": {"phase": phase}}

    assert Use.read(pod, CONNECTION) is None


def test_amounts_that_are_no_whole_units_are_rounded_against_the_node() -> None:
    has = {"cpu_milli": Decimal("1000.5"), "ram_mib": Decimal("10.2"), "gpu": Decimal(0)}
    machine = nodes.Machine("a", has, {}, NodeState.ACTIVE, "")
    use = Use("a", "n", {"cpu_milli": Decimal("0.6"), "ram_mib": Decimal("0.3"), "gpu": Decimal(0)})

    (report,) = nodes.reports([machine], [use], {}, "mlops")

    assert amounts(report) == (999, 9, 0)
    assert report.foreign == (1, 1, 0)


def test_pods_of_others_are_subtracted_and_own_ones_are_not(
    kube: KubeCluster, driver: KubernetesDriver
) -> None:
    kube.occupy(kube.nodes[0], cpu="1", gpu="1")
    kube.occupy(kube.nodes[0], "system", namespace="kube-system", memory="1Gi")

    report = by_name(driver)["node-1"]

    assert amounts(report) == (7000, 15360, 1)
    assert report.foreign == (1000, 1024, 1)


def test_a_quota_is_shared_by_the_nodes_that_take_pods_first(
    kube: KubeCluster, driver: KubernetesDriver
) -> None:
    kube.quotas["mlops"] = {"limits.cpu": "5"}
    kube.occupy(kube.nodes[1], namespace="mlops", cpu="1")
    kube.nodes[0].unschedulable = True

    found = by_name(driver)

    assert {name: report.cpu_milli for name, report in found.items()} == {
        "node-1": 1000, "node-2": 3000,
    }  # fmt: skip


def test_without_the_right_to_list_nodes_none_are_reported(
    kube: KubeCluster, driver: KubernetesDriver
) -> None:
    kube.accounts[0] = account([d for d in manifests() if d["kind"] != "ClusterRole"])

    assert driver.nodes() is None


def test_a_failure_to_list_nodes_is_no_missing_right(
    kube: KubeCluster, driver: KubernetesDriver
) -> None:
    kube.server.fail_next("GET", "/nodes", None)

    with pytest.raises(DriverError):
        driver.nodes()


# --- Taints ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "taint", "covered"),
    [
        ("team", {"key": "team", "value": "x", "effect": "NoSchedule"}, True),
        ("team=x", {"key": "team", "value": "x", "effect": "NoExecute"}, True),
        ("team=y", {"key": "team", "value": "x", "effect": "NoSchedule"}, False),
        ("team:NoSchedule", {"key": "team", "effect": "NoSchedule"}, True),
        ("team:NoSchedule", {"key": "team", "effect": "NoExecute"}, False),
        ("other", {"key": "team", "effect": "NoSchedule"}, False),
        ("other", {"key": "team", "effect": "PreferNoSchedule"}, True),
        ("other", {"key": GPU, "value": "present", "effect": "NoSchedule"}, True),
    ],
)
def test_a_taint_bars_pods_unless_it_is_tolerated(
    text: str, taint: dict[str, str], covered: bool
) -> None:
    assert (barring([taint], [Toleration.read(text)]) is None) == covered


@pytest.mark.parametrize("text", ["", "=x", "team:Never", "team x", "team=x:NoSchedule:y"])
def test_a_malformed_toleration_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(ValueError, match="KEY=VALUE:EFFECT"):
        Toleration.read(text)


# --- Changes --------------------------------------------------------------------------------------


@pytest.fixture
def news() -> threading.Event:
    return threading.Event()


@pytest.fixture
def supply(
    kube: KubeCluster, driver: KubernetesDriver, connection: Connection, news: threading.Event
) -> Iterator[Supply]:
    """A supply whose nodes and Pods are followed by threads."""
    api: Api = driver._api
    made = Supply(api, connection, news.set)
    made.keep_up()

    def followed() -> int:
        return sum(r.attributes.verb == "watch" for r in kube.server.requests)

    wait_until(lambda: followed() == 2, "both are followed")
    wait_until(news.is_set, "the nodes")
    news.clear()
    yield made
    kube.store.close()


def free(supply: Supply) -> dict[str, tuple[int, int, int]]:
    return {report.name: amounts(report) for report in supply.nodes() or ()}


def test_changes_of_nodes_and_of_foreign_pods_are_reported_as_they_happen(
    kube: KubeCluster, supply: Supply, news: threading.Event
) -> None:
    kube.nodes.append(Node("node-3", gpu=4))
    wait_until(news.is_set, "the new node")
    assert "node-3" in free(supply)

    news.clear()
    key = kube.occupy(kube.nodes[0], gpu="2")
    wait_until(news.is_set, "the new Pod")
    assert free(supply)["node-1"][2] == 0

    news.clear()
    kube.delete(key)
    wait_until(news.is_set, "its end")
    assert free(supply)["node-1"][2] == 2

    news.clear()
    kube.nodes.pop()
    wait_until(news.is_set, "the deleted node")
    assert "node-3" not in free(supply)


def test_what_is_followed_is_not_listed_again(kube: KubeCluster, supply: Supply) -> None:
    def lists() -> int:
        paths = ("/api/v1/nodes", "/api/v1/pods")
        return sum(r.attributes.verb == "list" and r.path in paths
                   for r in kube.server.requests)  # fmt: skip

    before = lists()

    supply.nodes()

    assert lists() == before


def test_a_change_that_does_not_matter_is_not_reported(
    kube: KubeCluster, supply: Supply, news: threading.Event
) -> None:
    kube.nodes[0].labels["example.com/heartbeat"] = "1"
    kube.nodes[1].gpu = 1
    wait_until(news.is_set, "the change that matters")

    seen = {report.name: report.labels for report in supply.nodes() or ()}
    assert seen["node-1"] == {}
