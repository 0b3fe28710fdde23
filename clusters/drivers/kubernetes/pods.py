"""The manifest of a run's Pod, and the marks that identify it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from clusters.drivers.base import ContainerSpec, RunAs, run_by_uid, uid_by_run
from clusters.drivers.kubernetes.taints import GPU_TOLERATION, Toleration

CONNECTION = "mlops-hypervisor/connection"
UID = "mlops-hypervisor/container"
RUN = "mlops-hypervisor/run"
"""Labels: the Pod's connection, its container's uid, and the run that it was created for."""

STOPPED = "mlops-hypervisor/stopped"
"""Annotation: the hypervisor requested the deletion, so the Pod's end is not an eviction."""

DELETION_REQUESTED = "mlops-hypervisor/deletion-requested"
"""Annotation: when another client requested the deletion, recorded when it was first observed."""

OBSERVED = "mlops-hypervisor/observed"
"""Finalizer: keeps a deleted Pod until its ending has been observed."""

GATE = "mlops-hypervisor/secrets"
"""Scheduling gate: keeps a Pod from all nodes until its Secrets exist."""

CONTAINER = "main"
GPU = "nvidia.com/gpu"
STORAGE = "ephemeral-storage"

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


@dataclass(frozen=True, slots=True)
class SecretNames:
    """The names of a Pod's Secrets, "" for those that it does not have."""

    variables: str = ""
    login: str = ""

    def __bool__(self) -> bool:
        return bool(self.variables or self.login)


def name_of(connection: UUID, uid: UUID) -> str:
    """Return the Pod's name, the same at every attempt, so that a second creation is refused."""
    run_id = run_by_uid(uid)
    return f"run-{uid.hex if run_id is None else run_id}-{connection.hex[:8]}"


def uid_of(pod: Mapping[str, Any]) -> UUID | None:
    """Return the container's uid from the Pod's labels, None if they contain none."""
    labels = pod["metadata"].get("labels", {})
    try:
        if UID in labels:
            return UUID(labels[UID])
        return uid_by_run(int(labels.get(RUN, "")))
    except ValueError:
        return None


def selector(connection: UUID) -> str:
    return f"{CONNECTION}={connection},{RUN}"


def about(meta: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Pod's uid, its node, and its run, name, image and command for people."""
    container: Mapping[str, Any] = next(
        (c for c in spec.get("containers", ()) if c["name"] == CONTAINER), {}
    )
    run = meta["labels"].get(RUN, "")
    return {
        "uid": uid_of({"metadata": meta}),
        "run_id": int(run) if run.isdecimal() else 0,
        "name": meta.get("name", ""),
        "image": container.get("image", ""),
        "node": spec.get("nodeName", ""),
        "command": tuple(word.replace("$$", "$") for word in container.get("args") or ()),
    }


def belongs_to(connection: UUID, pod: Mapping[str, Any]) -> bool:
    """Whether the hypervisor created the Pod for the connection.

    Other clients can set the same labels, but cannot use the name that the labels imply.
    """
    uid = uid_of(pod)
    return uid is not None and pod["metadata"].get("name") == name_of(connection, uid)


def planned_node(spec: Mapping[str, Any]) -> str:
    """Return the name of the node that the Pod is bound to, "" if Kubernetes chooses it."""
    affinity = spec.get("affinity", {}).get("nodeAffinity", {})
    terms = affinity.get(_REQUIRED, {}).get("nodeSelectorTerms", ())
    fields = [field for term in terms for field in term.get("matchFields", ())]
    return next((field["values"][0] for field in fields if field["key"] == "metadata.name"), "")


def manifest(
    connection: UUID,
    spec: ContainerSpec,
    *,
    grace_seconds: int,
    tolerations: Sequence[Toleration] = (),
    secrets: SecretNames = SecretNames(),
) -> dict[str, Any]:
    """Return the Pod to create; `grace_seconds` apply to endings that Kubernetes decides on.

    A Pod that has `secrets` is created behind the gate.
    """
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": spec.image,
        "args": [_literal(word) for word in spec.command],
        "env": _variables(spec, secrets.variables),
        "resources": _resources(spec),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            **_user(spec.run_as),
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name_of(connection, spec.uid),
            "labels": {
                CONNECTION: str(connection),
                UID: str(spec.uid),
                RUN: str(spec.run_id),
            },
            "finalizers": [OBSERVED],
        },
        "spec": {
            "containers": [container],
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": grace_seconds,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            **_waiting(secrets),
            **_placing(spec, tolerations),
        },
    }


