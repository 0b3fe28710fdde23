"""Celery tasks; the work is in `runtime` and `logs`."""

from datetime import timedelta

import structlog
from celery import shared_task
from django.conf import settings
from django.db import OperationalError
from django.utils import timezone

from clusters import engines
from clusters.engines import Engine
from clusters.models import Cluster
from clusters.wakeups import RECONCILE, RECONCILE_ENGINE, begin, request
from clusters.watching import keep_watch
from deployments import changes, retention
from deployments.logs import store
from deployments.notices import services as notices
from deployments.notices.sender import collect_and_send
from deployments.runtime import closing, orphans
from deployments.runtime.lost_contact import ACTOR
from deployments.runtime.reconcile import reconcile
from deployments.runtime.requests import engines_with_work, periodic_requests
from hypervisor.base.outages import is_lock_timeout

_AGAIN_AFTER_S = 1.0
"""How long after a lock timeout the engine is reconciled again."""

log = structlog.get_logger(__name__)


@shared_task(name=RECONCILE)
def reconcile_cluster(cluster_id: int) -> None:
    """Reconcile the cluster's engine; if it has several, request it of those with work to do."""
    begin(RECONCILE, cluster_id)
    cluster = Cluster.objects.filter(pk=cluster_id).first()
    there = engines.of_cluster(cluster) if cluster else []
    if len(there) == 1:
        _reconcile(there[0])
        return
    for engine in engines_with_work(there):
        request(engine.wakeup)


@shared_task(name=RECONCILE_ENGINE)
def reconcile_engine(connection_id: int) -> None:
    begin(RECONCILE_ENGINE, connection_id)
    if engine := engines.get(connection_id):
        _reconcile(engine)


@shared_task(name="deployments.reconcile_all")
def reconcile_all() -> None:
    """Reconcile the engines of every cluster that has a real engine or unfinished runs.

    Engines that need no pass are left out (see `survey`). Then end what the reconciliation of a
    cluster never ends (see `closing.heal`).
    """
    now = timezone.now()
    for wakeup, delay_s in periodic_requests(now).items():
        request(wakeup, delay_s=delay_s)
    try:
        closing.heal(now, actor=ACTOR)
    except OperationalError as error:
        if not is_lock_timeout(error):
            raise
        log.warning("healing_locked_out")  # the next period tries again


def _reconcile(engine: Engine) -> None:
    keep_watch(engine)
    try:
        reconcile(engine)
    except OperationalError as error:
        if not is_lock_timeout(error):
            raise
        request(engine.wakeup, delay_s=_AGAIN_AFTER_S)
        log.warning("reconcile_locked_out", **engine.facts)


@shared_task(name="deployments.purge_outputs")
def purge_outputs() -> None:
    now = timezone.now()
    store.purge(now)
    orphans.forget_ownerless(now)


@shared_task(name="deployments.purge_ended")
def purge_ended() -> None:
    retention.purge_ended(timezone.now())


@shared_task(name="deployments.purge_events")
def purge_events() -> None:
    retention.purge_events(timezone.now())


@shared_task(name="deployments.purge_changes")
def purge_changes() -> None:
    changes.purge()


@shared_task(name="deployments.send_notices")
def send_notices() -> None:
    collect_and_send()


@shared_task(name="deployments.purge_notices")
def purge_notices() -> None:
    notices.purge(timezone.now() - timedelta(days=settings.NOTICE_HISTORY_DAYS))
