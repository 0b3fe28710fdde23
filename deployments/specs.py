"""The specification of a deployment, what of it can change, and whether a node can hold it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from clusters.capacity import Capacity
from clusters.models import Cluster, Node
from clusters.places import Places
from deployments.choices import ENDED, Condition, OnDependencyFailure, RestartPolicy, Status
from deployments.dependencies import Wait
from deployments.environment import Env, comparable
from deployments.images import check_reference
from deployments.models import Deployment
from deployments.requirements import Conditions, existing, holds, in_words, satisfied
from hypervisor.base.errors import Conflict, Invalid

CHANGEABLE_ALWAYS = {"name", "labels", "priority", "restart_policy", "max_restarts"}
"""The fields that can change until a deployment has ended; all others only while it is pending."""


@dataclass(frozen=True, slots=True)
class Spec:
    """The fields of a deployment that its submitter sets.

    CPU is in millicores, RAM and storage in MiB, GPU in devices, `max_runtime_s` in seconds.
    """

    name: str
    image: str
    cpu_milli: int
    ram_mib: int
    gpu: int = 0
    priority: int = 50
    command: tuple[str, ...] = ()
    env: Env = field(default_factory=dict)
    run_as: Mapping[str, int | None] | None = None
    ephemeral_storage_mib: int | None = None
    requested_cluster: Cluster | None = None
    require: Conditions = field(default_factory=dict)
    prefer: Conditions = field(default_factory=dict)
    max_runtime_s: int | None = None
    depends_on: tuple[Wait, ...] = ()
    on_dependency_failure: str = OnDependencyFailure.WAIT
    restart_policy: str = RestartPolicy.NEVER
    max_restarts: int = 3
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, deployment: Deployment) -> "Spec":
        waits = deployment.dependencies.all()
        return cls(
            **{name: getattr(deployment, name) for name in _COLUMNS if name != "command"},
            command=tuple(deployment.command),
            depends_on=tuple(Wait(wait.on_id, Condition(wait.condition)) for wait in waits),
        )

    @classmethod
    def from_fields(
        cls, given: Mapping[str, Any], cluster: Cluster | None, former: "Spec | None" = None
    ) -> "Spec":
        """Make a specification from validated fields; the former one supplies what is missing."""
        fields = {name: given[name] for name in _COLUMNS if name in given}
        fields["requested_cluster"] = cluster
        if "command" in given:
            fields["command"] = tuple(given["command"])
        if "dependencies" in given:
            fields["depends_on"] = tuple(given["dependencies"])
        return replace(former, **fields) if former else cls(**fields)

    def columns(self) -> dict[str, Any]:
        """Return the values of the columns that Deployment has under the same names."""
        values = {name: getattr(self, name) for name in _COLUMNS}
        copied = {name: dict(values[name]) for name in ("env", "require", "prefer", "labels")}
        return values | copied | {"command": list(self.command)}


_COLUMNS = tuple(name for name in Spec.__dataclass_fields__ if name != "depends_on")


def differences(before: Spec, after: Spec) -> dict[str, list[Any]]:
    """Return the values before and after of each field that differs, ready for JSON.

    An environment is reduced to its names, because its values may be secret.
    """
    return {
        name: [_plain(name, getattr(before, name)), _plain(name, getattr(after, name))]
        for name in Spec.__dataclass_fields__
        if _comparable(name, getattr(before, name)) != _comparable(name, getattr(after, name))
    }


def check_changeable(deployment: Deployment, changed: set[str]) -> None:
    """Raise Conflict if one of the fields cannot change in the deployment's present status."""
    if deployment.status in ENDED:
        raise Conflict(
            f"Deployment {deployment.pk} has ended ({deployment.status}) and cannot be changed:"
            " start it again first, or submit a new one."
        )
    if deployment.array_id and changed - CHANGEABLE_ALWAYS:
        raise Conflict(
            f"Deployment {deployment.pk} is an element of array {deployment.array_id}, whose"
            " elements request the same; only name, labels, priority and restart policy can"
            " change: cancel the array and submit another one."
        )
    # The API's name of the column `cpu_milli` is `cpu`.
    frozen = sorted(name.removesuffix("_milli") for name in changed - CHANGEABLE_ALWAYS)
    if frozen and deployment.status != Status.PENDING:
        raise Conflict(
            f"Deployment {deployment.pk} is {deployment.status}; {', '.join(frozen)} can change"
            " only while it is pending: stop it, start it again and then change it, or submit a new"
            " one."
        )


