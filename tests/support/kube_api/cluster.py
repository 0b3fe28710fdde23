"""The cluster behind the API: its nodes, its accounts, and their faults."""

import itertools
import ssl
import tempfile
import threading
from typing import Any
from uuid import uuid4

from kubernetes.utils.quantity import parse_quantity

from tests.support.kube_api import kubelet
from tests.support.kube_api.admission import (
    admit,
    check_limits,
    check_quota,
    check_restricted,
)
from tests.support.kube_api.config_maps import ConfigMaps
from tests.support.kube_api.events import EventLog
from tests.support.kube_api.http import Server
from tests.support.kube_api.kubelet import PodLife
from tests.support.kube_api.nodes import GPU, Node, NodeBook, place
from tests.support.kube_api.rbac import Account
from tests.support.kube_api.secrets import Secrets
from tests.support.kube_api.store import Key, Store

Json = dict[str, Any]


class KubeCluster:
    """Start it with `with`; `url` is the API server's address.

    `confirms_after_s` is how long a kubelet takes to complete a deletion after the Pod's end.
    `no_sandbox` is the reason why no kubelet can create a sandbox, if there is one. `counts_back`
    is how the server dates a deletion (see `Store`). `private` are the registries that need a
    log-in, each with its user and password.
    """

    def __init__(
        self,
        *nodes: Node,
        namespaces: tuple[str, ...] = ("team",),
        tls: ssl.SSLContext | None = None,
        counts_back: bool = True,
    ) -> None:
        self.nodes = list(nodes or (Node("node-1"),))
        self.node_book = NodeBook(self.nodes)
        self.namespaces = {name: str(uuid4()) for name in ("kube-system", "default", *namespaces)}
        self.accounts: list[Account] = []
        self.quotas: dict[str, dict[str, str]] = {}
        self.limits: dict[str, dict[str, dict[str, str]]] = {}
        self.relaxed_names = False
        self.restricted: set[str] = set()
        self.pullable: set[str] = set()
        self.unpullable: dict[str, str] = {}
        self.private: dict[str, tuple[str, str]] = {}
        self.pulling = False
        self.no_sandbox = ""
        self.events = EventLog()
        self.config_maps = ConfigMaps()
        self.confirms_after_s = 0.0
        self.store = Store(counts_back)
        self.secrets = Secrets(self._pod_uids)
        self.lives: dict[Key, PodLife] = {}
        self._numbers = itertools.count(1)
        self._threads: list[threading.Thread] = []
        self._binding = threading.Lock()
        self._home = tempfile.TemporaryDirectory()
        self.folder = self._home.name
        self.server = Server(self, tls)

    def __enter__(self) -> "KubeCluster":
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()
        self.server.stop()
        for thread in self._threads:
            thread.join()
        self._home.cleanup()

    @property
    def url(self) -> str:
        return self.server.url

    def next_number(self) -> int:
        return next(self._numbers)

    def create_pod(self, namespace: str, pod: Json, *, dry: bool = False) -> Json:
        def check(pod: Json) -> None:
            if namespace in self.restricted:
                check_restricted(pod)
            others = [p for p in self.store.all()[0] if p["metadata"]["namespace"] == namespace]
            check_limits(pod, self.limits.get(namespace, {}))
            check_quota(pod, others, self.quotas.get(namespace, {}))

        admitted = admit(pod, namespace, relaxed_names=self.relaxed_names)
        created = self.store.create(admitted, check, dry=dry)
        if dry:
            return created
        key = (namespace, created["metadata"]["name"])
        life = self.lives[key] = PodLife(self, key)
        thread = threading.Thread(target=life.run, daemon=True)
        self._threads.append(thread)
        thread.start()
        return created

    def bind(self, key: Key) -> tuple[Node | None, str]:
        """Place the Pod on the first node that it fits on; return the node, or why none fits."""
        with self._binding:
            pods, _ = self.store.all()
            node, why = place(self.nodes, self.store.get(key), pods)
            if node:
                self.store.update(key, lambda pod: kubelet.scheduled(pod, node.name))
            return node, why

    # Actions of other clients and faults of nodes.

    def drain(self, key: Key) -> None:
        """Evict the Pod through the API, as `kubectl drain` does."""
        self._disrupt(key, "EvictionByEvictionAPI", "Eviction API: evicting")
        self.store.delete(key, None)

    def preempt(self, key: Key) -> None:
        """Have the scheduler preempt the Pod for a more important one."""
        self._disrupt(key, "PreemptionByScheduler", "default-scheduler: preempting to accommodate")
        self.store.delete(key, None)

    def press(self, key: Key, message: str = "The node was low on resource: memory.") -> None:
        """Have the kubelet evict the Pod, which then stays in the phase Failed."""
        self.lives[key].evicted = message

    def fill(self, key: Key, used: str) -> None:
        """Let the Pod use so much of its node's disk, which a kubelet bounds by the Pod's limit.

        A kubelet adds no condition to a Pod that it evicts for its own limit.
        """
        (container,) = self.store.get(key)["spec"]["containers"]
        limit = container["resources"]["limits"].get("ephemeral-storage")
        if limit is not None and parse_quantity(used) > parse_quantity(limit):
            self.lives[key].is_disrupted = False
            self.lives[
                key
            ].evicted = (
                f"Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "
            )

    def occupy(self, node: Node, name: str = "foreign", *, namespace: str = "default",
               **amounts: str) -> Key:  # fmt: skip
        """Run a Pod of others on the node, which requests `cpu`, `memory` or `gpu`."""
        requests = {GPU if key == "gpu" else key: amount for key, amount in amounts.items()}
        pod = {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
            "spec": {"nodeName": node.name, "terminationGracePeriodSeconds": 0, "containers": [
                {"name": "app", "image": "app:1", "resources": {"requests": requests}},
            ]},
            "status": {"phase": "Running"},
        }  # fmt: skip
        self.store.create(pod, lambda _: None)
        return namespace, name

    def delete(self, key: Key) -> None:
        """Delete the Pod as `kubectl delete pod` does."""
        self.store.delete(key, None)

    def silence(self, node: Node) -> None:
        """Cut the node off: its processes continue, but it and its Pods become NotReady."""
        node.answers = False
        for key in self._on(node):
            pod = self.store.update(key, kubelet.mark_not_ready)
            self.events.record(pod, "Warning", "NodeNotReady", "Node is not ready")

    def lose(self, node: Node) -> None:
        """Cut the node off for so long that its Pods are deleted, without confirmation."""
        self.silence(node)
        for key in self._on(node):
            self._disrupt(
                key, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"
            )
            self.store.delete(key, None)

    def remove(self, node: Node) -> None:
        """Delete a node whose machine is off; the collector then fails and deletes its Pods."""
        keys = self._on(node)
        node.removed = True
        self.nodes.remove(node)
        for key in keys:
            self._disrupt(key, "DeletionByPodGC", "PodGC: node no longer exists")
            self.store.update(key, lambda pod: pod["status"].update(phase="Failed"))
            self.store.delete(key, 0)

    def _pod_uids(self) -> set[str]:
        return {pod["metadata"]["uid"] for pod in self.store.all()[0]}

    def _disrupt(self, key: Key, reason: str, message: str) -> None:
        self.store.update(key, lambda pod: kubelet.disrupt(pod, reason, message))

    def _on(self, node: Node) -> list[Key]:
        return [
            (pod["metadata"]["namespace"], pod["metadata"]["name"])
            for pod in self.store.all()[0]
            if pod["spec"].get("nodeName") == node.name
        ]
