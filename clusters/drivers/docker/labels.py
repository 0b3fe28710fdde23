"""How our containers are known on an engine that others use as well.

Labels cannot change after the creation, a name can: it holds until when a container that was asked
to stop has time, so that neither a worker nor an engine that dies forgets it.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

RUN = "mlops-hypervisor.run"
CONNECTION = "mlops-hypervisor.connection"
DEVICES = "mlops-hypervisor.devices"

_DEADLINE = re.compile(r"\.stop-(\d+)\Z")


def labels(uid: UUID, run_id: int, devices: tuple[str, ...]) -> dict[str, str]:
    return {RUN: str(run_id), CONNECTION: str(uid), DEVICES: ",".join(devices)}


def ours(uid: UUID, run_id: int | None = None) -> dict[str, str | list[str] | bool]:
    """Return the filter for all containers of the connection, or that of one run."""
    of_run = [] if run_id is None else [f"{RUN}={run_id}"]
    return {"label": [f"{CONNECTION}={uid}", *of_run]}


def name(uid: UUID, run_id: int) -> str:
    return f"mlops-{uid.hex[:12]}-run-{run_id}"


def name_until(uid: UUID, run_id: int, deadline: datetime) -> str:
    return f"{name(uid, run_id)}.stop-{int(deadline.timestamp() * 1000)}"


def deadline_of(container: Mapping[str, Any]) -> datetime | None:
    """Return when a container that was asked to stop is to be killed."""
    for known in container.get("Names") or ():
        if match := _DEADLINE.search(known):
            return datetime.fromtimestamp(int(match[1]) / 1000, UTC)
    return None


def network_name(uid: UUID) -> str:
    return f"mlops-{uid.hex[:12]}"
