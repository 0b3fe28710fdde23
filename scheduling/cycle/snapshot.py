"""Read the planner's input with a number of queries that does not depend on its size."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.conf import settings
from django.utils import timezone

from clusters import models as supply
from deployments.runtime.lost_contact import is_without_contact
from orgs.models import Organization
from scheduling.cycle import working_copy
from scheduling.cycle.array_limits import Limits, limits
from scheduling.cycle.competing import competing
from scheduling.cycle.past import past
from scheduling.cycle.working_copy import UNLIMITED, Known, Reading, seconds
from scheduling.planner.resources import NOTHING, Resources
from scheduling.planner.shortlist import Step
from scheduling.planner.snapshot import Cluster, ClusterState, Node, Snapshot

_NODE = (
    "cluster", "pk", "name", "labels", "state", "can_limit_storage", "cpu_milli", "ram_mib", "gpu",
)  # fmt: skip
_ENGINE = "lost_contact_at", "unclaimed", "unknown_containers"
"""The columns of a connection that say whether its engine is out of use."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """An organization's snapshot, its time, and what is known of its deployments, by id.

    Not all of these are in the snapshot: some are in back-off. `read` are those whose rows were
    read for it: what is known of the others is unchanged since this process loaded them. While
    nothing changes, `known` is the same object. `own` are the deployments that the transaction has
    changed itself, `limited` those that concern the limits of arrays. `limits` says which ready
    deployments do not compete because of these. `is_tried` is true if a change was tried for it
    and rolled back. `step` led to the snapshot's deployments, if that is known.
    """

    organization: int
    snapshot: Snapshot
    now: datetime
    known: Mapping[int, Known]
    read: Collection[int]
    own: Collection[int]
    limited: Collection[int]
    limits: Limits
    is_tried: bool = False
    step: Step | None = None

    @property
    def is_lasting(self) -> bool:
        """Whether what it contains can outlast the transaction in which it was loaded."""
        return not (self.own or self.is_tried)

    def with_change(self, tried: "Loaded") -> "Loaded":
        """Return this with the change of a transaction in which the other was loaded.

        What other transactions have changed in between counts as it is here, except on clusters.
        """
        known = dict(self.known)
        for pk in tried.own:
            if pk in tried.known:
                known[pk] = tried.known[pk]
            else:
                known.pop(pk, None)
        if not self.known.keys() >= set(tried.own) & known.keys():
            known = dict(sorted(known.items()))
        clusters, limited = tried.snapshot.clusters, {*self.limited, *tried.own} & known.keys()
        limits_now = _limits(known, limited, self.now)
        reading = Reading(known, (), tried.own, self.known, tried.own, limited)
        deployments, step = competing(
            self.organization, reading, clusters, limits_now, self.now, is_tried=True
        )
        snapshot = replace(
            self.snapshot, clusters=clusters, deployments=deployments, is_checked=True
        )
        return replace(
            self, snapshot=snapshot, known=known, limited=limited, limits=limits_now,
            is_tried=True, step=step,
        )  # fmt: skip


def load(
    organization_id: int, *, lock: bool, clock: Callable[[], datetime] = timezone.now
) -> Loaded:
    """Return the organization's clusters and its active and ready deployments.

    With `lock`, the organization cannot be deleted until the transaction ends, and its cluster rows
    are locked in the order of their ids, so that no other transaction allocates capacity. The clock
    is read after that, because the rows may have changed while the caller waited for a lock.
    """
    return _read([organization_id], lock, clock)[organization_id]


def load_many(organization_ids: Sequence[int], *, now: datetime) -> dict[int, Loaded]:
    """Return the organizations' snapshots by id, without locks, with as many queries as for one."""
    return _read(organization_ids, False, lambda: now)


def _read(
    organization_ids: Sequence[int], lock: bool, clock: Callable[[], datetime]
) -> dict[int, Loaded]:
    clusters = supply.Cluster.objects.filter(organization__in=organization_ids).order_by("pk")
    if lock:
        Organization.objects.protect(organization_ids)
        clusters = clusters.locked()
    rows = list(clusters.values_list("organization", "pk", "name", "state"))
    nodes, engines = _nodes(organization_ids), _engines(organization_ids)
    now = clock()
    lost = {pk for pk, engine in engines.items() if is_without_contact(engine, now)}
    supplies: dict[int, list[Cluster]] = {pk: [] for pk in organization_ids}
    for organization, pk, name, state in rows:
        state = ClusterState.LOST if pk in lost else ClusterState(state)
        supplies[organization].append(_cluster(pk, name, state, nodes.get(pk, ())))
    readings = working_copy.read(organization_ids, past(organization_ids, now))
    return {pk: _loaded(pk, now, supplies[pk], readings[pk]) for pk in organization_ids}


def _loaded(organization: int, now: datetime, clusters: list[Cluster], reading: Reading) -> Loaded:
    limits_now = _limits(reading.known, reading.limited, now)
    deployments, step = competing(organization, reading, clusters, limits_now, now)
    snapshot = Snapshot(
        now=seconds(now),
        policy=settings.SCHEDULER_POLICY,
        clusters=tuple(clusters),
        deployments=deployments,
        is_checked=True,  # ids are keys of the database, and `competing` looks at the places
    )
    return Loaded(
        organization, snapshot, now, reading.known, reading.read, reading.own, reading.limited,
        limits_now, step=step,
    )  # fmt: skip


def _limits(known: Mapping[int, Known], limited: Collection[int], now: datetime) -> Limits:
    return limits([known[pk] for pk in limited], now)


def _engines(organization_ids: Sequence[int]) -> dict[int, supply.Connection]:
    """Return the connection of each cluster that has one engine for all its nodes."""
    rows = supply.Connection.objects.filter(cluster__organization__in=organization_ids, node=None)
    return {row.cluster_id: row for row in rows.only("cluster", *_ENGINE)}


def _nodes(organization_ids: Sequence[int]) -> dict[int, list[Node]]:
    """Return the nodes of each cluster."""
    # Values, because hundreds of objects of models take longer than the plan.
    rows = supply.Node.objects.filter(cluster__organization__in=organization_ids).order_by("pk")
    found: dict[int, list[Node]] = defaultdict(list)
    for cluster, pk, name, labels, state, can_limit_storage, *amounts in rows.values_list(*_NODE):
        found[cluster].append(
            Node(
                id=pk,
                capacity=Resources(*amounts),
                name=name,
                labels=labels if can_limit_storage else labels | UNLIMITED,
                state=ClusterState(state),
            )
        )
    return found


def _cluster(pk: int, name: str, state: ClusterState, nodes: Sequence[Node]) -> Cluster:
    return Cluster(
        id=pk,
        capacity=sum((node.capacity for node in nodes), NOTHING),
        state=state,
        name=name,
        nodes=tuple(nodes),
    )
