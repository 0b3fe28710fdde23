"""Changes to the nodes of clusters: one verb per function, each atomic and with one event.

Every verb locks the cluster, as a cycle does, so that nothing allocates capacity of its nodes
meanwhile. The events belong to the cluster's history.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from django.db import IntegrityError, transaction

from clusters import engines, node_rules, node_states
from clusters.capacity import Capacity
from clusters.demand import demand
from clusters.labels import MAX_LABELS, name_like, problems, wrong_name
from clusters.models import DIMENSIONS, Cluster, Node
from clusters.resources import describe
from clusters.wakeups import request_cycle
from hypervisor.base import bounds
from hypervisor.base.bounds import Bound
from hypervisor.base.errors import Conflict, Invalid
from orgs.events import record
from orgs.models import Organization

MAX_NODES = 2000
"""The most nodes of one cluster."""


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node to add."""

    name: str
    capacity: Capacity
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def only(cls, cluster_name: str, capacity: Capacity) -> "NodeSpec":
        """Return the only node of a cluster, named like it as far as the form of names allows."""
        return cls(name_like(cluster_name), capacity)

    def repeated(self, count: int) -> "list[NodeSpec]":
        """Return this many equal nodes: `gpu-1`, `gpu-2` and so on for the name `gpu`."""
        return [replace(self, name=f"{self.name}-{number}") for number in range(1, count + 1)]


def insert(cluster: Cluster, specs: Sequence[NodeSpec]) -> list[Node]:
    """Insert nodes and update the cluster's capacity; the caller has locked or made the cluster.

    Raises Invalid for a wrong or repeated name, for wrong labels, for too many nodes, and for a
    second node of a cluster whose engine has only one.
    """
    _check_specs(specs)
    _check_number(cluster, adding=len(specs))
    with _unique(cluster):
        nodes = Node.objects.bulk_create(_row(cluster, spec) for spec in specs)
    keep_sums(cluster)
    node_states.cordon_unconnected(cluster)
    return nodes


def bound(organization: Organization, *, adding: int) -> Bound:
    """Return the limit on the nodes of an organization."""
    return Bound(
        "MAX_NODES_PER_ORGANIZATION",
        organization.pk,
        Node.objects.filter(cluster__organization=organization),
        lambda there, most: (
            f"Organization {organization.name} has {there} nodes, and an organization may have no"
            f" more than {most}: delete some, or ask an operator of this service to add them."
        ),
        adding=adding,
    )


@transaction.atomic
def add(cluster: Cluster, *, actor: str, spec: NodeSpec, bounded: bool = True) -> Node:
    """Add a node to a cluster.

    Raises Conflict if the organization has too many nodes or if the engine reports them, and the
    errors of `insert`.
    """
    if bounded:
        bounds.check([bound(cluster.organization, adding=1)])
    cluster = Cluster.objects.get_locked(cluster.pk)
    _refuse(node_rules.changing(cluster))
    (node,) = insert(cluster, [spec])
    _record(node, "node_added", actor, f"Node {node.name} added with {spec.capacity}.")
    return node


@transaction.atomic
def update(node: Node, *, actor: str, spec: NodeSpec) -> Node:
    """Rename, resize or relabel a node.

    Raises Conflict if it would shrink below what is allocated, or grow beyond its engine, or if
    the engine reports it, and Invalid for a name or labels that `add` would refuse.
    """
    node = _locked(node)
    before = NodeSpec(node.name, Capacity.of(node), node.labels)
    if spec == before:
        return node
    _refuse(node_rules.changing(node.cluster))
    _check_specs([spec])
    node.name, node.labels = spec.name, dict(spec.labels)
    _resize(node, spec.capacity)
    with _unique(node.cluster):
        node.save(update_fields=["name", "labels"])
    data = {
        "name": [before.name, spec.name],
        "capacity": [before.capacity.columns(), spec.capacity.columns()],
        "labels": [dict(before.labels), dict(spec.labels)],
    }
    text = f"Node {before.name} is now {spec.name} with {spec.capacity}; it had {before.capacity}."
    _record(node, "node_updated", actor, text, data)
    return node


def cordon(node: Node, *, actor: str) -> Node:
    """Stop placing deployments on the node; those that run there continue."""
    what = "cordoned: no deployments are placed on it"
    return _set_state(node, Node.State.CORDONED, actor, what, node_rules.cordoning)


def uncordon(node: Node, *, actor: str) -> Node:
    """Place deployments on the node again."""
    what = "uncordoned: deployments are placed on it again"
    return _set_state(node, Node.State.ACTIVE, actor, what, node_rules.uncordoning)


def drain(node: Node, *, actor: str) -> Node:
    """Stop placing deployments on the node, and move or requeue those that run there."""
    what = "draining: its deployments are moved or requeued"
    return _set_state(node, Node.State.DRAINING, actor, what, node_rules.cordoning)


@transaction.atomic
def delete(node: Node, *, actor: str) -> None:
    """Delete a node.

    Raises Conflict while deployments or containers are on it, for the cluster's only node, and for
    a node that the engine reports.
    """
    node = _locked(node)
    cluster = node.cluster
    _refuse(node_rules.deleting(node))
    demand().before_node_deletion(node)
    _record(node, "node_deleted", actor, f"Node {node.name} deleted.")
    node.delete()
    keep_sums(cluster)


