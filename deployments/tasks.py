"""Celery's way in; the work is in `reconcile`."""

from celery import shared_task

from clusters.wakeups import RECONCILE, begin, request_reconcile
from clusters.watching import keep_watch
from deployments.models import Run
from deployments.reconcile import reconcile


@shared_task(name=RECONCILE)
def reconcile_cluster(cluster_id: int) -> None:
    begin(RECONCILE, cluster_id)
    keep_watch(cluster_id)
    reconcile(cluster_id)


@shared_task(name="deployments.reconcile_all")
def reconcile_all() -> None:
    """Look at every cluster that has, or should have, a container."""
    unfinished = Run.objects.unfinished().exclude(cluster=None)
    for cluster_id in unfinished.order_by("cluster").values_list("cluster", flat=True).distinct():
        request_reconcile(cluster_id)
