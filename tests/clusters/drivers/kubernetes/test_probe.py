"""Probing a cluster with more or fewer rights."""

from typing import Any

import pytest

from clusters.drivers.base import DriverError
from clusters.drivers.kubernetes.driver import KubernetesDriver
from clusters.models import Connection
from tests.support.kube_api import Account, KubeCluster, Node
from tests.support.kubernetes import (
    NAMESPACE,
    account,
    account_without_others_pods,
    manifests,
    without,
)


def without_cluster_role(kube: KubeCluster) -> None:
    kube.accounts[0] = account([d for d in manifests() if d["kind"] != "ClusterRole"])


def test_the_capacity_is_the_sum_over_the_nodes(driver: KubernetesDriver) -> None:
    probe = driver.probe()

    assert (probe.cpu_milli, probe.ram_mib, probe.gpu) == (12_000, 24 * 1024, 2)
    assert probe.version == "Kubernetes v1.33.2"
    assert probe.warnings == ()


@pytest.mark.parametrize(
    "node",
    [
        Node("n", unschedulable=True),
        Node("n", answers=False),
        Node(
            "n", taints=[{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]
        ),
    ],
)
def test_nodes_that_accept_no_pods_do_not_count(
    kube: KubeCluster, driver: KubernetesDriver, node: Node
) -> None:
    kube.nodes.append(node)

    assert driver.probe().cpu_milli == 12_000


def test_nodes_reserved_for_gpus_count(kube: KubeCluster, driver: KubernetesDriver) -> None:
    taint = {"key": "nvidia.com/gpu", "effect": "NoSchedule", "value": "present"}
    kube.nodes.append(Node("n", cpu="1500m", memory="1048576Ki", gpu=4, taints=[taint]))

    probe = driver.probe()

    assert (probe.cpu_milli, probe.ram_mib, probe.gpu) == (13_500, 25 * 1024, 6)


def test_a_quota_bounds_the_capacity_of_the_nodes(
    kube: KubeCluster, driver: KubernetesDriver
) -> None:
    kube.quotas[NAMESPACE] = {"requests.cpu": "6", "limits.cpu": "3", "pods": "10"}

    probe = driver.probe()

    assert (probe.cpu_milli, probe.ram_mib) == (3_000, 24 * 1024)


def test_the_probe_warns_without_the_right_to_list_the_pods_of_others(
    kube: KubeCluster, driver: KubernetesDriver
) -> None:
    kube.accounts[0] = account_without_others_pods()

    probe = driver.probe()

    assert probe.nodes
    assert "list the Pods of all namespaces" in probe.warnings[0]


def test_without_nodes_the_quota_is_the_capacity(
    kube: KubeCluster, driver: KubernetesDriver
) -> None:
    without_cluster_role(kube)
    kube.quotas[NAMESPACE] = {
        "requests.cpu": "20", "requests.memory": "10Gi", "requests.nvidia.com/gpu": "1",
    }  # fmt: skip

    probe = driver.probe()

    assert (probe.cpu_milli, probe.ram_mib, probe.gpu) == (20_000, 10 * 1024, 1)
    assert probe.nodes is None
    assert "counts as one node of its own size" in probe.warnings[0]
    assert "ClusterRole" in probe.warnings[0]


def test_without_nodes_and_a_quota_the_probe_returns_the_cluster_s_own_capacity_with_a_warning(
    kube: KubeCluster, driver: KubernetesDriver, connection: Connection
) -> None:
    without_cluster_role(kube)

    probe = driver.probe()

    claimed = connection.cluster
    assert (probe.cpu_milli, probe.ram_mib, probe.gpu) == (4_000, 8_192, claimed.gpu)
    assert any("check that the cluster's own capacity" in warning for warning in probe.warnings)


def test_a_cluster_has_the_same_id_through_another_namespace(
    kube: KubeCluster, driver: KubernetesDriver, connection: Connection
) -> None:
    first = driver.probe().engine_id
    kube.namespaces["other"] = "another-uid"
    documents: list[dict[str, Any]] = manifests()
    for document in documents:
        document["metadata"]["namespace"] = "other"
    kube.accounts[0] = account(documents)
    connection.namespace = "other"

    assert KubernetesDriver(connection).probe().engine_id == first
    without_cluster_role(kube)
    kube.accounts[0] = account([d for d in documents if d["kind"] != "ClusterRole"])
    assert KubernetesDriver(connection).probe().engine_id == "kubernetes:another-uid"


def test_a_cluster_keeps_its_id_when_it_has_no_nodes(
    kube: KubeCluster, driver: KubernetesDriver
) -> None:
    first = driver.probe().engine_id

    kube.nodes.clear()

    assert driver.probe().engine_id == first


def test_a_cluster_keeps_its_id_without_the_right_to_list_nodes(
    kube: KubeCluster, driver: KubernetesDriver
) -> None:
    first = driver.probe().engine_id
    granted = kube.accounts[0]

    kube.accounts[0] = Account(granted.name, granted.token, without(granted, "list", "nodes"))

    assert driver.probe().engine_id == first


def test_a_missing_namespace_is_reported(kube: KubeCluster, driver: KubernetesDriver) -> None:
    del kube.namespaces[NAMESPACE]

    with pytest.raises(DriverError, match=NAMESPACE):
        driver.probe()


def test_all_missing_rights_are_named_together(kube: KubeCluster, driver: KubernetesDriver) -> None:
    documents = manifests()
    for document in documents:
        if document["kind"] == "Role":
            document["rules"][0]["verbs"] = ["get", "list", "watch"]
    kube.accounts[0] = account(documents)

    with pytest.raises(DriverError, match="`create` `pods`, `patch` `pods`, `delete` `pods`"):
        driver.probe()


def test_the_probe_warns_if_the_namespace_refuses_root(
    kube: KubeCluster, driver: KubernetesDriver
) -> None:
    kube.restricted.add(NAMESPACE)

    (warning,) = driver.probe().warnings

    assert "deployments without `run_as` fail there" in warning


def test_the_probe_warns_if_the_namespace_would_refuse_all_pods(
    kube: KubeCluster, driver: KubernetesDriver
) -> None:
    kube.limits[NAMESPACE] = {"min": {"memory": "1Gi"}}

    (warning,) = driver.probe().warnings

    assert "would refuse the hypervisor's Pods" in warning
    assert "minimum memory usage" in warning


def test_a_probe_leaves_nothing_behind(kube: KubeCluster, driver: KubernetesDriver) -> None:
    driver.probe()

    assert kube.store.all()[0] == []
