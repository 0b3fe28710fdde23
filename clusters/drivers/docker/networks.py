"""The network of a connection's containers, which reach the internet but not each other."""

from uuid import UUID

from docker import APIClient
from docker.errors import APIError, NotFound

from clusters.drivers.docker.labels import CONNECTION, network_name
from clusters.models import Connection

NO_NETWORK = "none"
_CONFLICT = 409


def mode_of(engine: APIClient, connection: Connection) -> str:
    """Return the network mode of a container; create the connection's network if necessary."""
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
            # One bridge for all containers, because an engine supports only about thirty. It drops
            # packets between its containers, so that they are isolated from each other.
            options={"com.docker.network.bridge.enable_icc": "false"},
        )
    except APIError as error:
        if error.response is None or error.response.status_code != _CONFLICT:
            raise
