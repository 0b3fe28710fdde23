"""The labels and names that identify a connection's containers on an engine.

A name can change after the creation, labels cannot. So the name of a container that was asked to
stop contains the deadline, which survives the death of a worker and of the engine.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from clusters.drivers.base import ContainerSpec, run_by_uid, uid_by_run

CONTAINER = "mlops-hypervisor.container"
RUN = "mlops-hypervisor.run"
CONNECTION = "mlops-hypervisor.connection"
DEVICES = "mlops-hypervisor.devices"

_DEADLINE = re.compile(r"\.stop-(\d+)\Z")


def labels(connection: UUID, spec: ContainerSpec) -> dict[str, str]:
    return {
        CONTAINER: str(spec.uid),
        RUN: str(spec.run_id),
        CONNECTION: str(connection),
        DEVICES: ",".join(spec.devices),
    }


def label_filter(
    connection: UUID, container: UUID | None = None
) -> dict[str, str | list[str] | bool]:
    """Return the filter for all containers of the connection, or for one of them.

    For a container from before container uids, it matches all containers of its run; check them
    with `uid_of`.
    """
    filters = [f"{CONNECTION}={connection}"]
    if container is not None:
        run_id = run_by_uid(container)
        filters.append(f"{CONTAINER}={container}" if run_id is None else f"{RUN}={run_id}")
    return {"label": filters}


def uid_of(container: Mapping[str, Any]) -> UUID | None:
    """Return the uid of a listed container, None if its labels are not in this product's form."""
    found = container["Labels"]
    try:
        return UUID(found[CONTAINER]) if CONTAINER in found else uid_by_run(int(found.get(RUN, "")))
    except ValueError:
        return None


def name(connection: UUID, spec: ContainerSpec) -> str:
    return f"mlops-{connection.hex[:12]}-run-{spec.run_id}-{spec.uid.hex[:12]}"


def name_of(container: Mapping[str, Any]) -> str:
    """Return the name of a listed container."""
    # Links from other containers add names with a second slash.
    own = (name.lstrip("/") for name in container.get("Names") or () if name.count("/") == 1)
    return next(own, "")


def name_until(container: Mapping[str, Any], deadline: datetime) -> str:
    """Return the name for a listed container that is asked to stop, with the deadline."""
    return f"{name_of(container)}.stop-{int(deadline.timestamp() * 1000)}"


def deadline_of(container: Mapping[str, Any]) -> datetime | None:
    """Return when a container that was asked to stop is to be killed, None for other containers."""
    for listed in container.get("Names") or ():
        if match := _DEADLINE.search(listed):
            return datetime.fromtimestamp(int(match[1]) / 1000, UTC)
    return None


def network_name(uid: UUID) -> str:
    return f"mlops-{uid.hex[:12]}"
