"""The Secrets of a run's Pod: of its secret variables, and of the log-in to its image's registry.

The Pod is created first, behind a scheduling gate, then its Secrets, which the Pod owns from the
beginning, and then the gate is removed. So Kubernetes deletes each Secret with its Pod, whatever
happens to this process in between, and the service account needs no right to read, list or delete
Secrets. See decision 0027.
"""

import json
import secrets
from base64 import b64encode
from collections.abc import Mapping
from uuid import UUID

import structlog

from clusters.drivers.base import Cause, ContainerSpec, DriverError, RegistryLogin
from clusters.drivers.kubernetes import pods
from clusters.drivers.kubernetes.api import Api, Json
from clusters.drivers.kubernetes.errors import Refused
from clusters.drivers.kubernetes.pods import SecretNames

RIGHTS = (("create", "secrets"),)

_LOGIN = "kubernetes.io/dockerconfigjson"
_KEYS = {"docker.io": "https://index.docker.io/v1/"}
"""The hosts that kubelets know by another name."""

log = structlog.get_logger(__name__)


def new_names(connection: UUID, spec: ContainerSpec) -> SecretNames:
    """Return names for the Secrets that the spec's Pod needs.

    They differ at each attempt, because Kubernetes may still be about to delete the Secrets of an
    attempt before.
    """
    stem = f"{pods.name_of(connection, spec.uid)}-{secrets.token_hex(4)}"
    return SecretNames(
        variables=f"{stem}-env" if spec.secrets else "",
        login=f"{stem}-pull" if spec.login else "",
    )


def release(api: Api, pod: Json, names: SecretNames, spec: ContainerSpec) -> None:
    """Create the Secrets that the Pod waits for, then let Kubernetes schedule the Pod.

    Raises DriverError. The Pod is gone then, unless the cause is UNREACHABLE: it may still be
    there, behind the gate or released.
    """
    try:
        if names.variables:
            api.create_secret(_manifest(pod, names.variables, "Opaque", spec.secrets))
        if names.login and spec.login:
            api.create_secret(_manifest(pod, names.login, _LOGIN, _docker_config(spec.login)))
        released = api.patch_pod(pod["metadata"]["name"], pods.without_gate())
    except Refused:
        if _discarded(api, pod):
            raise
        return
    if released is None:
        raise DriverError(
            "Its Pod was deleted by another client before it started.", retriable=True
        )


def discard(api: Api, pod: Json) -> Json | None:
    """Delete a Pod that waits behind the gate; return it if others' finalizers keep it.

    Raises Refused if the Pod has changed since it was read.
    """
    meta = pod["metadata"]
    if "deletionTimestamp" not in meta:
        # With its version, because the Pod may have a container once the gate is removed.
        api.delete_pod(
            meta["name"], uid=meta["uid"], grace_seconds=0, version=meta["resourceVersion"]
        )
    left = api.patch_pod(meta["name"], pods.without_finalizer())
    return left if left and left["metadata"].get("finalizers") else None


def without_interrupted(api: Api, listed: list[Json]) -> list[Json]:
    """Delete the Pods whose start was interrupted before they were released; return the others.

    No live worker can be at that point, because one process at a time uses an engine.
    """
    return [pod for each in listed if (pod := _unless_interrupted(api, each))]


def _unless_interrupted(api: Api, pod: Json) -> Json | None:
    if not pods.is_gated(pod):
        return pod
    try:
        return discard(api, pod)
    except Refused as error:
        log.info("pod_not_discarded", pod=pod["metadata"]["name"], why=error)
        return pod


def _discarded(api: Api, pod: Json) -> bool:
    """Delete the Pod if it is still behind the gate; return whether it is gone.

    Raises DriverError with the cause UNREACHABLE if that remains unknown.
    """
    try:
        current = api.read_pod(pod["metadata"]["name"])
        if current is None or current["metadata"]["uid"] != pod["metadata"]["uid"]:
            return True
        # The server may have removed the gate although it reported a failure.
        return pods.is_gated(current) and discard(api, current) is None
    except DriverError as error:
        raise DriverError(str(error), retriable=True, cause=Cause.UNREACHABLE) from error


def _manifest(pod: Json, name: str, kind: str, values: Mapping[str, str]) -> Json:
    meta = pod["metadata"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": meta["labels"], "ownerReferences": [owner]},
        "type": kind,
        "immutable": True,
        "data": {key: _base64(value) for key, value in values.items()},
    }


def _docker_config(login: RegistryLogin) -> dict[str, str]:
    entry = {
        "username": login.username,
        "password": login.password,
        "auth": _base64(f"{login.username}:{login.password}"),
    }
    config = {"auths": {_KEYS.get(login.host, login.host): entry}}
    return {".dockerconfigjson": json.dumps(config)}


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()
