"""How our containers are known on an engine that others use as well.

Labels cannot change after the creation, a name can: it holds until when a container that was asked
to stop has time, so that neither a worker nor an engine that dies forgets it.
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


def ours(connection: UUID, container: UUID | None = None) -> dict[str, str | list[str] | bool]:
    """Return the filter for all containers of the connection, or for one of them.

    For one from before container uids that is all of its run: `uid_of` tells them apart.
    """
    filters = [f"{CONNECTION}={connection}"]
    if container is not None:
        run_id = run_by_uid(container)
        filters.append(f"{CONTAINER}={container}" if run_id is None else f"{RUN}={run_id}")
    return {"label": filters}


def uid_of(container: Mapping[str, Any]) -> UUID | None:
    """Return by which uid a listed container is known, None when others wrote its labels."""
    said = container["Labels"]
    try:
        return UUID(said[CONTAINER]) if CONTAINER in said else uid_by_run(int(said.get(RUN, "")))
    except ValueError:
        return None


def name(connection: UUID, spec: ContainerSpec) -> str:
    return f"mlops-{connection.hex[:12]}-run-{spec.run_id}-{spec.uid.hex[:12]}"


def name_of(container: Mapping[str, Any]) -> str:
    """Return the name of a listed container."""
    # A container that others link to has names for the links as well, with a second slash.
    own = (name.lstrip("/") for name in container.get("Names") or () if name.count("/") == 1)
    return next(own, "")


def name_until(container: Mapping[str, Any], deadline: datetime) -> str:
    """Return the name of a listed container once it was asked to stop."""
    return f"{name_of(container)}.stop-{int(deadline.timestamp() * 1000)}"


def deadline_of(container: Mapping[str, Any]) -> datetime | None:
    """Return when a container that was asked to stop is to be killed."""
    for known in container.get("Names") or ():
        if match := _DEADLINE.search(known):
            return datetime.fromtimestamp(int(match[1]) / 1000, UTC)
    return None


def network_name(uid: UUID) -> str:
    return f"mlops-{uid.hex[:12]}"
