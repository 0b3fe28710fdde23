"""Supply: clusters, their nodes and connections, and the simulated engine's containers."""

import json
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Prefetch, Q
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from django.utils import timezone

from accounts.audit.triggers import trail
from clusters.demand import demand
from clusters.drivers.kinds import UNCONNECTED, Kind, choices, kind_of
from clusters.labels import MAX_NAME
from clusters.resources import ResourceColumns
from clusters.triggers import ENGINES_OF_NODES, FOR_STATEMENTS_WITHOUT_NODES
from clusters.wakeups import RECONCILE, RECONCILE_ENGINE, Wakeup
from hypervisor.base.locks import LockingQuerySet
from hypervisor.base.names import NameField
from hypervisor.base.secrets import decrypt, encrypt
from orgs.models import Organization
from orgs.tenancy import TenantQuerySet

DIMENSIONS = ("cpu_milli", "ram_mib", "gpu")


def _allocated() -> dict[str, Combinable]:
    """Return the annotations `allocated_cpu_milli` and so on, of clusters and of nodes."""
    return {f"allocated_{name}": amount for name, amount in demand().allocated().items()}


class ClusterQuerySet(TenantQuerySet["Cluster"]):
    def with_allocated(self) -> "ClusterQuerySet":
        """Annotate allocated_cpu_milli, allocated_ram_mib and allocated_gpu.

        They are summed over the active deployments at each read, because a counter could drift.
        """
        # The model's ordering does not apply to a query with sums.
        return self.annotate(**_allocated()).order_by("pk")

    def with_nodes(self) -> "ClusterQuerySet":
        """Read the nodes with what is allocated on each, in one more query."""
        return self.prefetch_related(Prefetch("nodes", Node.objects.with_allocated()))


