from collections.abc import Mapping
from typing import Any

from clusters.connections import Route
from clusters.drivers.options import ConnectOptions, Group
from clusters.models import Connection
from tests.support.simulated_slow.driver import endpoint


class SlowOptions(ConnectOptions):
    def add(self, flag: str, choice: Group, own: Group) -> None:
        choice.add_argument(flag, action="store_true", help="a slow simulated engine")
        own.add_argument("--fetch-seconds", type=int, metavar="N", help="for each image")

    def route(self, driver: str, options: Mapping[str, Any], known: Connection | None) -> Route:
        wanted = options["fetch_seconds"]
        if wanted is None and known:
            return Route(driver=driver, endpoint=known.endpoint)
        return Route(driver=driver, endpoint=endpoint(wanted or 0))