def _resources(spec: ContainerSpec) -> dict[str, dict[str, str]]:
    amounts = {"cpu": f"{spec.cpu_milli}m", "memory": f"{spec.ram_mib}Mi"}
    if spec.gpu:
        amounts[GPU] = str(spec.gpu)
    if spec.ephemeral_storage_mib is None:
        return {"requests": amounts, "limits": amounts}
    # Explicitly 0, because Kubernetes would take the limit as the request: the scheduler would then
    # refuse Pods on nodes for which the planner, which does not count disks, has chosen them.
    return {
        "requests": {**amounts, STORAGE: "0"},
        "limits": {**amounts, STORAGE: f"{spec.ephemeral_storage_mib}Mi"},
    }


def _variables(spec: ContainerSpec, secret: str) -> list[dict[str, Any]]:
    """Return the environment, which has only a reference for each secret variable."""
    plain = [{"name": name, "value": _literal(spec.env[name])} for name in spec.env]
    return plain + [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": name}}}
        for name in spec.secrets
    ]


def _user(run_as: RunAs | None) -> dict[str, Any]:
    if run_as is None:
        return {}
    made: dict[str, Any] = {"runAsUser": run_as.uid, "runAsNonRoot": not run_as.is_root}
    if run_as.gid is not None:
        made["runAsGroup"] = run_as.gid
    return made


def _waiting(secrets: SecretNames) -> dict[str, Any]:
    """Return the fields of a Pod that waits for its Secrets."""
    made: dict[str, Any] = {"schedulingGates": [{"name": GATE}]} if secrets else {}
    if secrets.login:
        made["imagePullSecrets"] = [{"name": secrets.login}]
    return made


def _placing(spec: ContainerSpec, tolerations: Sequence[Toleration]) -> dict[str, Any]:
    """Return the fields that determine which nodes the Pod may run on."""
    # Nodes with GPUs often have a taint against Pods that request none. A Pod that is bound to such
    # a node was planned there.
    needed = [GPU_TOLERATION] if spec.gpu or spec.node else []
    made: dict[str, Any] = {"tolerations": [t.manifest() for t in (*needed, *tolerations)]}
    if spec.node:
        field = {"key": "metadata.name", "operator": "In", "values": [spec.node]}
        terms = {"nodeSelectorTerms": [{"matchFields": [field]}]}
        made["affinity"] = {"nodeAffinity": {_REQUIRED: terms}}
    return made


def is_gated(pod: Mapping[str, Any]) -> bool:
    """Whether the Pod waits behind the gate, so that no node has ever had it."""
    return any(gate["name"] == GATE for gate in pod["spec"].get("schedulingGates") or ())


def without_gate() -> dict[str, Any]:
    """Return the patch that lets Kubernetes schedule the Pod."""
    return {"spec": {"schedulingGates": [{"name": GATE, "$patch": "delete"}]}}


def mark_stopped() -> dict[str, Any]:
    """Return the patch that records that the hypervisor stops the Pod."""
    return {"metadata": {"annotations": {STOPPED: "true"}}}


def with_deletion_requested(requested_at: datetime) -> dict[str, Any]:
    """Return the patch that records when another client requested the deletion."""
    return {"metadata": {"annotations": {DELETION_REQUESTED: requested_at.isoformat()}}}


def without_finalizer() -> dict[str, Any]:
    """Return the patch that lets Kubernetes remove the Pod."""
    return {"metadata": {"$deleteFromPrimitiveList/finalizers": [OBSERVED]}}


def _literal(text: str) -> str:
    """Return the text escaped, because Kubernetes would expand `$(NAME)`."""
    return text.replace("$", "$$")
