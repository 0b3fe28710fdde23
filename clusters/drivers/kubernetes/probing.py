"""Probe a Kubernetes cluster: its identity, its capacity, and whether it would accept Pods."""

from collections.abc import Iterable
from dataclasses import replace
from uuid import UUID

from clusters.drivers.base import ContainerSpec, DriverError, NodeReport, NodeState, Probe, RunAs
from clusters.drivers.kubernetes import capacity, markers, pod_secrets, pods
from clusters.drivers.kubernetes.api import Api
from clusters.drivers.kubernetes.errors import Refused, missing_right, unless_forbidden
from clusters.drivers.kubernetes.supply import Supply
from clusters.models import DIMENSIONS, Connection

_COPY = "a copied or restored installation may not detect that the Pods belong to another one"
_NO_SECRETS = (
    "no deployment can start that has a secret in its `env`, or an image from a registry to which"
    " its organization has a log-in"
)

_ONLY_WITH_RUN_AS = (
    "The namespace allows no container to run as root: deployments without `run_as` fail there."
)
_NOBODY = RunAs(65534)

_UNIDENTIFIED = (
    "The service account may not read the namespace kube-system, whose UID identifies the engine."
    " Therefore another cluster that is connected to the same nodes is not detected. Grant the"
    " ClusterRole in docs/operating.md."
)

RIGHTS = (
    ("create", "pods"), ("get", "pods"), ("list", "pods"), ("watch", "pods"), ("patch", "pods"),
    ("delete", "pods"), ("get", "pods/log"),
)  # fmt: skip

_TRIAL = ContainerSpec(
    UUID(int=0), image="trial", command=(), env={}, cpu_milli=10, ram_mib=16, gpu=0
)


def probe(api: Api, connection: Connection, supply: Supply) -> Probe:
    """Return the cluster's identity and capacity. Raises DriverError if a right is missing."""
    own_uid = api.namespace_uid(connection.namespace)
    _check_rights(api)
    nodes = supply.nodes()
    measured, warnings = _measured(api, connection, nodes, supply)
    # Not derived from the nodes, because the identity must not change with them.
    whole = unless_forbidden(lambda: api.namespace_uid("kube-system"))
    if nodes is not None and whole is None:
        warnings = [*warnings, _UNIDENTIFIED]
    return Probe(
        engine_id=f"kubernetes:{whole or own_uid}",
        version=f"Kubernetes {api.version()}",
        cpu_milli=measured["cpu_milli"],
        ram_mib=measured["ram_mib"],
        gpu=measured["gpu"],
        warnings=(
            *warnings,
            *_objections(api, connection),
            *_missing(api, markers.RIGHTS, _COPY),
            *_missing(api, pod_secrets.RIGHTS, _NO_SECRETS),
        ),
        nodes=None if nodes is None else tuple(nodes),
    )


def _measured(
    api: Api, connection: Connection, nodes: list[NodeReport] | None, supply: Supply
) -> tuple[capacity.Amounts, list[str]]:
    """Return the capacity that takes Pods now, and warnings."""
    if nodes is None:
        claimed = {name: getattr(connection.cluster, name) for name in DIMENSIONS}
        return capacity.measure(capacity.bounded(unless_forbidden(api.quotas)), claimed)
    active = [node for node in nodes if node.selected and node.state is NodeState.ACTIVE]
    total = {name: sum(getattr(node, name) for node in active) for name in DIMENSIONS}
    return total, supply.warnings()


def _check_rights(api: Api) -> None:
    missing = [f"`{verb}` `{what}`" for verb, what in RIGHTS if not api.may(verb, what)]
    if missing:
        raise DriverError(missing_right(", ".join(missing)), retriable=True)


def _missing(api: Api, rights: Iterable[tuple[str, str]], effect: str) -> list[str]:
    """Return a warning with the effect if one of these rights, which are optional, is missing."""
    missing = [f"`{verb}` `{what}`" for verb, what in rights if not api.may(verb, what)]
    if not missing:
        return []
    warning = (
        f"The service account is missing the right to {', '.join(missing)}. Without it, {effect}:"
        " grant it as docs/operating.md describes."
    )
    return [warning]


def _objections(api: Api, connection: Connection) -> list[str]:
    """Return why the hypervisor's Pods would be refused: by a security policy, quota or webhook."""
    objection = _objection(api, connection, _TRIAL)
    if objection is None:
        return []
    if _objection(api, connection, replace(_TRIAL, run_as=_NOBODY)) is None:
        return [_ONLY_WITH_RUN_AS]
    return [f"The Kubernetes cluster would refuse the hypervisor's Pods. {objection}"]


def _objection(api: Api, connection: Connection, trial: ContainerSpec) -> Refused | None:
    try:
        api.create_pod(pods.manifest(connection.uid, trial, grace_seconds=1), really=False)
    except Refused as error:
        if error.retriable and error.status != 403:
            raise
        return error
    return None
