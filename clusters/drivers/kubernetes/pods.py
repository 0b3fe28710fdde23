"""What we ask Kubernetes for: the Pod of a run, and the marks by which it is known again."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from clusters.drivers.base import ContainerSpec, run_by_uid, uid_by_run

CONNECTION = "mlops-hypervisor/connection"
UID = "mlops-hypervisor/container"
RUN = "mlops-hypervisor/run"
"""Labels: whose Pod it is, by which uid it is known, and the run that it was made for."""

STOPPED = "mlops-hypervisor/stopped"
"""Annotation: we had it deleted ourselves, so its end is no eviction by Kubernetes."""

DELETION_REQUESTED = "mlops-hypervisor/deletion-requested"
"""Annotation: when somebody else asked for the deletion, noted as soon as we saw it."""

OBSERVED = "mlops-hypervisor/observed"
"""Finalizer: keeps a deleted Pod until we have seen how it ended."""

CONTAINER = "main"
GPU = "nvidia.com/gpu"


def name_of(connection: UUID, uid: UUID) -> str:
    """Return the Pod's name: the same at every try, so that a second one is refused as a double."""
    run_id = run_by_uid(uid)
    return f"run-{uid.hex if run_id is None else run_id}-{connection.hex[:8]}"


def uid_of(pod: Mapping[str, Any]) -> UUID | None:
    """Return by which uid its labels say that the Pod is known, None when they say none."""
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
    """Return what identifies a Pod: its uid, and for people its run, name, image and command."""
    container: Mapping[str, Any] = next(
        (c for c in spec.get("containers", ()) if c["name"] == CONTAINER), {}
    )
    run = meta["labels"].get(RUN, "")
    return {
        "uid": uid_of({"metadata": meta}),
        "run_id": int(run) if run.isdecimal() else 0,
        "name": meta.get("name", ""),
        "image": container.get("image", ""),
        "command": tuple(word.replace("$$", "$") for word in container.get("args") or ()),
    }


def is_ours(connection: UUID, pod: Mapping[str, Any]) -> bool:
    """Whether we made it: others may write our labels, but the name that they imply is taken."""
    uid = uid_of(pod)
    return uid is not None and pod["metadata"].get("name") == name_of(connection, uid)


def manifest(connection: UUID, spec: ContainerSpec, *, grace_seconds: int) -> dict[str, Any]:
    """Return the Pod to create; `grace_seconds` are for endings that Kubernetes decides on."""
    resources = {"cpu": f"{spec.cpu_milli}m", "memory": f"{spec.ram_mib}Mi"}
    if spec.gpu:
        resources[GPU] = str(spec.gpu)
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": spec.image,
        "args": [_literal(word) for word in spec.command],
        "env": [{"name": name, "value": _literal(spec.env[name])} for name in spec.env],
        "resources": {"requests": resources, "limits": resources},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
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
            # Nodes with GPUs are often kept free of everything that asks for none.
            "tolerations": [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]
            if spec.gpu
            else [],
        },
    }


def mark_stopped() -> dict[str, Any]:
    return {"metadata": {"annotations": {STOPPED: "true"}}}


def note_deletion(requested_at: datetime) -> dict[str, Any]:
    return {"metadata": {"annotations": {DELETION_REQUESTED: requested_at.isoformat()}}}


def release() -> dict[str, Any]:
    return {"metadata": {"$deleteFromPrimitiveList/finalizers": [OBSERVED]}}


def _literal(text: str) -> str:
    """Return the text such that Kubernetes passes it on unchanged: it would expand `$(NAME)`."""
    return text.replace("$", "$$")
