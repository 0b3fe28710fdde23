"""A Kubernetes double with two nodes, and east, a cluster whose engine it is."""

from collections.abc import Iterator

import pytest
from django.utils import timezone

from clusters import drivers
from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.models import Cluster, Connection
from orgs.models import Organization
from tests.support.kube_api import KubeCluster, Node
from tests.support.kubernetes import IMAGE, NAMESPACE, account


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
    """A cluster of 8 cores and 16 GiB whose engine is the Kubernetes double."""
    monkeypatch.setattr(drivers, "_drivers", {})
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
