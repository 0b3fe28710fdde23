"""The nodes of a Kubernetes cluster, as the hypervisor may use them.

A node's capacity is what is allocatable there less what foreign Pods request. Together, the nodes
have no more than the namespace's quota allows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from clusters.drivers.base import NodeReport, NodeState
from clusters.drivers.kubernetes import pods
from clusters.drivers.kubernetes.capacity import Amounts, Exact, exact, whole
from clusters.drivers.kubernetes.selector import EVERY_NODE, NodeSelector
from clusters.drivers.kubernetes.taints import Toleration, barring
from clusters.models import DIMENSIONS

LABELS = {"nvidia.com/gpu.product": "gpu.model", "topology.kubernetes.io/zone": "zone"}
"""The labels that are taken over from every Node, and their names as labels of a node."""

_ENDED = ("Succeeded", "Failed")
_NOTHING: Exact = dict.fromkeys(DIMENSIONS, Decimal(0))


@dataclass(frozen=True, slots=True)
class Machine:
    """A Node, without what foreign Pods use."""

    name: str
    allocatable: Mapping[str, Decimal]
    labels: Mapping[str, str]
    state: NodeState
    message: str
    selected: bool = True

    @classmethod
    def read(
        cls,
        node: Mapping[str, Any],
        names: Mapping[str, str],
        tolerations: Sequence[Toleration],
        selector: NodeSelector = EVERY_NODE,
    ) -> "Machine":
        """Read a Node; `names` are the labels to take over, and their names here."""
        meta, has = node["metadata"], node.get("status", {}).get("allocatable", {})
        there = meta.get("labels") or {}
        return cls(
            meta["name"],
            exact(has),
            {names[name]: value for name, value in there.items() if name in names},
            *_state(node, tolerations),
            selected=selector.matches(there),
        )


@dataclass(frozen=True, slots=True)
class Use:
    """What a foreign Pod requests on its node; "" while it has none."""

    node: str
    namespace: str
    amounts: Mapping[str, Decimal]

    @classmethod
    def read(cls, pod: Mapping[str, Any], connection: UUID) -> "Use | None":
        """Read a Pod; None if it uses nothing or belongs to the connection."""
        if pod.get("status", {}).get("phase") in _ENDED or pods.belongs_to(connection, pod):
            return None
        spec, meta = pod["spec"], pod["metadata"]
        return cls(spec.get("nodeName", ""), meta.get("namespace", ""), _requested(spec))


def reports(
    machines: Iterable[Machine], uses: Iterable[Use], quota: Mapping[str, int], namespace: str
) -> list[NodeReport]:
    """Return the reports of the nodes by name; `quota` has the dimensions that one bounds.

    The nodes share the quota in the order of their names, those that the connection uses and that
    take Pods first, so that a deployment that fits on its node is not refused by the quota.
    """
    used: dict[str, Exact] = {}
    in_namespace = _NOTHING
    for use in uses:
        used[use.node] = _sum(used.get(use.node, _NOTHING), use.amounts)
        if use.namespace == namespace:
            in_namespace = _sum(in_namespace, use.amounts)
    left = {name: max(bound - in_namespace[name], Decimal(0)) for name, bound in quota.items()}
    made = []

    def order(machine: Machine) -> tuple[bool, bool, str]:
        return not machine.selected, machine.state is not NodeState.ACTIVE, machine.name

    for machine in sorted(machines, key=order):
        free = whole(_difference(machine.allocatable, used.get(machine.name, _NOTHING)))
        free = {name: min(free[name], int(left.get(name, free[name]))) for name in DIMENSIONS}
        left = {name: left[name] - free[name] for name in left}
        made.append(_report(machine, free))
    return sorted(made, key=lambda report: report.name)


def _report(machine: Machine, free: Amounts) -> NodeReport:
    has = whole(machine.allocatable)
    return NodeReport(
        machine.name,
        **free,
        foreign=(
            has["cpu_milli"] - free["cpu_milli"],
            has["ram_mib"] - free["ram_mib"],
            has["gpu"] - free["gpu"],
        ),
        labels=machine.labels,
        state=machine.state,
        message=machine.message,
        selected=machine.selected,
    )


def _state(node: Mapping[str, Any], tolerations: Sequence[Toleration]) -> tuple[NodeState, str]:
    spec, conditions = node.get("spec", {}), node.get("status", {}).get("conditions") or ()
    if not any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
        return NodeState.LOST, "It is not ready in Kubernetes."
    if spec.get("unschedulable"):
        return NodeState.CORDONED, "It is cordoned in Kubernetes."
    if taint := barring(spec.get("taints") or (), tolerations):
        value = f"={taint['value']}" if taint.get("value") else ""
        return NodeState.CORDONED, (
            f"It has the taint {taint['key']}{value}:{taint['effect']}, which the connection does"
            " not tolerate."
        )
    return NodeState.ACTIVE, ""


def _requested(spec: Mapping[str, Any]) -> Exact:
    """Return what Kubernetes reserves for a Pod.

    That is the sum over its containers, or more while one of its init containers needs more.
    """
    total = _sum(*(_of(c) for c in spec.get("containers") or ()))
    sidecars = most = _NOTHING
    for container in spec.get("initContainers") or ():
        amounts = _of(container)
        if container.get("restartPolicy") == "Always":
            sidecars = _sum(sidecars, amounts)
            most = _most(most, sidecars)
        else:
            most = _most(most, _sum(sidecars, amounts))
    return _sum(_most(_sum(total, sidecars), most), exact(spec.get("overhead") or {}))


def _of(container: Mapping[str, Any]) -> Exact:
    resources = container.get("resources") or {}
    # A limit without a request is also the request.
    return exact({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def _sum(*amounts: Mapping[str, Decimal]) -> Exact:
    return {name: sum((a[name] for a in amounts), Decimal(0)) for name in DIMENSIONS}


def _most(a: Mapping[str, Decimal], b: Mapping[str, Decimal]) -> Exact:
    return {name: max(a[name], b[name]) for name in DIMENSIONS}


def _difference(a: Mapping[str, Decimal], b: Mapping[str, Decimal]) -> Exact:
    return {name: max(a[name] - b[name], Decimal(0)) for name in DIMENSIONS}
