"""Which engines are to be reconciled: periodically, and when something has changed in a cluster."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef, Q

from clusters.engines import Engine
from clusters.models import Cluster, Connection
from clusters.wakeups import RECONCILE, Wakeup
from deployments.runtime import survey
from deployments.runtime.models import AbandonedContainer, Run


def engines_with_work(there: Sequence[Engine]) -> list[Engine]:
    """Return those of a cluster's engines, each of one node, that have something to do now.

    That is to start, to stop or to remove a container, or to get its first marker.
    """
    nodes = [engine.node for engine in there]
    settled = Q(started_at__isnull=False, released_at=None)
    runs = Run.objects.unfinished().filter(node__in=nodes).exclude(settled)
    waiting = set(runs.values_list("node", flat=True))
    abandoned = AbandonedContainer.objects.filter(node__in=nodes)
    waiting |= set(abandoned.values_list("node", flat=True))
    return [
        engine
        for engine in there
        if (engine.node and engine.node.pk in waiting)
        or (engine.connection and engine.connection.marked_at is None)
    ]


def periodic_requests(now: datetime) -> dict[Wakeup, float]:
    """Return the requests that have every engine reconciled that is to be in this period.

    With each request is its delay in seconds.
    """
    horizon = now + timedelta(seconds=settings.RECONCILE_INTERVAL)
    settled = survey.settled(now)
    wanted = dict.fromkeys(_of_clusters(set(clusters_to_reconcile()) - settled.keys()), 0.0)
    for cluster_id, until in settled.items():
        if until and until < horizon:
            wanted[RECONCILE, cluster_id] = (until - now).total_seconds()
    return wanted


def _of_clusters(clusters: Collection[int]) -> list[Wakeup]:
    """Return the requests for all engines of these clusters."""
    several: dict[int, list[Wakeup]] = {}
    for row in Connection.objects.exclude(node=None):
        several.setdefault(row.cluster_id, []).append(row.wakeup)
    wanted: list[Wakeup] = []
    for cluster_id in sorted(clusters):
        own = several.get(cluster_id, [])
        # An engine that is its cluster's only one is requested as in the former release.
        wanted += own if len(own) > 1 else [(RECONCILE, cluster_id)]
    return wanted


def clusters_to_reconcile() -> Iterable[int]:
    """Return the ids of clusters with a real engine or with unfinished runs."""
    busy = Run.objects.unfinished().filter(cluster=OuterRef("pk"))
    real = Cluster.objects.exclude(connections=None)
    return real.union(Cluster.objects.filter(Exists(busy))).values_list("pk", flat=True)
