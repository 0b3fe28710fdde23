"""Delete the history of deployments that is older than the settings allow."""

from collections.abc import Collection
from datetime import datetime, timedelta
from functools import partial

import pgtrigger
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from deployments.choices import ENDED, LIVE
from deployments.models import Array, Dependency, Deployment
from deployments.runtime.models import Run
from hypervisor.base.purging import BATCH, purge
from orgs.feed.numbering import forget, number_events
from orgs.models import Event

_WITH_DEPLOYMENTS = (
    "DELETE FROM deployments_dependency WHERE deployment_id = ANY(%s)",
    "DELETE FROM deployments_dependency WHERE on_id = ANY(%s)",
    """DELETE FROM deployments_runoutput WHERE run_id IN (
           SELECT id FROM deployments_run WHERE deployment_id = ANY(%s))""",
    "DELETE FROM deployments_run WHERE deployment_id = ANY(%s)",
    """UPDATE deployments_run SET preempted_by_id = NULL WHERE id IN (
           SELECT id FROM deployments_run WHERE preempted_by_id = ANY(%s)
           FOR NO KEY UPDATE SKIP LOCKED)""",
    "DELETE FROM deployments_deployment WHERE id = ANY(%s)",
)
_WITH_RUNS = (
    "DELETE FROM deployments_runoutput WHERE run_id = ANY(%s)",
    "DELETE FROM deployments_run WHERE id = ANY(%s)",
)

_BY_PEOPLE = (
    "deployments.Deployment:audit_life",
    "deployments.Run:remember_container",
    "deployments.Array:audit_life",
)
"""The triggers that record a deletion by a person, and a container that it leaves behind."""


def purge_ended(now: datetime) -> int:
    """Delete deployments that ended before the limit, with their runs and their output.

    A deployment stays while another one that has not ended depends on it, and while a container of
    it may exist. Of deployments that have not ended, earlier runs are deleted, one batch at a time.
    Arrays without elements are deleted as well.
    Returns the number of deleted deployments.
    """
    if not settings.DEPLOYMENT_HISTORY_DAYS:
        return 0
    limit = _limit(now, settings.DEPLOYMENT_HISTORY_DAYS)
    with pgtrigger.ignore(*_BY_PEOPLE):
        every = partial(_execute, _WITH_DEPLOYMENTS)
        deleted = purge(_ended(limit), "created_at", limit, delete=every)
        _delete_earlier_runs(limit)
        purge(Array.objects.without_elements(), "created_at", limit)
    return deleted


def purge_events(now: datetime) -> int:
    """Delete events before the limit, except those of deployments that have not ended.

    `explain` and `verify` read the events of a deployment until it ends. The numbers of deleted
    events are deleted with them; events without numbers get theirs first. Returns the
    number of deleted events.
    """
    number_events()
    live = Deployment.objects.live().filter(pk=OuterRef("subject_id"))
    of_live = Q(Exists(live), subject=Event.Subject.DEPLOYMENT)
    limit = _limit(now, settings.EVENT_HISTORY_DAYS)
    return purge(Event.objects.exclude(of_live), "time", limit, delete=_delete_events)


def _limit(now: datetime, days: int) -> datetime:
    """Return the limit, which lies before the window in which evictions count."""
    window = timedelta(seconds=settings.SCHEDULER_POLICY.budget_window_seconds)
    return now - max(timedelta(days=days), window)


def _ended(limit: datetime) -> QuerySet[Deployment]:
    dependents = Dependency.objects.filter(on=OuterRef("pk"))
    waited_for = dependents.exclude(deployment__status__in=ENDED)
    unfinished = Run.objects.unfinished().filter(deployment=OuterRef("pk"))
    return Deployment.objects.filter(
        ~Exists(waited_for), ~Exists(unfinished), status__in=ENDED, finished_at__lt=limit
    )


def _delete_events(ids: Collection[int]) -> None:
    forget(ids)
    _execute(("DELETE FROM orgs_event WHERE id = ANY(%s)",), ids)


@transaction.atomic
def _delete_earlier_runs(limit: datetime) -> None:
    """Delete runs that ended before the limit and are not the newest of a live deployment."""
    newer = Run.objects.filter(deployment=OuterRef("deployment"), pk__gt=OuterRef("pk"))
    rows = Run.objects.filter(Exists(newer), ended_at__lt=limit, deployment__status__in=LIVE)
    found = rows.locked(for_deletion=True, skip_locked=True).values_list("pk", flat=True)
    _execute(_WITH_RUNS, list(found[:BATCH]))


def _execute(statements: Collection[str], ids: Collection[int]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement, [list(ids)])
