from collections.abc import Mapping
from typing import Any

from clusters.connections import Route
from clusters.drivers.options import ConnectOptions, Group, given, text
from clusters.models import Connection
from hypervisor.base.errors import Invalid


class KubernetesOptions(ConnectOptions):
    def add(self, flag: str, choice: Group, own: Group) -> None:
        choice.add_argument(flag, action="store_true", help="a Kubernetes cluster")
        own.add_argument("--namespace", default="", help="the namespace in which its Pods run")
        own.add_argument(
            "--kubeconfig", type=text, metavar="FILE", help="a kubeconfig; - for standard input"
        )
        own.add_argument("--server", default="", help="https://host:6443, with --token")
        own.add_argument(
            "--token", type=text, metavar="FILE", help="the token of a service account"
        )
        own.add_argument(
            "--ca", type=text, metavar="FILE", help="PEM text of the server's authority"
        )

    def route(self, driver: str, options: Mapping[str, Any], known: Connection | None) -> Route:
        namespace = options["namespace"] or (known.namespace if known else "")
        if not namespace:
            raise Invalid("--kubernetes needs --namespace, the namespace in which its Pods run.")
        return Route(
            driver=driver,
            endpoint=options["server"],
            namespace=namespace,
            credentials=given({name: options[name] for name in ("kubeconfig", "token", "ca")}),
        )
