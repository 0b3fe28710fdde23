"""The marker of ownership, which is the content of a ConfigMap of the connection."""

from collections.abc import Collection
from contextlib import suppress
from typing import Any
from uuid import UUID

from clusters.drivers.base import DriverError
from clusters.drivers.kubernetes.api import Api
from clusters.drivers.kubernetes.errors import FORBIDDEN, Refused
from clusters.drivers.kubernetes.pods import CONNECTION

RIGHTS = (("get", "configmaps"), ("create", "configmaps"), ("update", "configmaps"))

_KEY = "marker"


def present(api: Api, connection: UUID) -> frozenset[UUID] | None:
    """Return the connection's marker, if there is one; None if it may not be read."""
    try:
        found = api.read_config_map(_name(connection))
    except Refused as error:
        if error.status == FORBIDDEN:
            return None
        raise
    return frozenset(filter(None, [_marker(found)]))


def put(api: Api, connection: UUID, marker: UUID, instead_of: Collection[UUID]) -> None:
    """Put a marker in place of one of `instead_of`. Raises DriverError if another one is there."""
    try:
        _put(api, connection, marker, instead_of)
    except Refused as error:
        # The right is optional, and the probe warns if it is missing.
        if error.status != FORBIDDEN:
            raise


def _put(api: Api, connection: UUID, marker: UUID, instead_of: Collection[UUID]) -> None:
    found = api.read_config_map(_name(connection))
    there = _marker(found)
    if there == marker:
        return
    if there and there not in instead_of:
        raise DriverError(
            "Another installation claimed the engine at the same time: run `manage.py claim_engine`"
            " if this installation is to use it.",
            retriable=True,
        )
    meta: dict[str, Any] = {"name": _name(connection), "labels": {CONNECTION: str(connection)}}
    if found:
        # Makes the write fail if the ConfigMap has changed since it was read.
        meta["resourceVersion"] = found["metadata"]["resourceVersion"]
    api.write_config_map(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {_KEY: str(marker)}}
    )


def _marker(found: dict[str, Any] | None) -> UUID | None:
    with suppress(ValueError):
        return UUID((found or {}).get("data", {}).get(_KEY, ""))
    return None


def _name(connection: UUID) -> str:
    return f"mlops-hypervisor-{connection.hex[:12]}"
