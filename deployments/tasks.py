"""Celery's way in; the work is in `reconcile`."""

from celery import shared_task
from django.utils import timezone

from clusters.wakeups import RECONCILE, begin, request_reconcile
from clusters.watching import keep_watch
from deployments import closing, orphans, output
from deployments.contact import ACTOR
from deployments.reconcile import clusters_to_look_at, reconcile


@shared_task(name=RECONCILE)
def reconcile_cluster(cluster_id: int) -> None:
    begin(RECONCILE, cluster_id)
    keep_watch(cluster_id)
    reconcile(cluster_id)


@shared_task(name="deployments.reconcile_all")
def reconcile_all() -> None:
    """Look at every real engine, and at every cluster that has, or should have, a container.

    Then end what no look at an engine would ever end.
    """
    for cluster_id in clusters_to_look_at():
        request_reconcile(cluster_id)
    closing.heal(timezone.now(), actor=ACTOR)


@shared_task(name="deployments.purge_outputs")
def purge_outputs() -> None:
    output.purge(timezone.now())
    orphans.forget_deleted_clusters()
