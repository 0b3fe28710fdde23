"""A fake Kubernetes, and a driver with exactly the rights in the documentation."""

from collections.abc import Callable, Iterator

import pytest
from django.utils import timezone

from clusters.drivers.base import Observation
from clusters.drivers.kubernetes.driver import KubernetesDriver
from clusters.models import Cluster, Connection
from tests.support.docker_engine import wait_until
from tests.support.kube_api import KubeCluster, Node
from tests.support.kubernetes import IMAGE, NAMESPACE, account, uid


@pytest.fixture
def counts_back() -> bool:
    """How the server dates deletions; tests that depend on it are parametrized over both ways."""
    return True


@pytest.fixture
def kube(counts_back: bool) -> Iterator[KubeCluster]:
    nodes = Node("node-1", gpu=2), Node("node-2", cpu="4", memory="8Gi")
    with KubeCluster(*nodes, namespaces=(NAMESPACE,), counts_back=counts_back) as cluster:
        cluster.pullable.add(IMAGE)
        cluster.accounts.append(account())
        yield cluster


@pytest.fixture
def connection(kube: KubeCluster) -> Connection:
    claimed = Cluster(name="east", cpu_milli=4000, ram_mib=8192, gpu=2, driver="kubernetes")
    made = Connection(cluster=claimed, endpoint=kube.url, namespace=NAMESPACE)
    made.seal_credentials({"token": "a-token"})
    return made


@pytest.fixture
def driver(connection: Connection) -> KubernetesDriver:
    return KubernetesDriver(connection)


@pytest.fixture
def observed(driver: KubernetesDriver) -> Callable[..., Observation]:
    """Return a function that waits until the run's container is observed with these fields."""

    def wait(run_id: int, **fields: object) -> Observation:
        found: list[Observation] = []

        def is_so() -> bool:
            found[:] = [o for o in driver.observe(timezone.now()) if o.uid == uid(run_id)]
            return any(
                all(getattr(seen, name) == fields[name] for name in fields) for seen in found
            )

        wait_until(is_so, f"run {run_id} with {fields}", seconds=10)
        return found[0]

    return wait
