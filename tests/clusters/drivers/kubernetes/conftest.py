"""A Kubernetes double, and a driver that has just the rights which the documentation grants."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from django.conf import settings
from django.utils import timezone

from clusters.drivers.base import ContainerSpec, Observation
from clusters.drivers.kubernetes import KubernetesDriver
from clusters.models import Cluster, Connection
from tests.support.docker_engine import wait_until
from tests.support.kube_api import Account, KubeCluster, Node

NAMESPACE = "mlops"
IMAGE = "tools:1"

Documents = list[dict[str, Any]]


def manifests() -> Documents:
    """Return what the operators' page has them apply."""
    page = (Path(settings.BASE_DIR) / "docs" / "operating.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    return [d for block in blocks for d in yaml.safe_load_all(block) if "apiVersion" in d]


def account(documents: Documents | None = None) -> Account:
    name = f"system:serviceaccount:{NAMESPACE}:hypervisor"
    return Account.of(name, "a-token", manifests() if documents is None else documents)


@pytest.fixture
def counts_back() -> bool:
    """How the server dates deletions: tests that depend on it are parametrized over both ways."""
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
    """Return a function that waits until the run's container is seen with such fields."""

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


def uid(run_id: int) -> UUID:
    """Return the uid of the run's container in these tests."""
    return UUID(int=run_id, version=4)


def spec(
    run_id: int, *command: str, env: Mapping[str, str] | None = None, **rest: Any
) -> ContainerSpec:
    made = ContainerSpec(
        uid(run_id), IMAGE, command, env or {}, cpu_milli=500, ram_mib=256, gpu=0, run_id=run_id
    )
    return replace(made, **rest)
