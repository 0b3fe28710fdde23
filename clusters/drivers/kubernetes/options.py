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
        own.add_argument(
            "--node-selector", action="append", metavar="KEY=VALUE[,KEY=VALUE]",
            help="labels of the Nodes to use; repeat it for more. If it is omitted, a cluster that"
            " is already connected keeps its selector; '' uses all Nodes",
        )  # fmt: skip
        own.add_argument(
            "--node-label", action="append", metavar="NAME[=OWN]",
            help="label of the Nodes to take over, by its own name or another; repeat it for each"
            " label. If it is omitted, a cluster that is already connected keeps its labels",
        )  # fmt: skip
        own.add_argument(
            "--toleration", action="append", metavar="KEY[=VALUE][:EFFECT]",
            help="taint in spite of which a Node is used; repeat it for each taint. If it is"
            " omitted, a cluster that is already connected keeps its tolerations",
        )  # fmt: skip

    def route(self, driver: str, options: Mapping[str, Any], known: Connection | None) -> Route:
        namespace = options["namespace"] or (known.namespace if known else "")
        if not namespace:
            raise Invalid("--kubernetes needs --namespace, the namespace in which its Pods run.")
        return Route(
            driver=driver,
            endpoint=options["server"],
            namespace=namespace,
            node_selector=_selector(options["node_selector"], known),
            node_labels=tuple(options["node_label"] or (known.node_labels if known else ())),
            tolerations=tuple(options["toleration"] or (known.tolerations if known else ())),
            credentials=given({name: options[name] for name in ("kubeconfig", "token", "ca")}),
        )


def _selector(given: list[str] | None, known: Connection | None) -> tuple[str, ...]:
    if given is None:
        return tuple(known.node_selector) if known else ()
    return tuple(part for text in given for part in text.split(",") if part)
