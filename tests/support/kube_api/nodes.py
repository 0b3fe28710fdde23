"""The nodes of the cluster, with a version for every change, and the scheduler's view of them."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from tests.support.kube_api.admission import requested

Json = dict[str, Any]

GPU = "nvidia.com/gpu"

_LOOK_S = 0.05
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


@dataclass(slots=True)
class Node:
    """A machine; `answers` is whether its kubelet reaches the API, `removed` whether it is gone."""

    name: str
    cpu: str = "8"
    memory: str = "16Gi"
    gpu: int = 0
    storage: str = "50Gi"
    pods: int = 110
    unschedulable: bool = False
    taints: list[Json] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    answers: bool = True
    removed: bool = False
    rejects: str = ""
    """The reason with which its kubelet rejects each Pod, such as OutOfcpu; "" if it takes them."""
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))

    def manifest(self) -> Json:
        ready = {"type": "Ready", "status": "True" if self.answers else "Unknown"}
        allocatable = {"cpu": self.cpu, "memory": self.memory, "pods": str(self.pods),
                       "ephemeral-storage": self.storage}  # fmt: skip
        if self.gpu:
            allocatable[GPU] = str(self.gpu)
        spec: Json = {"unschedulable": True} if self.unschedulable else {}
        if taints := self._all_taints():
            spec["taints"] = taints
        return {
            "kind": "Node",
            "apiVersion": "v1",
            "metadata": {
                "name": self.name,
                "uid": self.uid,
                "labels": {"kubernetes.io/hostname": self.name, **self.labels},
            },
            "spec": spec,
            "status": {"allocatable": allocatable, "conditions": [ready]},
        }

    def _all_taints(self) -> list[Json]:
        """Return its taints with those that the node controller adds."""
        taints = list(self.taints)
        if self.unschedulable:
            taints.append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
        if not self.answers:
            key = "node.kubernetes.io/unreachable"
            taints += [{"key": key, "effect": "NoSchedule"}, {"key": key, "effect": "NoExecute"}]
        return taints


class NodeBook:
    """The history of the nodes, which tests change as they like: each look records what changed."""

    def __init__(self, nodes: list[Node]) -> None:
        self._nodes = nodes
        self._known: dict[str, Json] = {}
        self._events: list[tuple[int, str, Json]] = []
        self._version = 1
        self._lock = threading.Lock()

    def all(self) -> tuple[list[Json], int]:
        with self._lock:
            self._look()
            return list(self._known.values()), self._version

    def watch(
        self, version: int, until: float, is_closed: Callable[[], bool]
    ) -> Iterator[tuple[str, Json] | None]:
        """Yield the changes after the version, and None now and then, until the given time."""
        while not is_closed() and time.monotonic() < until:
            with self._lock:
                self._look()
                found = [event for event in self._events if event[0] > version]
            for number, kind, node in found:
                version = number
                yield kind, node
            if not found:
                yield None
                time.sleep(_LOOK_S)

    def _look(self) -> None:
        there = {node.uid: node.manifest() for node in self._nodes}
        for uid in self._known.keys() - there.keys():
            self._record("DELETED", self._known.pop(uid))
        for uid, manifest in there.items():
            former = self._known.get(uid)
            manifest["metadata"]["resourceVersion"] = (former or manifest)["metadata"].get(
                "resourceVersion"
            )
            if manifest != former:
                self._record("MODIFIED" if former else "ADDED", manifest)
                self._known[uid] = manifest

    def _record(self, kind: str, node: Json) -> None:
        self._version += 1
        node["metadata"]["resourceVersion"] = str(self._version)
        self._events.append((self._version, kind, node))


def place(nodes: list[Node], pod: Json, pods: list[Json]) -> tuple[Node | None, str]:
    """Return the first node that the Pod fits on; or None, and the scheduler's message."""
    reasons: Counter[str] = Counter()
    for node in nodes:
        whys = _misfits(node, pod, pods)
        if not whys:
            return node, ""
        reasons.update(whys)
    counted = ", ".join(sorted(f"{count} {why}" for why, count in reasons.items()))
    return None, (
        f"0/{len(nodes)} nodes are available: {counted}. preemption: 0/{len(nodes)} nodes are"
        f" available: {len(nodes)} No preemption victims found for incoming pod."
    )


def _misfits(node: Node, pod: Json, pods: list[Json]) -> list[str]:
    """Return why the node does not take the Pod: one reason, or all resources that it lacks."""
    manifest = node.manifest()
    if not _is_selected(manifest, pod["spec"]):
        return ["node(s) didn't satisfy plugin(s) [NodeAffinity]"]
    if node.unschedulable and not _tolerates(pod["spec"], manifest["spec"]["taints"][-1]):
        return ["node(s) were unschedulable"]
    for taint in manifest["spec"].get("taints", ()):
        if taint["effect"] != "PreferNoSchedule" and not _tolerates(pod["spec"], taint):
            return [f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"]
    there = [
        p for p in pods
        if p["spec"].get("nodeName") == node.name
        and p["status"].get("phase") not in ("Succeeded", "Failed")
    ]  # fmt: skip
    if len(there) >= node.pods:
        return ["Too many pods"]
    allocatable = manifest["status"]["allocatable"]
    return [
        f"Insufficient {key}"
        for key in ("cpu", "memory", "ephemeral-storage", GPU)
        if requested(there, key) + requested([pod], key)
        > Decimal(parse_quantity(allocatable.get(key, "0")))
    ]


def _tolerates(spec: Json, taint: Json) -> bool:
    return any(
        t.get("key") == taint["key"]
        and t.get("effect", taint["effect"]) == taint["effect"]
        and (t.get("operator") == "Exists" or t.get("value", "") == taint.get("value", ""))
        for t in spec["tolerations"]
    )


def _is_selected(node: Json, spec: Json) -> bool:
    """Whether one of the terms of the Pod's required node affinity selects the node."""
    affinity = spec.get("affinity", {}).get("nodeAffinity", {}).get(_REQUIRED)
    if affinity is None:
        return True
    fields, labels = {"metadata.name": node["metadata"]["name"]}, node["metadata"]["labels"]
    return any(
        all(_matches(fields, wanted) for wanted in term.get("matchFields", ()))
        and all(_matches(labels, wanted) for wanted in term.get("matchExpressions", ()))
        for term in affinity["nodeSelectorTerms"]
    )


def _matches(values: dict[str, str], wanted: Json) -> bool:
    is_in = values.get(wanted["key"]) in wanted["values"]
    return is_in if wanted["operator"] == "In" else not is_in
