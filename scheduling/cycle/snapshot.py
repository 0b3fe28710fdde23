"""Read the planner's input with a number of queries that does not depend on its size."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, F, Max, Q, QuerySet
from django.utils import timezone

from clusters import models as supply
from deployments import models as demand
from deployments.runtime.lost_contact import is_without_contact
from orgs.models import Event, Organization
from scheduling.planner.requirements import preferences, requirements
from scheduling.planner.resources import NOTHING, Resources
from scheduling.planner.snapshot import Cluster, ClusterState, Deployment, Node, Snapshot

_COLUMNS = (
    "pk", "revision", "priority", "cpu_milli", "ram_mib", "gpu", "queued_at", "requested_cluster",
    "cluster", "node", "require", "prefer", "placed_at", "max_runtime_s", "preemptible",
    "checkpoint_at", "ready_after", "suspended_until", "status_code", "organization",
    "ephemeral_storage_mib",
)  # fmt: skip

_CLUSTER = _COLUMNS.index("cluster")
_NODE = _COLUMNS.index("node")
_ORGANIZATION = _COLUMNS.index("organization")


_UNLIMITED = {"ephemeral-storage": "unlimited"}
_LIMITED = {"ephemeral-storage": {"not": ["unlimited"]}}
"""The planner knows only labels, so a node whose engine cannot limit storage has one, which
deployments with a limit avoid."""


@dataclass(frozen=True, slots=True)
class _InVain:
    """An eviction at a time whose preemptor lost the place before its container started.

    `ended`: the preemptor failed or was stopped; otherwise it was queued again.
    """

    at: datetime
    victim: int
    ended: bool


@dataclass(frozen=True, slots=True)
class _Past:
    """The evictions within the budget's window.

    `evictions` has the number and the last time for each victim, `in_vain` the evictions in vain
    for each pending preemptor, the earliest first.
    """

    evictions: Mapping[int, tuple[int, datetime]]
    in_vain: Mapping[int, list[_InVain]]

    def victims_since(self, preemptor: int, queued_at: datetime) -> tuple[int, ...]:
        evictions = [e for e in self.in_vain.get(preemptor, ()) if e.at >= queued_at]
        return tuple(dict.fromkeys([e.victim for e in evictions]))

    def ended_in_vain(self, preemptor: int) -> bool:
        return any(e.ended for e in self.in_vain.get(preemptor, ()))


@dataclass(frozen=True, slots=True)
class Loaded:
    """A snapshot, its time, and the revision of each of its deployments by id."""

    snapshot: Snapshot
    now: datetime
    revisions: dict[int, int]


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
    supplies: dict[int, list[Cluster]] = {pk: [] for pk in organization_ids}
    rows_of_clusters = list(clusters.prefetch_related("connections", "nodes"))
    now = clock()
    for row in rows_of_clusters:
        supplies[row.organization_id].append(_cluster(row, now))
    homes = {row.pk: [node.pk for node in row.nodes.all()] for row in rows_of_clusters}
    demands: dict[int, list[tuple[Any, ...]]] = {pk: [] for pk in organization_ids}
    deployments = demand.Deployment.objects.filter(organization__in=organization_ids)
    for columns in deployments.active_or_ready(now).values_list(*_COLUMNS):
        if _is_known(columns, homes):
            demands[columns[_ORGANIZATION]].append(_on_a_node(columns, homes))
    past = _past(organization_ids, now)
    return {pk: _loaded(now, supplies[pk], demands[pk], past) for pk in organization_ids}


def _is_known(columns: tuple[Any, ...], homes: Mapping[int, list[int]]) -> bool:
    """Return whether the deployment is on none or on a known node.

    Without the lock, a cluster or a node may be added and get deployments after they were read.
    """
    cluster, node = columns[_CLUSTER], columns[_NODE]
    return cluster is None or (cluster in homes and (node is None or node in homes[cluster]))


def _on_a_node(columns: tuple[Any, ...], homes: Mapping[int, list[int]]) -> tuple[Any, ...]:
    """Return the columns with a node if there is a cluster.

    A process of the former release, which does not know nodes, may have placed it during an
    upgrade. If the cluster has several nodes, the first counts as its node, until it is requeued.
    """
    cluster = columns[_CLUSTER]
    if cluster is None or columns[_NODE] is not None:
        return columns
    return (*columns[:_NODE], homes[cluster][0], *columns[_NODE + 1 :])


def _loaded(
    now: datetime,
    clusters: list[Cluster],
    rows: list[tuple[Any, ...]],
    past: _Past,
) -> Loaded:
    return Loaded(
        snapshot=Snapshot(
            now=_seconds(now),
            policy=settings.SCHEDULER_POLICY,
            clusters=tuple(clusters),
            deployments=tuple(_deployment(row, past) for row in rows),
        ),
        now=now,
        revisions={row[0]: row[1] for row in rows},
    )


def _cluster(row: supply.Cluster, now: datetime) -> Cluster:
    nodes = tuple(_node(node) for node in row.nodes.all())
    return Cluster(
        id=row.pk,
        capacity=sum((node.capacity for node in nodes), NOTHING),
        state=ClusterState.LOST if is_without_contact(row, now) else ClusterState(row.state),
        name=row.name,
        nodes=nodes,
    )


def _node(row: supply.Node) -> Node:
    return Node(
        id=row.pk,
        capacity=Resources(row.cpu_milli, row.ram_mib, row.gpu),
        name=row.name,
        labels=row.labels if row.can_limit_storage else row.labels | _UNLIMITED,
        state=ClusterState(row.state),
    )


def _deployment(row: tuple[Any, ...], past: _Past) -> Deployment:
    (
        pk, _revision, priority, cpu_milli, ram_mib, gpu, queued_at, requested_cluster, cluster,
        node, require, prefer, placed_at, max_runtime_s, preemptible, checkpoint_at, ready_after,
        suspended_until, status_code, _organization, ephemeral_storage_mib,
    ) = row  # fmt: skip
    evictions, evicted_at = past.evictions.get(pk, (0, None))
    return Deployment(
        id=pk,
        priority=priority,
        request=Resources(cpu_milli, ram_mib, gpu),
        queued_at=_seconds(queued_at),
        requested_cluster=requested_cluster,
        cluster=cluster,
        placed_at=_seconds(placed_at) if placed_at else None,
        max_runtime_s=max_runtime_s,
        preemptible=preemptible,
        recent_preemptions=evictions,
        checkpoint_at=_seconds(checkpoint_at) if checkpoint_at else None,
        ready_since=_ready_since(queued_at, ready_after, evicted_at) if cluster is None else None,
        suspended_until=_seconds(suspended_until) if suspended_until else None,
        past_victims=past.victims_since(pk, queued_at) if cluster is None else (),
        preempted_in_vain=cluster is None and past.ended_in_vain(pk),
        node=node,
        require=requirements(require if ephemeral_storage_mib is None else require | _LIMITED),
        prefer=preferences(prefer),
        reserved=cluster is None and status_code == "reserved",
    )


def _ready_since(
    queued_at: datetime, ready_after: datetime | None, evicted_at: datetime | None
) -> int | None:
    """Return when an eviction or a back-off last restarted the wait; None if none has."""
    since = max(queued_at, ready_after or queued_at, evicted_at or queued_at)
    return None if since == queued_at else _seconds(since)


def _past(organization_ids: Sequence[int], now: datetime) -> _Past:
    since = now - timedelta(seconds=settings.SCHEDULER_POLICY.budget_window_seconds)
    outcome = demand.Run.Outcome
    lost = Q(outcome=outcome.EVICTED) | Q(outcome=outcome.MOVED, preempted_by__isnull=False)
    runs = demand.Run.objects.filter(
        lost, released_at__gt=since, deployment__organization__in=organization_ids
    )
    counts = runs.order_by().values_list("deployment")
    evictions = {
        victim: (number, last)
        for victim, number, last in counts.annotate(Count("pk"), Max("released_at"))
    }
    return _Past(evictions, _in_vain(runs))


def _in_vain(runs: QuerySet[demand.Run]) -> dict[int, list[_InVain]]:
    """Return the evictions in vain of these runs by their pending preemptors.

    The preemptor's run was placed at the moment at which the victim's run was released.
    """
    ended = (demand.Run.Outcome.FAILED, demand.Run.Outcome.STOPPED)
    rows = runs.filter(
        preempted_by__status=demand.Status.PENDING,
        preempted_by__runs__placed_at=F("released_at"),
        preempted_by__runs__started_at=None,
    ).values_list("preempted_by", "released_at", "deployment", "preempted_by__runs__outcome")
    found: dict[int, list[_InVain]] = defaultdict(list)
    for preemptor, at, victim, outcome in rows.order_by("released_at", "pk"):
        if at is not None:
            found[preemptor].append(_InVain(at, victim, outcome in ended))
    since = _last_lifted(found)
    return {
        preemptor: [e for e in evictions if e.at >= since.get(preemptor, e.at)]
        for preemptor, evictions in found.items()
    }


def _last_lifted(preemptors: Collection[int]) -> dict[int, datetime]:
    """Return when a user last released each preemptor from a hold or changed its priority."""
    if not preemptors:
        return {}
    lifting = Q(kind="released") | Q(kind="updated", data__has_key="priority")
    events = Event.objects.filter(
        lifting, subject=Event.Subject.DEPLOYMENT, subject_id__in=preemptors
    )
    rows = events.order_by().values_list("subject_id")
    return dict(rows.annotate(Max("time")))


def _seconds(time: datetime) -> int:
    return int(time.timestamp())
