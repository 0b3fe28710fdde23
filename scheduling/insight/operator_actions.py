"""The actions of operators on deployments, clusters and nodes: one table for pages and previews."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import Any

from clusters import node_rules, nodes
from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.models import Cluster, Node
from deployments import groups, moves, selection, services
from deployments.models import Deployment
from deployments.runtime import lost_contact


class Needs(StrEnum):
    """The input that an action needs besides its subjects."""

    NOTHING = ""
    PRIORITY = "priority"
    TARGET = "target"
    CAPACITY = "capacity"


def _no_objection(row: Any) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Action:
    """One verb. `hint` explains it in a tooltip; `done` completes the message "job-1: stopped.".

    - in_parts: the same for more deployments than a preview shows; None if there is none.
    - objection: returns why the service would refuse the verb for this row in its present state, ""
      if it is not known to refuse.
    """

    name: str
    label: str
    hint: str
    done: str
    permission: str
    verb: Callable[..., Any]
    model: type[Deployment] | type[Cluster] | type[Node] = Deployment
    needs: Needs = Needs.NOTHING
    stops_work: bool = False
    in_parts: selection.Action | None = None
    objection: Callable[[Any], str] = _no_objection

    @property
    def subject(self) -> str:
        return str(self.model._meta.verbose_name)


@dataclass(frozen=True, slots=True)
class Change:
    """An action on some subjects, not yet confirmed; `options` are the verb's other arguments."""

    action: Action
    subjects: tuple[int, ...]
    actor: str
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


def _resize(cluster: Cluster, *, actor: str, capacity: Capacity) -> Cluster:
    return cluster_services.update(cluster, actor=actor, name=cluster.name, capacity=capacity)


def _resize_node(node: Node, *, actor: str, capacity: Capacity) -> Node:
    spec = nodes.NodeSpec(node.name, capacity, node.labels)
    return nodes.update(node, actor=actor, spec=spec)


_START = replace(selection.START, carry_out=partial(groups.start, bounded=False))
"""An operator starts any number, as `start` does."""

_GONE = "Its engine does not answer and its containers are certainly gone: requeue its deployments."

_ALL = (
    Action(
        "hold", "Hold", "Put it on hold until it is released.", "put on hold",
        "deployments.hold_deployment", services.hold, in_parts=selection.HOLD,
    ),
    Action(
        "release", "Release", "Let it compete again.", "released",
        "deployments.hold_deployment", services.release, in_parts=selection.RELEASE,
    ),
    Action(
        "reprioritize", "Change priority", "Change its priority, from 1 to 100.",
        "given another priority",
        "deployments.reprioritize_deployment", services.adjust, needs=Needs.PRIORITY,
        in_parts=selection.REPRIORITIZE,
    ),
    Action(
        "preempt", "Preempt", "Evict it; it competes again after its back-off.", "preempted",
        "deployments.preempt_deployment", services.preempt, stops_work=True,
    ),
    Action(
        "requeue", "Requeue", "Evict it; it competes again at once.", "requeued",
        "deployments.preempt_deployment", services.requeue, stops_work=True,
    ),
    Action(
        "move", "Move", "Run it on another cluster or node.", "moved",
        "deployments.preempt_deployment", moves.move, needs=Needs.TARGET, stops_work=True,
    ),
    Action(
        "cancel", "Cancel", "Take it out of the queue.", "cancelled",
        "deployments.stop_deployment", services.cancel, stops_work=True,
        in_parts=selection.CANCEL,
    ),
    Action(
        "stop", "Stop", "End it permanently; its container is asked to stop.", "stopped",
        "deployments.stop_deployment", services.stop, stops_work=True, in_parts=selection.STOP,
    ),
    Action(
        "start", "Start again", "Queue it again; it competes like a new one.", "queued again",
        "deployments.start_deployment", partial(services.start, bounded=False),
        in_parts=_START,
    ),
    Action(
        "delete", "Delete", "Remove it for good, with its runs and their output.", "deleted",
        "deployments.delete_deployment", services.delete, stops_work=True,
    ),
    Action(
        "cordon", "Cordon", "Place nothing new on it; its deployments keep running.", "cordoned",
        "clusters.steer_cluster", cluster_services.cordon, Cluster,
    ),
    Action(
        "uncordon", "Uncordon", "Place deployments on it again.", "in use again",
        "clusters.steer_cluster", cluster_services.uncordon, Cluster,
    ),
    Action(
        "drain", "Drain", "Place nothing new on it; its deployments are moved or requeued.",
        "draining", "clusters.steer_cluster", cluster_services.drain, Cluster, stops_work=True,
    ),
    Action(
        "declare_lost", "Declare lost",
        _GONE,
        "declared lost", "clusters.steer_cluster", lost_contact.declare_lost, Cluster,
        stops_work=True, objection=lost_contact.declaring,
    ),
    Action(
        "declare_node_lost", "Declare lost",
        _GONE,
        "declared lost", "clusters.steer_cluster", lost_contact.declare_node_lost, Node,
        stops_work=True, objection=lost_contact.declaring_node,
    ),
    Action(
        "resize", "Resize", "Change its capacity.", "resized",
        "clusters.resize_cluster", _resize, Cluster, needs=Needs.CAPACITY,
        objection=node_rules.resizing_cluster,
    ),
    Action(
        "cordon_node", "Cordon", "Place nothing new on it; its deployments keep running.",
        "cordoned", "clusters.steer_cluster", nodes.cordon, Node,
        objection=node_rules.cordoning,
    ),
    Action(
        "uncordon_node", "Uncordon", "Place deployments on it again.", "in use again",
        "clusters.steer_cluster", nodes.uncordon, Node, objection=node_rules.uncordoning,
    ),
    Action(
        "drain_node", "Drain", "Place nothing new on it; its deployments are moved or requeued.",
        "draining", "clusters.steer_cluster", nodes.drain, Node, stops_work=True,
        objection=node_rules.cordoning,
    ),
    Action(
        "resize_node", "Resize", "Change its capacity.", "resized",
        "clusters.resize_cluster", _resize_node, Node, needs=Needs.CAPACITY,
        objection=node_rules.resizing,
    ),
)  # fmt: skip

ACTIONS: Mapping[str, Action] = MappingProxyType({action.name: action for action in _ALL})
