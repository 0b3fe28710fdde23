"""A Kubernetes double with two nodes, and east, a cluster whose engine it is."""

from collections.abc import Iterator

import pytest
from django.utils import timezone

from clusters import drivers
from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.models import Cluster, Connection
from deployments.runtime import node_sync
from orgs.models import Organization
from tests.support.kube_api import KubeCluster, Node
from tests.support.kubernetes import IMAGE, NAMESPACE, account
from tests.support.reconcile import driver_of, only_engine


@pytest.fixture
def counts_back() -> bool:
    return True


@pytest.fixture
def kube(counts_back: bool) -> Iterator[KubeCluster]:
    nodes = Node("node-1"), Node("node-2")
    with KubeCluster(*nodes, namespaces=(NAMESPACE,), counts_back=counts_back) as made:
        made.pullable.add(IMAGE)
        made.accounts.append(account())
        yield made


@pytest.fixture
def east(acme: Organization, kube: KubeCluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster whose engine is the Kubernetes double, with its nodes."""
    monkeypatch.setattr(drivers, "_drivers", {})
    cluster = connected(acme, kube)
    node_sync.sync(only_engine(cluster), driver_of(cluster), timezone.now())
    cluster.refresh_from_db()
    return cluster


def connected(acme: Organization, kube: KubeCluster) -> Cluster:
    """Return a cluster of one node, as a release that knew no nodes of Kubernetes connected it."""
    cluster = cluster_services.create(
        actor="alice", organization=acme, name="east", capacity=Capacity(8000, 16384, 0)
    )
    Cluster.objects.filter(pk=cluster.pk).update(driver="kubernetes")
    connection = Connection(
        cluster=cluster, endpoint=kube.url, namespace=NAMESPACE, engine_id="kubernetes:double",
        probed_at=timezone.now(),
    )  # fmt: skip
    connection.seal_credentials({"token": "a-token"})
    connection.save()
    cluster.refresh_from_db()
    return cluster
