"""The planner's input: one organization at one moment."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from scheduling.planner.parsing import Fields
from scheduling.planner.policy import Policy
from scheduling.planner.resources import Resources


class ClusterState(StrEnum):
    """An active cluster takes new deployments, a cordoned cluster does not, and a draining cluster
    also loses those that it has.

    The engine of a lost cluster does not respond: the cluster takes no deployments, and those that
    it has stay because they cannot be stopped.
    """

    ACTIVE = "active"
    CORDONED = "cordoned"
    DRAINING = "draining"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Cluster:
    id: int
    capacity: Resources
    state: ClusterState = ClusterState.ACTIVE
    name: str = ""

    @property
    def label(self) -> str:
        """Return its name, or its id if it has none."""
        return self.name or f"cluster {self.id}"


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment that is active, on `cluster` since `placed_at`, or ready, with `cluster` None.

    Times are seconds since the epoch. `queued_at` is its place in the queue, which an eviction does
    not change; `ready_since` is when it last became ready, if that was later. `recent_preemptions`
    counts its evictions within the budget's window. `checkpoint_at` is when it last saved its
    progress in this run. Until `suspended_until` preemption is suspended for it: it takes free
    capacity but evicts nothing. `past_victims` were evicted in vain for it since it was queued, the
    earliest first: it lost that place before its container started. `preempted_in_vain`: other
    deployments were evicted for a run of it that ended without having started. Both cover the
    budget's window, and neither reaches back beyond the last change of its priority or release from
    a hold.
    """

    id: int
    priority: int
    request: Resources
    queued_at: int
    requested_cluster: int | None = None
    cluster: int | None = None
    placed_at: int | None = None
    max_runtime_s: int | None = None
    preemptible: bool = True
    recent_preemptions: int = 0
    checkpoint_at: int | None = None
    ready_since: int | None = None
    suspended_until: int | None = None
    past_victims: tuple[int, ...] = ()
    preempted_in_vain: bool = False

    @property
    def waits_since(self) -> int:
        """Return when its present wait began."""
        return self.queued_at if self.ready_since is None else self.ready_since


@dataclass(frozen=True, slots=True)
class Snapshot:
    now: int
    policy: Policy
    clusters: tuple[Cluster, ...]
    deployments: tuple[Deployment, ...]

    def __post_init__(self) -> None:
        for name, rows in (("clusters", self.clusters), ("deployments", self.deployments)):
            ids = [row.id for row in rows]
            if len(set(ids)) != len(ids):
                twice = next(i for n, i in enumerate(ids) if i in ids[:n])
                raise ValueError(f"{name}: the id {twice} occurs more than once")
        known = {cluster.id for cluster in self.clusters}
        for deployment in self.deployments:
            if deployment.cluster is not None and deployment.cluster not in known:
                raise ValueError(
                    f"deployment {deployment.id}: cluster {deployment.cluster} is not in the"
                    " snapshot"
                )

    def is_suspended(self, d: Deployment) -> bool:
        """Return whether it is ready, with preemption suspended for it."""
        until = d.suspended_until
        return until is not None and until > self.now and d.cluster is None

    @classmethod
    def from_json(cls, document: Any) -> "Snapshot":
        """Build from parsed JSON. Raises ValueError, which names the field that is wrong."""
        root = Fields(document, "snapshot")
        snapshot = cls(
            now=root.integer("now", at_least=None),
            policy=Policy.from_mapping(root.mapping("policy")),
            clusters=tuple(_cluster(row) for row in root.rows("clusters")),
            deployments=tuple(_deployment(row) for row in root.rows("deployments")),
        )
        root.finish()
        return snapshot

    def to_json(self) -> dict[str, Any]:
        return {
            "now": self.now,
            "policy": asdict(self.policy),
            "clusters": [_flat(asdict(cluster), "capacity") for cluster in self.clusters],
            "deployments": [_flat(asdict(row), "request") for row in self.deployments],
        }


def _cluster(row: Fields) -> Cluster:
    cluster = Cluster(
        id=row.integer("id"),
        capacity=_resources(row),
        state=ClusterState(row.choice("state", tuple(ClusterState), ClusterState.ACTIVE)),
        name=row.text("name", ""),
    )
    row.finish()
    return cluster


def _deployment(row: Fields) -> Deployment:
    deployment = Deployment(
        id=row.integer("id"),
        priority=row.integer("priority", at_least=None),
        request=_resources(row),
        queued_at=row.integer("queued_at", at_least=None),
        requested_cluster=row.optional("requested_cluster"),
        cluster=row.optional("cluster"),
        placed_at=row.optional("placed_at", formerly="started_at"),
        max_runtime_s=row.optional("max_runtime_s"),
        preemptible=row.flag("preemptible", True),
        recent_preemptions=row.optional("recent_preemptions", formerly="preemptions") or 0,
        checkpoint_at=row.optional("checkpoint_at"),
        ready_since=row.optional("ready_since"),
        suspended_until=row.optional("suspended_until", formerly="set_aside_until"),
        past_victims=tuple(row.integers("past_victims")),
        preempted_in_vain=row.flag("preempted_in_vain", False),
    )
    row.finish()
    return deployment


def _resources(row: Fields) -> Resources:
    return Resources(row.integer("cpu_milli"), row.integer("ram_mib"), row.integer("gpu"))


def _flat(row: dict[str, Any], vector: str) -> dict[str, Any]:
    """Return the row with the vector's dimensions as fields."""
    return {**row.pop(vector), **row}
