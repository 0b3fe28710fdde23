"""Read what the planner decides on: a constant number of queries, whatever the size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Q
from django.utils import timezone

from clusters import models as supply
from deployments import models as demand
from deployments.contact import is_without_contact
from scheduling.core.policy import Policy
from scheduling.core.resources import Resources
from scheduling.core.snapshot import Cluster, ClusterState, Deployment, Snapshot

_COLUMNS = (
    "pk", "revision", "priority", "cpu_milli", "ram_mib", "gpu", "queued_at", "requested_cluster",
    "cluster", "placed_at", "max_runtime_s", "preemptible", "checkpoint_at",
    "organization",
)  # fmt: skip

_CLUSTER = _COLUMNS.index("cluster")
_ORGANIZATION = _COLUMNS.index("organization")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A snapshot, its time, and the revision of each deployment in it, by id."""

    snapshot: Snapshot
    now: datetime
    revisions: dict[int, int]


def load(
    organization_id: int, *, lock: bool, clock: Callable[[], datetime] = timezone.now
) -> Loaded:
    """Return the organization's clusters and its active and ready deployments.

    With `lock`, the cluster rows are locked until the transaction ends, in the order of their ids:
    whoever holds them is the only one who consumes room. The clock is read after that, as who
    waits for a lock decides on what has happened meanwhile.
    """
    return _read([organization_id], lock, clock)[organization_id]


def load_many(organization_ids: Sequence[int], *, now: datetime) -> dict[int, Loaded]:
    """Return many organizations' snapshots by id, unlocked, with as many queries as for one."""
    return _read(organization_ids, False, lambda: now)


def _read(
    organization_ids: Sequence[int], lock: bool, clock: Callable[[], datetime]
) -> dict[int, Loaded]:
    clusters = supply.Cluster.objects.filter(organization__in=organization_ids).order_by("pk")
    if lock:
        clusters = clusters.select_for_update(no_key=True, of=("self",))
    supplies: dict[int, list[Cluster]] = {pk: [] for pk in organization_ids}
    rows_of_clusters = list(clusters.select_related("connection"))
    now = clock()
    for row in rows_of_clusters:
        supplies[row.organization_id].append(_cluster(row, now))
    # Without the lock a cluster may come, and take deployments, after the clusters were read.
    unplaced_or_known = {None, *(row.pk for row in rows_of_clusters)}
    demands: dict[int, list[tuple[Any, ...]]] = {pk: [] for pk in organization_ids}
    deployments = demand.Deployment.objects.filter(organization__in=organization_ids)
    active = []
    for columns in deployments.active_or_ready(now).values_list(*_COLUMNS):
        if columns[_CLUSTER] in unplaced_or_known:
            demands[columns[_ORGANIZATION]].append(columns)
            if columns[_CLUSTER] is not None:
                active.append(columns[0])
    evictions = _recent_evictions(active, now) if active else {}
    return {pk: _loaded(now, supplies[pk], demands[pk], evictions) for pk in organization_ids}


def _loaded(
    now: datetime,
    clusters: list[Cluster],
    rows: list[tuple[Any, ...]],
    evictions: dict[int, int],
) -> Loaded:
    return Loaded(
        snapshot=Snapshot(
            now=_seconds(now),
            policy=current_policy(),
            clusters=tuple(clusters),
            deployments=tuple(_deployment(row, evictions.get(row[0], 0)) for row in rows),
        ),
        now=now,
        revisions={row[0]: row[1] for row in rows},
    )


def current_policy() -> Policy:
    return Policy(
        order=settings.SCHEDULER_ORDER,
        min_run_seconds=settings.SCHEDULER_MIN_RUN_SECONDS,
        preemption_budget=settings.SCHEDULER_PREEMPTION_BUDGET,
        budget_override_gap=settings.SCHEDULER_BUDGET_OVERRIDE_GAP,
        starvation_seconds=settings.SCHEDULER_STARVATION_SECONDS,
        backfill=settings.SCHEDULER_BACKFILL,
    )


def _cluster(row: supply.Cluster, now: datetime) -> Cluster:
    return Cluster(
        id=row.pk,
        capacity=Resources(row.cpu_milli, row.ram_mib, row.gpu),
        state=ClusterState.LOST if is_without_contact(row, now) else ClusterState(row.state),
        name=row.name,
    )


def _deployment(row: tuple[Any, ...], evictions: int) -> Deployment:
    (
        pk, _revision, priority, cpu_milli, ram_mib, gpu, queued_at, requested_cluster, cluster,
        placed_at, max_runtime_s, preemptible, checkpoint_at, _organization,
    ) = row  # fmt: skip
    return Deployment(
        id=pk,
        priority=priority,
        request=Resources(cpu_milli, ram_mib, gpu),
        queued_at=_seconds(queued_at),
        requested_cluster=requested_cluster,
        cluster=cluster,
        started_at=_seconds(placed_at) if placed_at else None,
        max_runtime_s=max_runtime_s,
        preemptible=preemptible,
        preemptions=evictions,
        checkpoint_at=_seconds(checkpoint_at) if checkpoint_at else None,
    )


def _recent_evictions(deployments: list[int], now: datetime) -> dict[int, int]:
    """Return how often each of these lost its place within the budget's window, by id."""
    since = now - timedelta(seconds=settings.SCHEDULER_BUDGET_WINDOW_SECONDS)
    lost = Q(outcome=demand.Run.Outcome.EVICTED) | Q(
        outcome=demand.Run.Outcome.MOVED, preempted_by__isnull=False
    )
    runs = demand.Run.objects.filter(lost, released_at__gt=since, deployment__in=deployments)
    return dict(runs.order_by().values_list("deployment").annotate(Count("pk")))


def _seconds(time: datetime) -> int:
    return int(time.timestamp())