class Cluster(ResourceColumns):
    """Nodes on which one engine, or one for each node, runs containers.

    Its capacity is the sum over the nodes.
    """

    class State(models.TextChoices):
        ACTIVE = "active"
        CORDONED = "cordoned"
        DRAINING = "draining"

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="clusters"
    )
    name = NameField(max_length=100)
    state = models.CharField(max_length=10, choices=State.choices, default=State.ACTIVE)
    driver = models.CharField(max_length=20, choices=choices, default=UNCONNECTED)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ClusterQuerySet.as_manager()

    if TYPE_CHECKING:
        # Annotated by with_allocated().
        allocated_cpu_milli: int
        allocated_ram_mib: int
        allocated_gpu: int

    class Meta:
        ordering = ["id"]
        permissions = [
            ("steer_cluster", "Can cordon, uncordon and drain clusters"),
            ("resize_cluster", "Can change the capacity of clusters"),
            ("connect_cluster", "Can connect clusters to engines, and disconnect them"),
        ]
        triggers = [
            *trail("organization_id", "name", "state", "driver", *DIMENSIONS),
            *FOR_STATEMENTS_WITHOUT_NODES,
        ]
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="cluster_name_unique"),
            models.CheckConstraint(
                condition=Q(state__in=["active", "cordoned", "draining"]), name="cluster_state"
            ),
            models.CheckConstraint(
                condition=Q(cpu_milli__gte=1, ram_mib__gte=1, gpu__gte=0), name="cluster_capacity"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def kind(self) -> Kind:
        """The kind of the cluster's engine, with its capabilities."""
        return kind_of(self.driver)

    @property
    def takes_deployments(self) -> bool:
        return self.state == self.State.ACTIVE

    @property
    def reports_nodes(self) -> bool:
        """Whether the cluster's nodes are those that its engine reports."""
        connection = self.connection_of(None)
        return connection is not None and connection.reports_nodes

    def connection_of(self, node_id: int | None) -> "Connection | None":
        """Return the connection to the engine that runs the containers of this node.

        With None, the connection to an engine of all nodes. The cluster's `connections` should be
        prefetched.
        """
        connections = self.connections.all()
        return next((c for c in connections if c.node_id in (None, node_id)), None)

    @property
    def lost_contact_at(self) -> datetime | None:
        """Since when one of its engines has not answered, None while all answer."""
        times = [c.lost_contact_at for c in self.connections.all() if c.lost_contact_at]
        return min(times, default=None)


class NodeQuerySet(TenantQuerySet["Node"]):
    organization_path = "cluster__organization_id"

    def with_allocated(self) -> "NodeQuerySet":
        """Annotate the same sums as for clusters, over the active deployments of each node."""
        # The model's ordering does not apply to a query with sums.
        return self.annotate(**_allocated()).order_by("pk")

    def taking_deployments(self) -> "NodeQuerySet":
        """Return the nodes that are active, of active clusters."""
        return self.filter(state=Node.State.ACTIVE, cluster__state=Cluster.State.ACTIVE)

    def of_each_shape(self) -> "NodeQuerySet":
        """Return one node, with its cluster, of those that are alike: of the same cluster, with the
        same capacity and labels, and as able to limit storage.
        """
        alike = ("cluster_id", *DIMENSIONS, "labels", "can_limit_storage")
        return self.select_related("cluster").order_by(*alike, "pk").distinct(*alike)


class Node(ResourceColumns):
    """One machine of a cluster.

    It is as available as its own state and the state of its cluster allow.

    - labels: texts by name, which deployments may require.
    - state: follows from `chosen_state`, which people choose, and `engine_state`, which the engine
      reports.
    - engine_message: why the engine keeps deployments off the node, "" if it does not.
    - refused_until: until when a refusal of a container that should have fitted counts. Until then
      the node has at most `limits`, amounts by dimension, or takes no deployment if there are none.
    - foreign: by dimension, what the engine has given to others; not part of the capacity.
    - can_limit_storage: false if its engine cannot enforce a limit of ephemeral storage.
    """

    class State(models.TextChoices):
        ACTIVE = "active"
        CORDONED = "cordoned"
        DRAINING = "draining"
        LOST = "lost"

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="nodes")
    name = models.CharField(max_length=MAX_NAME)
    labels = models.JSONField(default=dict, db_default={}, blank=True)
    state = models.CharField(
        max_length=10, choices=State.choices, default=State.ACTIVE, db_default=State.ACTIVE
    )
    chosen_state = models.CharField(
        max_length=10, default=State.ACTIVE, db_default=State.ACTIVE, editable=False
    )
    engine_state = models.CharField(
        max_length=10, default=State.ACTIVE, db_default=State.ACTIVE, editable=False
    )
    engine_message = models.TextField(blank=True, default="", db_default="", editable=False)
    refused_until = models.DateTimeField(null=True, editable=False)
    limits = models.JSONField(default=dict, db_default={}, editable=False)
    foreign = models.JSONField(default=dict, db_default={}, editable=False)
    can_limit_storage = models.BooleanField(default=True, db_default=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, db_default=Now())

    objects = NodeQuerySet.as_manager()

    if TYPE_CHECKING:
        cluster_id: int
        # Annotated by with_allocated().
        allocated_cpu_milli: int
        allocated_ram_mib: int
        allocated_gpu: int

    class Meta:
        ordering = ["id"]
        # What others use changes all the time, and no person changes it.
        triggers = trail(
            "cluster_id", "name", "labels", "state", *DIMENSIONS,
            unless='OLD."foreign" IS DISTINCT FROM NEW."foreign"',
        )  # fmt: skip
        constraints = [
            models.UniqueConstraint(fields=["cluster", "name"], name="node_name_unique"),
            models.CheckConstraint(
                condition=Q(state__in=["active", "cordoned", "draining", "lost"]), name="node_state"
            ),
            models.CheckConstraint(
                condition=Q(cpu_milli__gte=1, ram_mib__gte=1, gpu__gte=0), name="node_capacity"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def organization_id(self) -> int:
        return self.cluster.organization_id

    def settle(self) -> None:
        """Set the state that follows from the choice of people and from the engine."""
        states = {self.chosen_state, self.engine_state}
        order = (self.State.LOST, self.State.DRAINING, self.State.CORDONED)
        self.state = next((state for state in order if state in states), self.State.ACTIVE)

    @property
    def lost_contact_at(self) -> datetime | None:
        """Since when its engine has not answered, None while it answers."""
        connection = self.cluster.connection_of(self.pk)
        return connection.lost_contact_at if connection else None


class ConnectionQuerySet(LockingQuerySet["Connection"]):
    pass


class Connection(models.Model):
    """How an engine is reached; only the platform's operators create one.

    A cluster has either one connection to an engine of all its nodes, or any number of connections
    to engines of one node each.

    - node: the node whose containers the engine runs, None if it runs those of all nodes.
    - uid: marks this connection's containers. Other containers on the engine are ignored.
    - credentials: encrypted.
    - engine_id: the engine's own id. Several clusters may use one engine only if it has namespaces,
      each in its own namespace and with other nodes (see `sharing`).
    - devices: the ids of the engine's GPUs, if the reconciler chooses among them.
    - cpu_milli, ram_mib, gpu: what the engine had when it was last probed (millicores, MiB).
    - lost_contact_at: since when the engine has not answered, None while it answers.
    - unknown_containers: this connection's containers that have no row in this database.
    - marker, next_marker: the marker on the engine, and its successor, which may already be there
      (see `ownership`).
    - node_labels, tolerations: which labels of the engine's nodes are taken over, and which taints
      do not keep containers off them, as its kind writes both.
    - node_selector: which of the engine's nodes are used, as its kind writes it; all without any.
    - reports_nodes: the cluster's nodes are those that the engine reports.
    - warnings: why the engine's reports of its nodes may be incomplete or old.
    - unclaimed: the engine was found to belong to another copy of this installation.
    """

    class Network(models.TextChoices):
        ISOLATED = "isolated", "Isolated: the internet, but no other container"
        NONE = "none", "None: no network at all"

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="connections")
    node = models.OneToOneField(
        Node, on_delete=models.CASCADE, null=True, related_name="connection", editable=False
    )
    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    endpoint = models.CharField(max_length=500)
    namespace = models.CharField(max_length=63, blank=True, default="")
    network = models.CharField(
        max_length=10,
        choices=Network.choices,
        default=Network.ISOLATED,
        help_text="Where it can be chosen.",
    )
    credentials = models.BinaryField(default=bytes, blank=True, editable=False)
    engine_id = models.CharField(max_length=200)
    version = models.CharField(max_length=100, blank=True, default="")
    devices = models.JSONField(default=list, blank=True)
    cpu_milli = models.PositiveBigIntegerField(default=0)
    ram_mib = models.PositiveBigIntegerField(default=0)
    gpu = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    probed_at = models.DateTimeField()
    node_labels = models.JSONField(default=list, db_default=[], blank=True)
    tolerations = models.JSONField(default=list, db_default=[], blank=True)
    node_selector = models.JSONField(default=list, db_default=[], blank=True)
    reports_nodes = models.BooleanField(default=False, db_default=False, editable=False)
    warnings = models.JSONField(default=list, db_default=[], blank=True, editable=False)
    lost_contact_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True, default="")
    unknown_containers = models.JSONField(default=list, db_default=[], blank=True, editable=False)
    marker = models.UUIDField(null=True, editable=False)
    next_marker = models.UUIDField(null=True, editable=False)
    marked_at = models.DateTimeField(null=True, editable=False)
    marker_database = models.CharField(
        max_length=50, blank=True, default="", db_default="", editable=False
    )
    unclaimed = models.BooleanField(default=False, db_default=False, editable=False)

    objects = ConnectionQuerySet.as_manager()

    if TYPE_CHECKING:
        cluster_id: int
        node_id: int | None

    class Meta:
        ordering = ["id"]
        triggers = [
            *trail(
                "cluster_id", "node_id", "endpoint", "namespace", "network", "engine_id",
                "node_labels", "tolerations", "node_selector",
                secrets=("credentials",), called="",
            ),
            ENGINES_OF_NODES,
        ]  # fmt: skip
        constraints = [
            models.UniqueConstraint(
                fields=["cluster"], condition=Q(node=None), name="connection_of_all_nodes_unique"
            ),
            models.UniqueConstraint(
                fields=["engine_id", "namespace"], name="connection_engine_id_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"connection of {self.node or self.cluster}"

    @property
    def wakeup(self) -> Wakeup:
        """The request for a reconcile of this engine."""
        return (RECONCILE_ENGINE, self.pk) if self.node_id else (RECONCILE, self.cluster_id)

    @property
    def is_blocked(self) -> bool:
        """Whether nothing may start there, because unrecorded containers may be running."""
        return self.unclaimed or any(c["runs"] for c in self.unknown_containers)

    def open_credentials(self) -> dict[str, str]:
        """Return the decrypted credentials; only for a driver. Raises CannotDecrypt."""
        sealed = bytes(self.credentials)
        return dict(json.loads(decrypt(sealed))) if sealed else {}

    def seal_credentials(self, credentials: Mapping[str, str]) -> None:
        self.credentials = encrypt(json.dumps(dict(credentials))) if credentials else b""


class SimulatedContainer(models.Model):
    """A container of the simulated engine, whose only state these rows are.

    `uid` is null if a release before container uids created it.
    """

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="+")
    uid = models.UUIDField(null=True, unique=True, editable=False)
    run_id = models.BigIntegerField(db_index=True)
    started_at = models.DateTimeField()
    exits_at = models.DateTimeField(null=True, blank=True)
    exit_code = models.IntegerField(default=0)
    stop_seconds = models.PositiveIntegerField(default=0)
    cause = models.CharField(max_length=30, blank=True, default="", db_default="")
    output = models.TextField(blank=True, default="", db_default="")

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"container of run {self.run_id}"
