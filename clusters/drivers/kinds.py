"""The kinds of engine. Each is one folder beside this file, and one line in KINDS.

A folder brings all of its own: the driver, the form and the options that connect a cluster to such
an engine, and the `Kind` that describes it. All other code asks a `Kind` for a capability and never
for its name. CONTRIBUTING.md has the recipe for another one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.module_loading import import_string

from clusters.drivers.base import Driver

if TYPE_CHECKING:
    from clusters.drivers.forms import ConnectForm
    from clusters.drivers.options import ConnectOptions
    from clusters.models import Connection

KINDS: dict[str, str] = {
    "simulated": "clusters.drivers.simulated.KIND",
    "docker": "clusters.drivers.docker.KIND",
    "kubernetes": "clusters.drivers.kubernetes.KIND",
}
"""Where each `Kind` is, by the name (at most 20 characters) that is stored with a cluster, shown by
the REST API, and an option of `connect_cluster`."""

UNCONNECTED = "simulated"
"""The kind of a cluster that no operator has connected to an engine: one without a connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """All that the product may ask about a kind of engine.

    `driver`, `form` and `options` are import paths, imported at their first use: the engines'
    client packages and Django's forms use much memory, and most processes need neither. A kind
    without `form` and `options` needs no connection, and its driver is made from an unsaved one.

    - chooses_devices: the engine chooses each container's GPUs. Otherwise an operator names them
      and the reconciler chooses.
    - has_fixed_capacity: a cluster cannot grow beyond what its engine had when last probed.
    - can_watch: `Driver.watch` reports changes. Otherwise no thread waits for any.
    - local_endpoint: returns where an engine of this machine usually listens, "" for nowhere.
    """

    title: str
    driver: str
    form: str = ""
    options: str = ""
    chooses_devices: bool
    has_fixed_capacity: bool
    can_watch: bool
    local_endpoint: Callable[[], str] = lambda: ""

    @property
    def needs_connection(self) -> bool:
        return bool(self.form)

    def make_driver(self, connection: "Connection") -> Driver:
        made: Driver = import_string(self.driver)(connection)
        return made

    def form_class(self) -> "type[ConnectForm]":
        """Return the form of the operators' page. Only where `needs_connection`."""
        found: type[ConnectForm] = import_string(self.form)
        return found

    def make_options(self) -> "ConnectOptions":
        """Return the options of `connect_cluster`. Only where `needs_connection`."""
        made: ConnectOptions = import_string(self.options)()
        return made


def kind_of(driver: str) -> Kind:
    """Return the kind of that name. Raises KeyError when there is none."""
    found: Kind = import_string(KINDS[driver])
    return found


def connectable() -> dict[str, Kind]:
    """Return by name the kinds that a cluster can be connected to."""
    kinds = {name: kind_of(name) for name in KINDS}
    return {name: kind for name, kind in kinds.items() if kind.needs_connection}


def choices() -> list[tuple[str, str]]:
    """Return names and titles for a field of a model.

    The field's migration names this function, so that another kind makes no migration.
    """
    return [(name, kind_of(name).title) for name in KINDS]