def resize_only(cluster: Cluster, capacity: Capacity) -> None:
    """Resize the only node of a locked cluster.

    Raises Invalid if the cluster has several, and the errors of `update`.
    """
    _refuse(node_rules.changing(cluster))
    if why := node_rules.resizing_cluster(cluster):
        changed = (name for name in DIMENSIONS if getattr(cluster, name) != getattr(capacity, name))
        attr = next(changed).removesuffix("_milli")
        raise Invalid(why, code="several_nodes", attr=attr)
    node = cluster.nodes.get()
    node.cluster = cluster
    _resize(node, capacity)


def keep_sums(cluster: Cluster) -> None:
    """Make the capacity of a locked cluster the sum over its nodes."""
    total = Capacity.total(map(Capacity.of, cluster.nodes.all()))
    if total != Capacity.of(cluster):
        _set_amounts(cluster, total)


def _row(cluster: Cluster, spec: NodeSpec) -> Node:
    return Node(
        cluster=cluster, name=spec.name, labels=dict(spec.labels), **spec.capacity.columns()
    )


def _resize(node: Node, capacity: Capacity) -> None:
    before = Capacity.of(node)
    if capacity != before:
        _check_allocated(node, capacity)
        _check_engine(node, before, capacity)
        _set_amounts(node, capacity)
        keep_sums(node.cluster)


def _set_amounts(row: Cluster | Node, capacity: Capacity) -> None:
    for column, amount in capacity.columns().items():
        setattr(row, column, amount)
    row.save(update_fields=DIMENSIONS)


def _locked(node: Node) -> Node:
    """Lock the node's cluster; return the node with it. Raises NotFound if one no longer exists."""
    cluster = Cluster.objects.get_locked(node.cluster_id)
    node = Node.objects.get_locked(node.pk)
    node.cluster = cluster
    return node


@transaction.atomic
def _set_state(
    node: Node, state: Node.State, actor: str, what: str, objection: Callable[[Node], str]
) -> Node:
    node = _locked(node)
    _refuse(objection(node))
    before = node.chosen_state, node.state
    node.chosen_state = state
    node.settle()
    if before != (node.chosen_state, node.state):
        data = {"state": [before[1], node.state]}
        node.save(update_fields=["chosen_state", "state"])
        _record(node, f"node_{state}", actor, f"Node {node.name} {what}.", data)
    return node


def _record(
    node: Node, kind: str, actor: str, reason: str, data: Mapping[str, object] | None = None
) -> None:
    record(node.cluster, kind, actor, reason, {"node": node.pk, **(data or {})})
    request_cycle(node.cluster.organization_id)


def _refuse(why: str) -> None:
    if why:
        raise Conflict(why)


def _check_specs(specs: Sequence[NodeSpec]) -> None:
    for spec in specs:
        if wrong := wrong_name(spec.name):
            raise Invalid(wrong, attr="name")
        _check_labels(spec.labels)


def _check_labels(labels: object) -> None:
    """Raise Invalid unless these are labels; a form may contain any JSON."""
    if not isinstance(labels, Mapping) or len(labels) > MAX_LABELS:
        raise Invalid(f"Give an object with at most {MAX_LABELS} labels.", attr="labels")
    if wrong := problems(labels):
        raise Invalid(next(iter(wrong.values()))[0], attr="labels")


def _check_number(cluster: Cluster, *, adding: int) -> None:
    if why := node_rules.adding(cluster, adding):
        raise Invalid(why, code="one_node")
    if cluster.nodes.count() + adding > MAX_NODES:
        raise Invalid(
            f"A cluster has at most {MAX_NODES:,} nodes: create another cluster.", code="max_nodes"
        )


def _check_allocated(node: Node, capacity: Capacity) -> None:
    present = Capacity.allocated_on(Node.objects.with_allocated().get(pk=node.pk))
    if not capacity.holds(present):
        raise Conflict(
            f"{_called(node)} cannot shrink to {capacity}, because {present} are allocated. Stop or"
            f" move deployments first, or cordon the {_called(node).split()[0].lower()} and wait."
        )


def _check_engine(node: Node, before: Capacity, capacity: Capacity) -> None:
    """Raise Conflict if the capacity grows beyond that of an engine whose capacity is fixed."""
    if not node.cluster.kind.has_fixed_capacity:
        return
    has = engines.of_node(node.cluster, node.pk).connection
    for name in DIMENSIONS if has else ():
        wanted, there = getattr(capacity, name), getattr(has, name)
        if wanted > there and wanted > getattr(before, name):
            amounts = describe(*(getattr(has, dimension) for dimension in DIMENSIONS))
            raise Conflict(
                f"{_called(node)} cannot grow to {capacity}, because its engine has only {amounts}."
                " If the engine has grown, an operator has to connect it again."
            )


def _called(node: Node) -> str:
    """Return the node as people call it: a cluster's only node is called like the cluster."""
    if node.cluster.nodes.count() == 1:
        return f"Cluster {node.cluster.name}"
    return f"Node {node.name} of cluster {node.cluster.name}"


@contextmanager
def _unique(cluster: Cluster) -> Iterator[None]:
    """Turn the unique constraint's IntegrityError into Invalid for the field `name`."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        if "node_name_unique" not in str(error):
            raise
        raise Invalid(
            f"Cluster {cluster.name} already has a node of that name: choose another name.",
            attr="name",
            code="unique",
        ) from error
