"""Read the planner's input with a number of queries that does not depend on its size."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Max, Q
from django.utils import timezone

from clusters import models as supply
from deployments import models as demand
from deployments.runtime.lost_contact import is_without_contact
from orgs.models import Organization
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import Cluster, ClusterState, Deployment, Snapshot

_COLUMNS = (
    "pk", "revision", "priority", "cpu_milli", "ram_mib", "gpu", "queued_at", "requested_cluster",
    "cluster", "placed_at", "max_runtime_s", "preemptible", "checkpoint_at",
    "ready_after", "suspended_until", "organization",
)  # fmt: skip

_CLUSTER = _COLUMNS.index("cluster")
_ORGANIZATION = _COLUMNS.index("organization")


@dataclass(frozen=True, slots=True)
class _Past:
    """The evictions within the budget's window.

    `evictions` has the number and the last time for each victim, `victims` the last time and the
    victim for each preemptor. `in_vain` are the preemptors that ended without having started.
    """

    evictions: Mapping[int, tuple[int, datetime]]
    victims: Mapping[int, list[tuple[datetime, int]]]
    in_vain: Collection[int]

    def victims_since(self, preemptor: int, queued_at: datetime) -> tuple[int, ...]:
        victims = self.victims.get(preemptor)
        return tuple([pk for at, pk in sorted(victims) if at >= queued_at]) if victims else ()


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
    rows_of_clusters = list(clusters.select_related("connection"))
    now = clock()
    for row in rows_of_clusters:
        supplies[row.organization_id].append(_cluster(row, now))
    # Without the lock, a cluster may be added and get deployments after the clusters were read.
    unplaced_or_known = {None, *(row.pk for row in rows_of_clusters)}
    demands: dict[int, list[tuple[Any, ...]]] = {pk: [] for pk in organization_ids}
    deployments = demand.Deployment.objects.filter(organization__in=organization_ids)
    for columns in deployments.active_or_ready(now).values_list(*_COLUMNS):
        if columns[_CLUSTER] in unplaced_or_known:
            demands[columns[_ORGANIZATION]].append(columns)
    past = _past(organization_ids, now)
    return {pk: _loaded(now, supplies[pk], demands[pk], past) for pk in organization_ids}


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
    return Cluster(
        id=row.pk,
        capacity=Resources(row.cpu_milli, row.ram_mib, row.gpu),
        state=ClusterState.LOST if is_without_contact(row, now) else ClusterState(row.state),
        name=row.name,
    )


def _deployment(row: tuple[Any, ...], past: _Past) -> Deployment:
    (
        pk, _revision, priority, cpu_milli, ram_mib, gpu, queued_at, requested_cluster, cluster,
        placed_at, max_runtime_s, preemptible, checkpoint_at, ready_after, suspended_until,
        _organization,
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
        preempted_in_vain=cluster is None and pk in past.in_vain,
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
    pairs = runs.order_by().values_list("deployment", "preempted_by")
    evictions: dict[int, tuple[int, datetime]] = {}
    victims: dict[int, list[tuple[datetime, int]]] = defaultdict(list)
    for deployment, preemptor, number, last in pairs.annotate(Count("pk"), Max("released_at")):
        known, latest = evictions.get(deployment, (0, last))
        evictions[deployment] = (known + number, max(latest, last))
        if preemptor is not None:
            victims[preemptor].append((last, deployment))
    return _Past(evictions, victims, _never_started(victims, since))


def _never_started(preemptors: Collection[int], since: datetime) -> set[int]:
    """Return the preemptors with a run, placed after `since`, that ended without having started."""
    if not preemptors:
        return set()
    ended = (demand.Run.Outcome.FAILED, demand.Run.Outcome.STOPPED)
    runs = demand.Run.objects.filter(
        deployment__in=preemptors, started_at=None, outcome__in=ended, placed_at__gt=since
    )
    return set(runs.values_list("deployment", flat=True))


def _seconds(time: datetime) -> int:
    return int(time.timestamp())
