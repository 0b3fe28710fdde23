"""Markers of ownership: each is an empty volume, which outlives containers and restarts."""

from uuid import UUID

from docker import APIClient
from docker.errors import NotFound

from clusters.drivers.docker.labels import CONNECTION

MARKER = "mlops-hypervisor.marker"


def present(engine: APIClient, connection: UUID) -> frozenset[UUID]:
    """Return the connection's markers."""
    listed = engine.volumes(filters={"label": [f"{CONNECTION}={connection}", MARKER]})
    found = (UUID(volume["Labels"][MARKER]) for volume in listed["Volumes"] or ())
    return frozenset(found)


def put(engine: APIClient, connection: UUID, marker: UUID) -> None:
    engine.create_volume(
        _name(connection, marker), labels={CONNECTION: str(connection), MARKER: str(marker)}
    )


def remove(engine: APIClient, connection: UUID, marker: UUID) -> None:
    try:
        engine.remove_volume(_name(connection, marker))
    except NotFound:
        return


def _name(connection: UUID, marker: UUID) -> str:
    return f"mlops-{connection.hex[:12]}-marker-{marker.hex}"