def check_image(image: str) -> None:
    """Raise Invalid if the image reference is malformed."""
    try:
        check_reference(image)
    except ValueError as error:
        raise Invalid(str(error), attr="image") from error


def check_capacity(organization_id: int, spec: Spec) -> None:
    """Raise Invalid unless an empty node that the deployment may use could hold it."""
    nodes = Node.objects.filter(cluster__organization=organization_id)
    check_fits(list(nodes.of_each_shape()), spec)


def check_fits(nodes: Sequence[Node], spec: Spec) -> None:
    """Raise Invalid unless one of the organization's nodes could hold it when empty.

    Of nodes that are alike, one is enough. If the specification requests a cluster, only the nodes
    of that cluster count.
    """
    if spec.requested_cluster:
        nodes = [n for n in nodes if n.cluster_id == spec.requested_cluster.pk]
    request = Capacity(spec.cpu_milli, spec.ram_mib, spec.gpu)
    if any(_could_run(spec, request, node) for node in nodes):
        return
    labelled = [node for node in nodes if satisfied(spec.require, node.labels)]
    if nodes and not labelled:
        raise _no_such_labels(nodes, spec)
    if labelled and not any(_can_limit(spec, node) for node in labelled):
        raise Invalid(
            "No engine that this deployment may use can limit storage: leave"
            " `ephemeral_storage_mib` out, or request another cluster.",
            attr="ephemeral_storage_mib",
            code="unsupported",
        )
    raise Invalid(
        f"No node that this deployment may use can ever hold {request}"
        + (f": {'; '.join(_largest(labelled))}. Request less, or add a larger node."
           if nodes else ". The organization has no cluster yet: create one first."),
        attr=_too_large(spec, labelled),
        code="exceeds_capacity",
    )  # fmt: skip


def _could_run(spec: Spec, request: Capacity, node: Node) -> bool:
    fits = Capacity.of(node).holds(request) and satisfied(spec.require, node.labels)
    return fits and _can_limit(spec, node)


def _can_limit(spec: Spec, node: Node) -> bool:
    return spec.ephemeral_storage_mib is None or node.can_limit_storage


def _no_such_labels(nodes: Sequence[Node], spec: Spec) -> Invalid:
    """Return the error for requirements that no node satisfies, at the first that none does."""
    conditions = spec.require.items()
    hopeless = [
        (key, form)
        for key, form in conditions
        if not any(holds(form, node.labels.get(key)) for node in nodes)
    ]
    wanted = " and ".join(in_words(key, form) for key, form in hopeless or conditions)
    return Invalid(
        f"No node that this deployment may use satisfies: {wanted}. The labels of these nodes are:"
        f" {existing(node.labels for node in nodes)}. Require others, or label a node.",
        attr=f"require.{hopeless[0][0]}" if hopeless else "require",
        code="unsatisfiable_requirement",
    )


def _largest(nodes: Sequence[Node]) -> list[str]:
    """Return a clause for each of the three largest nodes, by GPU."""
    largest = sorted(nodes, key=lambda n: (-n.gpu, -n.ram_mib, -n.cpu_milli, n.pk))[:3]
    places = Places.of_nodes(largest)
    return [f"{places.of_node(node)} has {Capacity.of(node)}" for node in largest]


def _too_large(spec: Spec, nodes: Sequence[Node]) -> str | None:
    """Return the field that alone exceeds every node, None if only the combination does."""
    for attr, column in (("cpu", "cpu_milli"), ("ram_mib", "ram_mib"), ("gpu", "gpu")):
        if nodes and all(getattr(spec, column) > getattr(node, column) for node in nodes):
            return attr
    return None


def _comparable(name: str, value: Any) -> Any:
    """Return a value to compare: dependencies without order, secrets by their plain text."""
    if name == "env":
        return comparable(value)
    return frozenset(value) if name == "depends_on" else value


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Cluster):
        return value.pk
    if name == "env":
        return sorted(value)
    if isinstance(value, tuple):
        return [asdict(item) if isinstance(item, Wait) else item for item in value]
    return value
