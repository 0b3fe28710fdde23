from collections.abc import Mapping
from typing import Any

from clusters.connections import Route
from clusters.drivers.options import ConnectOptions, Group, given, text
from clusters.models import Connection


class DockerOptions(ConnectOptions):
    def add(self, flag: str, choice: Group, own: Group) -> None:
        choice.add_argument(
            flag, metavar="ENDPOINT", help="unix:///var/run/docker.sock or tcp://host:2376"
        )
        for name, what in (("ca", "authority"), ("cert", "client's certificate"), ("key", "key")):
            own.add_argument(
                f"--tls-{name}", type=text, metavar="FILE", help=f"PEM text of the {what}"
            )
        own.add_argument(
            "--network",
            choices=Connection.Network.values,
            help="network of each container: the internet only (default), or none",
        )
        own.add_argument(
            "--gpu-device", action="append", metavar="ID",
            help="id or UUID of a GPU as nvidia-smi -L prints it; repeat it for each GPU. If it is"
            " omitted, a cluster that is already connected keeps its GPUs",
        )  # fmt: skip

    def route(self, driver: str, options: Mapping[str, Any], known: Connection | None) -> Route:
        network = known.network if known else Connection.Network.ISOLATED
        return Route(
            driver=driver,
            endpoint=options[driver],
            network=options["network"] or network,
            devices=tuple(options["gpu_device"] or (known.devices if known else ())),
            credentials=given({name: options[f"tls_{name}"] for name in ("ca", "cert", "key")}),
        )
