"""Celery's way in; the work is in `reconcile`."""

import structlog
from celery import shared_task
from django.db import OperationalError
from django.utils import timezone

from clusters.wakeups import RECONCILE, begin, request_reconcile
from clusters.watching import keep_watch
from deployments.logs import store
from deployments.runtime import closing, orphans
from deployments.runtime.lost_contact import ACTOR
from deployments.runtime.reconcile import clusters_to_look_at, reconcile
from hypervisor.base.outages import is_lock_timeout

_AGAIN_AFTER_S = 1.0
"""How long after a look that met a locked row the engine is looked at again."""

log = structlog.get_logger(__name__)


@shared_task(name=RECONCILE)
def reconcile_cluster(cluster_id: int) -> None:
    begin(RECONCILE, cluster_id)
    keep_watch(cluster_id)
    try:
        reconcile(cluster_id)
    except OperationalError as error:
        if not is_lock_timeout(error):
            raise
        request_reconcile(cluster_id, delay_s=_AGAIN_AFTER_S)
        log.warning("reconcile_locked_out", cluster=cluster_id)


@shared_task(name="deployments.reconcile_all")
def reconcile_all() -> None:
    """Look at every real engine, and at every cluster that has, or should have, a container.

    Then end what no look at an engine would ever end.
    """
    for cluster_id in clusters_to_look_at():
        request_reconcile(cluster_id)
    try:
        closing.heal(timezone.now(), actor=ACTOR)
    except OperationalError as error:
        if not is_lock_timeout(error):
            raise
        log.warning("healing_locked_out")  # the next period tries again


@shared_task(name="deployments.purge_outputs")
def purge_outputs() -> None:
    store.purge(timezone.now())
    orphans.forget_deleted_clusters()
