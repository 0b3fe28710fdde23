"""The contract of all drivers, for the Kubernetes driver against the fake, on two nodes."""

import time
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import pytest
from django.utils import timezone

from clusters.drivers.base import ContainerSpec
from clusters.drivers.kubernetes import pods
from clusters.drivers.kubernetes.driver import KubernetesDriver
from clusters.models import Connection
from tests.support.driver_contract import (
    Bench,
    DriverContract,
    MarkerContract,
    MemoryContract,
    Program,
    WatchContract,
)
from tests.support.kube_api import Account, KubeCluster
from tests.support.kubernetes import IMAGE, NAMESPACE, manifests

OTHER = "team-b"

_COMMANDS = {
    Program.SLEEPS: ("sleep", "600"),
    Program.SUCCEEDS: ("true",),
    Program.FAILS: ("sh", "-c", "exit 3"),
    Program.SPEAKS: ("printf", "one\\ntwo\\nthree\\n"),
    Program.IS_OBEDIENT: ("sh", "-c", "echo ready; exec sleep 600"),
    Program.IS_STUBBORN: ("sh", "-c", "trap '' TERM; echo ready; while true; do sleep 0.1; done"),
    Program.HAS_NO_COMMAND: ("no-such-program",),
    Program.EATS_MEMORY: ("tail", "/dev/zero"),
}
_RAM_MIB = {Program.IS_TOO_LARGE: 2**30, Program.EATS_MEMORY: 16}


class KubernetesBench(Bench):
    def __init__(self, kube: KubeCluster, connection: Connection) -> None:
        self.kube = kube
        self.connection = connection
        self.driver: KubernetesDriver = KubernetesDriver(connection)

    def spec(self, program: Program, uid: UUID, devices: tuple[str, ...] = ()) -> ContainerSpec:
        return ContainerSpec(
            uid,
            image="missing:1" if program is Program.HAS_NO_IMAGE else IMAGE,
            command=_COMMANDS.get(program, ("true",)),
            env={},
            cpu_milli=100,
            ram_mib=_RAM_MIB.get(program, 64),
            gpu=0,
            node=self.node_of(uid),
        )

    def node_of(self, uid: UUID) -> str:
        return ("node-1", "node-2")[uid.int % 2]

    def foreign(self, uid: UUID) -> Callable[[], bool]:
        other = Connection(
            cluster=self.connection.cluster, endpoint=self.kube.url, namespace=NAMESPACE
        )
        other.seal_credentials({"token": "a-token"})
        return self.started(other, uid)

    def started(self, other: Connection, uid: UUID) -> Callable[[], bool]:
        """Start a container of another connection; return whether it still runs."""
        KubernetesDriver(other).start(self.spec(Program.SLEEPS, uid), self.now())
        key = other.namespace, pods.name_of(other.uid, uid)

        def still_runs() -> bool:
            pod = self.kube.store.get(key)
            ended = pod["status"]["phase"] in ("Succeeded", "Failed")
            return not ended and "deletionTimestamp" not in pod["metadata"]

        return still_runs

    def now(self) -> datetime:
        # With the precision of Kubernetes' times.
        return timezone.now().replace(microsecond=0)

    def pass_time(self) -> None:
        time.sleep(0.02)


class TestKubernetes(DriverContract, MarkerContract, MemoryContract, WatchContract):
    @pytest.fixture
    def bench(self, kube: KubeCluster, connection: Connection) -> Bench:
        # A team's namespace has one. Without it, a Pod too large for any node waits ten minutes.
        kube.quotas[NAMESPACE] = {"limits.memory": "16Gi"}
        return KubernetesBench(kube, connection)


class ShareBench(KubernetesBench):
    """Two connections to one Kubernetes, in different namespaces and with different nodes."""

    def foreign(self, uid: UUID) -> Callable[[], bool]:
        other = Connection(
            cluster=self.connection.cluster, endpoint=self.kube.url, namespace=OTHER,
            node_selector=["kubernetes.io/hostname=node-2"],
        )  # fmt: skip
        other.seal_credentials({"token": OTHER})
        return self.started(other, uid)

    def node_of(self, uid: UUID) -> str:
        return "node-1"


class TestShare(DriverContract, MarkerContract):
    """A connection with a share of the nodes keeps to them and to its own Pods."""

    @pytest.fixture
    def bench(self, kube: KubeCluster, connection: Connection) -> Bench:
        kube.namespaces[OTHER] = OTHER
        text = [{**d, "metadata": {**d["metadata"], "namespace": OTHER}} for d in manifests()]
        kube.accounts.append(Account.of("other", OTHER, text))
        for namespace in (NAMESPACE, OTHER):
            kube.quotas[namespace] = {"limits.memory": "16Gi"}
        connection.node_selector = ["kubernetes.io/hostname=node-1"]
        return ShareBench(kube, connection)
