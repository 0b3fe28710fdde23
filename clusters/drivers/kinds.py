"""The kinds of engine. Each is one folder next to this file and one line in KINDS.

A folder contains everything of its kind: the driver, the form and the options that connect a
cluster to such an engine, and the `Kind` that describes it. All other code checks a capability of
the `Kind`, never its name. CONTRIBUTING.md describes how to add a kind.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.utils.module_loading import import_string

from clusters.drivers.base import Driver
from clusters.drivers.digests import Digest

if TYPE_CHECKING:
    from clusters.drivers.forms import ConnectForm
    from clusters.drivers.options import ConnectOptions
    from clusters.models import Connection

KINDS: dict[str, str] = {
    "simulated": "clusters.drivers.simulated.KIND",
    "docker": "clusters.drivers.docker.KIND",
    "kubernetes": "clusters.drivers.kubernetes.KIND",
}
"""The import path of each `Kind` by its name, which has at most 20 characters. The name is stored
with a cluster, returned by the REST API, and is an option of `connect_cluster`."""

UNCONNECTED = "simulated"
"""The kind of clusters that no operator has connected to an engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """The description of a kind of engine, with its capabilities.

    `driver`, `form` and `options` are import paths, imported at their first use, because the
    engines' client packages and Django's forms need much memory and most processes need neither. A
    kind without `form` and `options` needs no connection; its driver gets an unsaved one.

    - chooses_devices: the engine chooses each container's GPUs. Otherwise an operator lists them
      and the reconciler chooses.
    - has_fixed_capacity: a cluster cannot grow beyond what its engine had when last probed.
    - has_several_nodes: a cluster may have any number of nodes. Otherwise it has exactly one.
    - has_engine_per_node: an engine is one machine, so that each node is connected to its own.
      Otherwise one engine runs the containers of all nodes.
    - reports_nodes: `Driver.nodes` may report the engine's nodes; they are then the cluster's.
    - has_namespaces: several clusters may use one engine, each in a namespace of its own and with
      other nodes.
    - can_watch: `Driver.watch` reports changes. Otherwise no thread is started for it.
    - digests: the import path of a function that returns the `Digest` of the engine of each cluster
      that has containers, by the cluster's id, in one statement; "" if each engine has to be asked.
    - local_endpoint: returns the usual endpoint of an engine on this machine, "" if there is none.
    """

    title: str
    driver: str
    form: str = ""
    options: str = ""
    chooses_devices: bool
    has_fixed_capacity: bool
    has_several_nodes: bool = False
    has_engine_per_node: bool = False
    reports_nodes: bool = False
    has_namespaces: bool = False
    can_watch: bool
    digests: str = ""
    local_endpoint: Callable[[], str] = lambda: ""

    @property
    def needs_connection(self) -> bool:
        return bool(self.form)

    def make_driver(self, connection: "Connection") -> Driver:
        made: Driver = import_string(self.driver)(connection)
        return made

    def read_digests(self, now: datetime) -> dict[int, Digest]:
        """Return the digests of all engines of this kind. Only with `digests`."""
        found: dict[int, Digest] = import_string(self.digests)(now)
        return found

    def form_class(self) -> "type[ConnectForm]":
        """Return the form for the operators' page. Only if `needs_connection`."""
        found: type[ConnectForm] = import_string(self.form)
        return found

    def make_options(self) -> "ConnectOptions":
        """Return the options of `connect_cluster`. Only if `needs_connection`."""
        made: ConnectOptions = import_string(self.options)()
        return made


def kind_of(driver: str) -> Kind:
    """Return the kind of that name. Raises KeyError if there is none."""
    found: Kind = import_string(KINDS[driver])
    return found


def connectable() -> dict[str, Kind]:
    """Return the kinds that a cluster can be connected to, by name."""
    kinds = {name: kind_of(name) for name in KINDS}
    return {name: kind for name, kind in kinds.items() if kind.needs_connection}


def choices() -> list[tuple[str, str]]:
    """Return names and titles for a field of a model.

    The field's migration refers to this function, so that a new kind needs no migration.
    """
    return [(name, kind_of(name).title) for name in KINDS]
