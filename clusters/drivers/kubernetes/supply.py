"""What a Kubernetes cluster offers: its nodes, less what foreign Pods use."""

from collections.abc import Callable
from functools import partial

from clusters.drivers.base import NodeReport
from clusters.drivers.kubernetes import capacity
from clusters.drivers.kubernetes.api import Api, Json
from clusters.drivers.kubernetes.errors import unless_forbidden
from clusters.drivers.kubernetes.following import Followed
from clusters.drivers.kubernetes.nodes import LABELS, Machine, Use, reports
from clusters.drivers.kubernetes.selector import NodeSelector
from clusters.drivers.kubernetes.taints import Toleration
from clusters.labels import wrong_key
from clusters.models import Connection

ONLY_OWN_PODS = (
    "The service account may not list the Pods of all namespaces, so it is unknown what other Pods"
    " use: a node may refuse a Pod after deployments were evicted for it. Grant the ClusterRole in"
    " docs/operating.md."
)

_NODES_UNKNOWN = (
    "The service account may not `list` `nodes` any more, so the nodes are kept as they were last"
    " reported, and changes in Kubernetes go unnoticed. Grant the ClusterRole in docs/operating.md."
)

_UNWATCHED = (
    "The service account may not `watch` {what}, so changes are noticed only at the periodic"
    " reconciliations. Grant the ClusterRole in docs/operating.md."
)


class Supply:
    """The nodes and the Pods of all namespaces, followed by threads while `keep_up` is called.

    Without the right to list the Pods of all namespaces, only those of the connection's namespace
    count as foreign.
    """

    def __init__(self, api: Api, connection: Connection, on_news: Callable[[], None]) -> None:
        self._api = api
        self._namespace = connection.namespace
        self._read_use = partial(Use.read, connection=connection.uid)
        tolerations = [Toleration.read(text) for text in connection.tolerations]
        names = LABELS | label_names(connection)
        selector = NodeSelector.read(connection.node_selector)

        def read(node: Json) -> Machine:
            return Machine.read(node, names, tolerations, selector)

        self._machines = Followed(api.list_nodes, api.watch_nodes, read, on_news)
        self._uses = Followed(api.list_all_pods, api.watch_all_pods, self._read_use, on_news)

    def nodes(self) -> list[NodeReport] | None:
        """Return the nodes; None if the service account may not list them."""
        machines = self._machines.present()
        if machines is None:
            return None
        uses = self._uses.present()
        if uses is None:
            read = map(self._read_use, self._api.list_own_namespace()[0])
            uses = [use for use in read if use]
        quota = capacity.bounded(unless_forbidden(self._api.quotas))
        return reports(machines, uses, quota, self._namespace)

    def warnings(self) -> list[str]:
        """Return which rights were missing when the nodes were last read, and what that costs."""
        if "list" in self._machines.denied:
            return [_NODES_UNKNOWN]
        found = [ONLY_OWN_PODS] if "list" in self._uses.denied else []
        denied = {
            "`nodes`": self._machines.denied,
            "the `pods` of all namespaces": self._uses.denied,
        }
        unwatched = [name for name, rights in denied.items() if rights == {"watch"}]
        return found + [_UNWATCHED.format(what=name) for name in unwatched]

    def keep_up(self) -> None:
        """Have changes reported to `on_news` from now on, for a few minutes."""
        self._machines.keep_up()
        self._uses.keep_up()


def label_names(connection: Connection) -> dict[str, str]:
    """Return the labels to take over from Nodes, as the operator listed them, by Kubernetes' name.

    An entry is a label's name in Kubernetes, or that, `=` and its name as a label of a node. Raises
    ValueError for a name that no label can have.
    """
    pairs = (text.partition("=") for text in connection.node_labels)
    names = {name: own or name for name, _, own in pairs}
    for own in names.values():
        if wrong := wrong_key(own):
            raise ValueError(f"Labels of Nodes: {wrong}")
    return names
