"""The network of a connection's containers: a way out to the internet, none to each other."""

from uuid import UUID

from docker import APIClient
from docker.errors import APIError, NotFound

from clusters.drivers.docker.labels import CONNECTION, network_name
from clusters.models import Connection

NO_NETWORK = "none"
_CONFLICT = 409


def mode_of(engine: APIClient, connection: Connection) -> str:
    """Return the network mode of a container; make the connection's network where there is none."""
    if connection.network == Connection.Network.NONE:
        return NO_NETWORK
    name = network_name(connection.uid)
    try:
        engine.inspect_network(name)
    except NotFound:
        _create(engine, name, connection.uid)
    return name


def _create(engine: APIClient, name: str, uid: UUID) -> None:
    try:
        engine.create_network(
            name,
            driver="bridge",
            check_duplicate=True,
            labels={CONNECTION: str(uid)},
            # One bridge for all, as an engine has room for some thirty: packets between its
            # containers are dropped, which makes it a network of its own for each.
            options={"com.docker.network.bridge.enable_icc": "false"},
        )
    except APIError as error:
        if error.response is None or error.response.status_code != _CONFLICT:
            raise
