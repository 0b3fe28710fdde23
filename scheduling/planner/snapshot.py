"""The planner's input: one organization at one moment."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import InitVar, asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from scheduling.planner.parsing import Fields
from scheduling.planner.policy import Policy
from scheduling.planner.requirements import (
    Preference,
    Requirement,
    labels,
    preferences,
    preferences_to_json,
    requirements,
    requirements_to_json,
)
from scheduling.planner.resources import DIMENSIONS, NOTHING, Resources

Place = tuple[int, int]


class ClusterState(StrEnum):
    """The state of a cluster or of one of its nodes, the best first.

    An active node takes new deployments, a cordoned node does not, and a draining node also loses
    those that it has. The engine of a lost node does not respond: the node takes no deployments,
    and those that it has stay because they cannot be stopped.
    """

    ACTIVE = "active"
    CORDONED = "cordoned"
    DRAINING = "draining"
    LOST = "lost"


_SEVERITY = {state: rank for rank, state in enumerate(ClusterState)}


@dataclass(frozen=True, slots=True)
class Node:
    """One machine of a cluster. Its id is unique within the cluster."""

    id: int
    capacity: Resources
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    state: ClusterState = ClusterState.ACTIVE

    @property
    def label(self) -> str:
        """Return its name, or its id if it has none."""
        return self.name or f"node {self.id}"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster is made of nodes, and its capacity is their sum.

    Without any, it is one node with the cluster's id, capacity and name.
    """

    id: int
    capacity: Resources
    state: ClusterState = ClusterState.ACTIVE
    name: str = ""
    nodes: tuple[Node, ...] = ()

    @property
    def label(self) -> str:
        """Return its name, or its id if it has none."""
        return self.name or f"cluster {self.id}"

    @property
    def bins(self) -> tuple["Bin", ...]:
        """Return its nodes as bins, in the order of their ids."""
        nodes = self.nodes or (Node(self.id, self.capacity, self.name),)
        return tuple(Bin(self, node) for node in sorted(nodes, key=lambda node: node.id))


