"""The specification of a deployment, what of it can change, and whether a cluster can hold it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from clusters.models import DIMENSIONS, Cluster
from clusters.resources import describe
from deployments.dependencies import Wait
from deployments.environment import Env, comparable
from deployments.images import check_reference
from deployments.models import (
    ENDED,
    Condition,
    Deployment,
    OnDependencyFailure,
    RestartPolicy,
    Status,
)
from hypervisor.base.errors import Conflict, Invalid

_CHANGEABLE_ALWAYS = {"name", "priority", "restart_policy", "max_restarts"}


@dataclass(frozen=True, slots=True)
class Spec:
    """The fields of a deployment that its submitter sets.

    CPU is in millicores, RAM in MiB, GPU in devices, `max_runtime_s` in seconds.
    """

    name: str
    image: str
    cpu_milli: int
    ram_mib: int
    gpu: int = 0
    priority: int = 50
    command: tuple[str, ...] = ()
    env: Env = field(default_factory=dict)
    requested_cluster: Cluster | None = None
    max_runtime_s: int | None = None
    depends_on: tuple[Wait, ...] = ()
    on_dependency_failure: str = OnDependencyFailure.WAIT
    restart_policy: str = RestartPolicy.NEVER
    max_restarts: int = 3

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
        return values | {"command": list(self.command), "env": dict(self.env)}


_COLUMNS = tuple(name for name in Spec.__dataclass_fields__ if name != "depends_on")


def differences(before: Spec, after: Spec) -> dict[str, list[Any]]:
    """Return the values before and after of each field that differs, ready for JSON.

    An environment is reduced to its names, because its values may be secret.
    """
    return {
        name: [_plain(getattr(before, name)), _plain(getattr(after, name))]
        for name in Spec.__dataclass_fields__
        if _comparable(getattr(before, name)) != _comparable(getattr(after, name))
    }


def check_changeable(deployment: Deployment, changed: set[str]) -> None:
    """Raise Conflict if one of the fields cannot change in the deployment's present status."""
    if deployment.status in ENDED:
        raise Conflict(
            f"Deployment {deployment.pk} has ended ({deployment.status}) and cannot be changed:"
            " start it again first, or submit a new one."
        )
    # The API's name of the column `cpu_milli` is `cpu`.
    frozen = sorted(name.removesuffix("_milli") for name in changed - _CHANGEABLE_ALWAYS)
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
    """Raise Invalid unless an empty cluster that the deployment may use could hold it."""
    check_fits(list(Cluster.objects.filter(organization_id=organization_id)), spec)


def check_fits(clusters: Sequence[Cluster], spec: Spec) -> None:
    """Raise Invalid unless one of the organization's clusters could hold it when empty.

    If the specification requests a cluster, only that one counts.
    """
    if spec.requested_cluster:
        clusters = [c for c in clusters if c.pk == spec.requested_cluster.pk]
    if any(all(getattr(spec, name) <= getattr(c, name) for name in DIMENSIONS) for c in clusters):
        return
    request = describe(spec.cpu_milli, spec.ram_mib, spec.gpu)
    sizes = [
        f"{c.name} has {describe(c.cpu_milli, c.ram_mib, c.gpu)}"
        for c in sorted(clusters, key=lambda c: (-c.gpu, c.pk))[:3]
    ]
    raise Invalid(
        f"No cluster that this deployment may use can ever hold {request}"
        + (f": {'; '.join(sizes)}. Request less, or enlarge a cluster." if sizes
           else ". The organization has no cluster yet: create one first."),
        attr=_too_large(spec, clusters),
        code="exceeds_capacity",
    )  # fmt: skip


def _too_large(spec: Spec, clusters: Sequence[Cluster]) -> str | None:
    """Return the field that alone exceeds every cluster, None if only the combination does."""
    for attr, column in (("cpu", "cpu_milli"), ("ram_mib", "ram_mib"), ("gpu", "gpu")):
        if clusters and all(getattr(spec, column) > getattr(c, column) for c in clusters):
            return attr
    return None


def _comparable(value: Any) -> Any:
    """Return a value to compare: dependencies without order, secrets by their plain text."""
    if isinstance(value, Mapping):
        return comparable(value)
    is_waits = isinstance(value, tuple) and value and isinstance(value[0], Wait)
    return frozenset(value) if is_waits else value


def _plain(value: Any) -> Any:
    if isinstance(value, Cluster):
        return value.pk
    if isinstance(value, Mapping):
        return sorted(value)
    if isinstance(value, tuple):
        return [asdict(item) if isinstance(item, Wait) else item for item in value]
    return value