@dataclass(frozen=True, slots=True)
class Bin:
    """A node as a part of its cluster: a deployment is placed on one."""

    cluster: Cluster
    node: Node

    @property
    def place(self) -> Place:
        """Return the ids of the cluster and the node, which identify it."""
        return self.cluster.id, self.node.id

    @property
    def capacity(self) -> Resources:
        return self.node.capacity

    @property
    def state(self) -> ClusterState:
        """Return the worse one of the node's state and the cluster's."""
        return max(self.cluster.state, self.node.state, key=_SEVERITY.__getitem__)

    @property
    def is_only(self) -> bool:
        """Return whether the cluster has no other node."""
        return len(self.cluster.nodes) < 2

    @property
    def closed_as_a_whole(self) -> bool:
        """Return whether a closed node is so with all of its cluster."""
        return self.is_only or self.cluster.state != ClusterState.ACTIVE

    @property
    def label(self) -> str:
        """Return the cluster's name, after the node's if the cluster has several nodes."""
        cluster = self.cluster.label
        return cluster if self.is_only else f"{self.node.label} of {cluster}"


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment that is active, on `cluster` since `placed_at`, or ready, with `cluster` None.

    `node` is the node of an active one; it may be left out if the cluster has only one. Every node
    on which it is placed satisfies all of `require`; among equal plans, the plan with the nodes
    that satisfy more of `prefer`, by weight, is taken.

    Times are seconds since the epoch. `queued_at` is its place in the queue, which an eviction does
    not change; `ready_since` is when it last became ready, if that was later. `reserved`: the last
    plan reserved capacity for it. `recent_preemptions` counts its evictions within the budget's
    window. `checkpoint_at` is when it last saved its
    progress in this run. Until `suspended_until` preemption is suspended for it: it takes free
    capacity but evicts nothing. `past_victims` were evicted in vain for it since it was queued, the
    earliest first: it lost that place before its container started. `preempted_in_vain`: other
    deployments were evicted for a run of it that ended without having started. Both cover the
    budget's window, and neither reaches back beyond the last change of its priority or release from
    a hold.
    """

    id: int
    priority: int
    request: Resources
    queued_at: int
    requested_cluster: int | None = None
    cluster: int | None = None
    placed_at: int | None = None
    max_runtime_s: int | None = None
    preemptible: bool = True
    recent_preemptions: int = 0
    checkpoint_at: int | None = None
    ready_since: int | None = None
    suspended_until: int | None = None
    past_victims: tuple[int, ...] = ()
    preempted_in_vain: bool = False
    node: int | None = None
    require: tuple[Requirement, ...] = ()
    prefer: tuple[Preference, ...] = ()
    reserved: bool = False

    def ends_by(self, until: int | None, now: int) -> bool:
        """Return whether it is certain to end by then if it starts now; not if that is unknown."""
        if until is None or self.max_runtime_s is None:
            return False
        return now + self.max_runtime_s <= until

    def admits(self, bin_: Bin) -> bool:
        """Return whether it may run on a node of this cluster and with these labels."""
        return self.requested_cluster in (None, bin_.cluster.id) and all(
            requirement.holds(bin_.node.labels) for requirement in self.require
        )

    @property
    def waits_since(self) -> int:
        """Return when its present wait began."""
        return self.queued_at if self.ready_since is None else self.ready_since


def homes(clusters: Iterable[Cluster], deployments: Iterable[Deployment]) -> dict[int, Place]:
    """Return the place of each active deployment by its id.

    Raises ValueError, which names the field that is wrong, if a place is not in the clusters.
    """
    nodes = {c.id: [node.id for node in c.nodes] or [c.id] for c in clusters}
    known = {(cluster, node) for cluster, ids in nodes.items() for node in ids}
    found = {}
    for d in [d for d in deployments if d.cluster is not None]:
        if d.cluster not in nodes:
            raise ValueError(f"deployment {d.id}: cluster {d.cluster} is not in the snapshot")
        if d.node is None and len(nodes[d.cluster]) > 1:
            raise ValueError(
                f"deployment {d.id}: node is missing, and cluster {d.cluster} has several"
            )
        place = d.cluster, nodes[d.cluster][0] if d.node is None else d.node
        if place not in known:
            raise ValueError(f"deployment {d.id}: node {d.node} is not in cluster {d.cluster}")
        found[d.id] = place
    return found


@dataclass(frozen=True, slots=True)
class Snapshot:
    now: int
    policy: Policy
    clusters: tuple[Cluster, ...]
    deployments: tuple[Deployment, ...]
    is_checked: InitVar[bool] = False

    def __post_init__(self, is_checked: bool) -> None:
        """Raise ValueError if ids or places contradict each other, unless that is known not to be
        so: with thousands of deployments, the check costs as much as half of a page.
        """
        if is_checked:
            return
        _check_ids("clusters", self.clusters)
        _check_ids("deployments", self.deployments)
        for cluster in self.clusters:
            _check_ids(f"nodes of cluster {cluster.id}", cluster.nodes)
            if cluster.nodes and cluster.capacity != _capacity(cluster.nodes):
                raise ValueError(
                    f"cluster {cluster.id}: its capacity is {cluster.capacity}, but that of its"
                    f" nodes is {_capacity(cluster.nodes)}"
                )
        self.homes()

    @property
    def bins(self) -> tuple[Bin, ...]:
        """Return the nodes of all clusters, in the order of their places."""
        clusters = sorted(self.clusters, key=lambda cluster: cluster.id)
        return tuple([bin_ for cluster in clusters for bin_ in cluster.bins])

    def homes(self) -> dict[int, Place]:
        """Return the place of each active deployment by its id."""
        return homes(self.clusters, self.deployments)

    def is_suspended(self, d: Deployment) -> bool:
        """Return whether it is ready, with preemption suspended for it."""
        until = d.suspended_until
        return until is not None and until > self.now and d.cluster is None

    @classmethod
    def from_json(cls, document: Any) -> "Snapshot":
        """Build from parsed JSON. Raises ValueError, which names the field that is wrong."""
        root = Fields(document, "snapshot")
        snapshot = cls(
            now=root.integer("now", at_least=None),
            policy=Policy.from_mapping(root.mapping("policy")),
            clusters=tuple(_cluster(row) for row in root.rows("clusters")),
            deployments=tuple(root.read_rows("deployments", _plain_deployment, _deployment)),
        )
        root.finish()
        return snapshot

    def to_json(self) -> dict[str, Any]:
        return {
            "now": self.now,
            "policy": asdict(self.policy),
            "clusters": [_cluster_to_json(cluster) for cluster in self.clusters],
            "deployments": [deployment_to_json(row) for row in self.deployments],
        }


_PLAIN = tuple(f.name for f in fields(Deployment) if f.name not in ("request", "require", "prefer"))
"""The fields of a deployment that JSON has as they are."""


def _check_ids(name: str, rows: Sequence[Cluster | Node | Deployment]) -> None:
    ids = [row.id for row in rows]
    if len(set(ids)) != len(ids):
        twice = next(i for n, i in enumerate(ids) if i in ids[:n])
        raise ValueError(f"{name}: the id {twice} occurs more than once")


def _capacity(nodes: Sequence[Node]) -> Resources:
    return sum((node.capacity for node in nodes), NOTHING)


def _cluster(row: Fields) -> Cluster:
    id_ = row.integer("id")
    nodes = tuple(_node(node) for node in row.rows("nodes", optional=True))
    cluster = Cluster(
        id=id_,
        capacity=_resources(row) if row.has("cpu_milli") or not nodes else _capacity(nodes),
        state=_state(row),
        name=row.text("name", ""),
        nodes=nodes,
    )
    row.finish()
    return cluster


def _node(row: Fields) -> Node:
    node = Node(
        id=row.integer("id"),
        capacity=_resources(row),
        name=row.text("name", ""),
        labels=labels(*row.document("labels")),
        state=_state(row),
    )
    row.finish()
    return node


def _state(row: Fields) -> ClusterState:
    return ClusterState(row.choice("state", tuple(ClusterState), ClusterState.ACTIVE))


_FLAGS = frozenset({"preemptible", "preempted_in_vain", "reserved"})
_NUMBERS = frozenset({*_PLAIN, *DIMENSIONS} - _FLAGS - {"past_victims"})
_NEEDED = frozenset({"id", "priority", "queued_at", *DIMENSIONS})
_MAY_BE_NULL = _NUMBERS - _NEEDED - {"recent_preemptions"}
_FORMER = {
    "started_at": "placed_at", "preemptions": "recent_preemptions",
    "set_aside_until": "suspended_until",
}  # fmt: skip


def _plain_deployment(row: dict[str, Any]) -> Deployment | None:
    """Return the deployment of a row that is certainly valid, in a fraction of the time.

    None if a field needs a closer look by `_deployment`: it is wrong, missing or a document.
    """
    values: dict[str, Any] = {}
    for name, value in row.items():
        if name in _FORMER and _FORMER[name] not in row:
            name = _FORMER[name]
        if type(value) is int and value >= 0 and name in _NUMBERS:
            values[name] = value
        elif value is None and name in _MAY_BE_NULL:
            continue
        elif name in _FLAGS and type(value) is bool:
            values[name] = value
        elif name != "past_victims" or value != []:
            return None
    if not values.keys() >= _NEEDED:
        return None
    request = Resources(values.pop("cpu_milli"), values.pop("ram_mib"), values.pop("gpu"))
    return Deployment(request=request, **values)


def _deployment(row: Fields) -> Deployment:
    deployment = Deployment(
        id=row.integer("id"),
        priority=row.integer("priority", at_least=None),
        request=_resources(row),
        queued_at=row.integer("queued_at", at_least=None),
        requested_cluster=row.optional("requested_cluster"),
        cluster=row.optional("cluster"),
        placed_at=row.optional("placed_at", formerly="started_at"),
        max_runtime_s=row.optional("max_runtime_s"),
        preemptible=row.flag("preemptible", True),
        recent_preemptions=row.optional("recent_preemptions", formerly="preemptions") or 0,
        checkpoint_at=row.optional("checkpoint_at"),
        ready_since=row.optional("ready_since"),
        suspended_until=row.optional("suspended_until", formerly="set_aside_until"),
        past_victims=tuple(row.integers("past_victims")),
        preempted_in_vain=row.flag("preempted_in_vain", False),
        node=row.optional("node"),
        require=requirements(*row.document("require")),
        prefer=preferences(*row.document("prefer")),
        reserved=row.flag("reserved", False),
    )
    row.finish()
    return deployment


def _resources(row: Fields) -> Resources:
    return Resources(row.integer("cpu_milli"), row.integer("ram_mib"), row.integer("gpu"))


def _cluster_to_json(cluster: Cluster) -> dict[str, Any]:
    # Not by asdict, which copies every value: a cycle records hundreds of nodes.
    row = {
        **cluster.capacity.to_json(),
        "id": cluster.id,
        "state": cluster.state,
        "name": cluster.name,
        "nodes": [_node_to_json(node) for node in cluster.nodes],
    }
    return _without_empty(row, "nodes")


def _node_to_json(node: Node) -> dict[str, Any]:
    return {
        **node.capacity.to_json(),
        "id": node.id,
        "name": node.name,
        "labels": dict(node.labels),
        "state": node.state,
    }


def deployment_to_json(deployment: Deployment) -> dict[str, Any]:
    """Return the deployment's row of a snapshot's JSON."""
    # Not by asdict, which copies every value: a cycle records its whole snapshot.
    plain = {name: getattr(deployment, name) for name in _PLAIN}
    row = {**deployment.request.to_json(), **plain}
    row["require"] = requirements_to_json(deployment.require)
    row["prefer"] = preferences_to_json(deployment.prefer)
    return _without_empty(row, "node", "require", "prefer", "reserved")


def _without_empty(row: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return the row without these fields if they are empty, so that a former release reads it."""
    return {name: value for name, value in row.items() if name not in names or value}
