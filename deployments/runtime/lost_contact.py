"""Engines that do not answer: what is reported, what waits, and how an operator ends it.

Deployments on such an engine may still run, so they stay allocated and are not started a second
time. Only three things end the uncertainty: no container was ever requested, the engine answers
again, or an operator declares that the containers are gone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Least
from django.utils import timezone

from clusters.drivers.base import Cause, DriverError
from clusters.models import Cluster, Connection
from clusters.ownership import ForeignEngine
from clusters.places import Places
from clusters.wakeups import request_cycle, request_reconcile
from deployments import lifecycle
from deployments.lifecycle import Change, transition, update_reasons
from deployments.models import Deployment, Run, RunQuerySet, Status
from deployments.runtime import closing
from deployments.runtime.closing import Remark
from hypervisor.base.errors import Conflict
from orgs.events import record
from orgs.models import Event

ACTOR = "system:runtime"

LOST = "lost_contact"
FOREIGN = "engine_unclaimed"
REGAINED = "contact_regained"
DECLARED = "declared_lost"

_MAX_ERROR = 1000

log = structlog.get_logger(__name__)


def failed(cluster: Cluster, error: Exception, now: datetime) -> None:
    """Record that the cluster's engine did not answer; report it when contact counts as lost."""
    log.warning("engine_silent", cluster=cluster.pk, error=str(error))
    rows = Connection.objects.filter(cluster=cluster)
    rows.update(
        # PostgreSQL's LEAST ignores NULL. A time in the future was written by a clock that was
        # wrong.
        lost_contact_at=Least(F("lost_contact_at"), now),
        last_error=str(error)[:_MAX_ERROR],
    )
    foreign = isinstance(error, ForeignEngine)
    if foreign:
        rows.update(unclaimed=True)
    since = rows.values_list("lost_contact_at", flat=True).first()
    if since is None or not (foreign or is_lost(since, now)):
        return
    _report(cluster, since, error, now)
    requeue_unlaunched(cluster, f"No contact with {cluster.name}", now)
    limit = settings.LOST_CONTACT_REQUEUE_SECONDS
    if limit and not foreign and now - since >= timedelta(seconds=limit):
        _release_all(cluster, f"has not answered for {limit} seconds", ACTOR, now)


def answered(cluster: Cluster, now: datetime) -> None:
    """Record that the cluster's engine answers, if it did not before."""
    connection = getattr(cluster, "connection", None)
    since = connection.lost_contact_at if connection else None
    if connection is None or since is None:
        return
    connection.lost_contact_at = None
    connection.unclaimed = False
    rows = Connection.objects.filter(cluster=cluster)
    rows.update(lost_contact_at=None, last_error="", unclaimed=False)
    # The engine may only now carry out starts that it received before contact was lost.
    unsure = Run.objects.unfinished().launched().filter(cluster=cluster, started_at=None)
    unsure.update(launched_at=now)
    if not _was_recorded(cluster, since, LOST, FOREIGN):
        return
    seconds = int((now - since).total_seconds())
    record(cluster, REGAINED, ACTOR, f"Its engine is in use again after {seconds} seconds.")
    _update_reasons_on(REGAINED, cluster, Status.RUNNING, "running", "Runs on {}.".format, now)
    _update_reasons_on(REGAINED, cluster, Status.STARTING, "placed", "Starts on {}.".format, now)
    request_cycle(cluster.organization_id)


@contextmanager
def tolerate_failure(run_id: int) -> Iterator[None]:
    """Log an engine's failure at one container, so that the others are still dealt with.

    The next reconciliation tries again. Raises DriverError if the engine does not answer at all.
    """
    try:
        yield
    except DriverError as error:
        if error.cause is Cause.UNREACHABLE:
            raise
        log.warning("engine_failed", run=run_id, error=str(error))


def is_without_contact(cluster: Cluster, now: datetime) -> bool:
    """Whether nothing new is placed here: contact is lost, or the engine must be claimed first."""
    connection: Connection | None = getattr(cluster, "connection", None)
    if connection is None:
        return False
    since = connection.lost_contact_at
    return connection.is_blocked or (since is not None and is_lost(since, now))


def is_lost(since: datetime, now: datetime) -> bool:
    """Whether an engine that has not answered since then counts as lost."""
    return now - since >= timedelta(seconds=settings.LOST_CONTACT_SECONDS)


def declaring(cluster: Cluster) -> str:
    """Return why the cluster cannot be declared lost, "" if it can."""
    connection: Connection | None = getattr(cluster, "connection", None)
    if connection is not None and connection.lost_contact_at is not None:
        return ""
    return f"The engine of cluster {cluster.name} answers: drain the cluster instead."


@transaction.atomic
def declare_lost(cluster: Cluster, *, actor: str) -> Cluster:
    """Queue again all deployments on a cluster whose engine does not answer.

    Only an operator can decide this, because the containers must be gone: the machine is off, or
    cut off from everything that they could harm. If the engine answers again, containers that are
    left are removed before anything starts there. Raises Conflict while the engine answers.
    """
    row = Cluster.objects.get_locked(cluster.pk)
    if why := declaring(row):
        raise Conflict(why)
    _release_all(row, f"was declared lost by {actor}", actor, timezone.now())
    return row


@transaction.atomic
def _release_all(cluster: Cluster, why: str, actor: str, now: datetime) -> None:
    """Release and end every run on the cluster; its containers are orphans from then on."""
    reason = f"Cluster {cluster.name} {why}: waits to be placed on another cluster."
    active = _changes(Run.objects.current().filter(cluster=cluster), reason, DECLARED)
    requeued = transition(lifecycle.REQUEUE, active, actor=actor, now=now)
    left = Run.objects.unfinished().filter(cluster=cluster, released_at__isnull=False)
    ended = dict(left.values_list("pk", "deployment"))
    remark = Remark(DECLARED, f"Cluster {cluster.name} {why}.")
    stopped = closing.close(list(ended), actor=actor, now=now, remark=remark)
    if not (requeued or ended):
        return
    reason = (
        f"{cluster.name} {why}: {len(requeued)} deployments are queued again, {len(stopped)} are"
        " stopped. Containers that are still there are removed when its engine answers again."
    )
    data = {"requeued": sorted(requeued), "stopped": sorted(stopped)}
    record(cluster, DECLARED, actor, reason, data)
    elsewhere = Run.objects.current().filter(deployment__in=ended.values()).exclude(cluster=None)
    for cluster_id in set(elsewhere.values_list("cluster", flat=True)):
        request_reconcile(cluster_id)
    request_cycle(cluster.organization_id)


def _report(cluster: Cluster, since: datetime, error: Exception, now: datetime) -> None:
    foreign = isinstance(error, ForeignEngine)
    time = f"{since:%Y-%m-%d %H:%M:%S} UTC"
    if foreign:
        kind, reason = FOREIGN, f"Its engine has not been used since {time}: {error}"
        sentence = (
            f"The engine of {cluster.name} has to be claimed by an operator first. It may still run"
            " there, so its resources stay allocated."
        )
    else:
        kind, reason = LOST, f"Its engine has not answered since {time}: {error}"
        sentence = (
            f"No contact with {cluster.name} since {time}: it may still run there, so its resources"
            " stay allocated. If its containers are gone, an operator can declare the cluster lost."
        )
    if not _was_recorded(cluster, since, kind):
        record(cluster, kind, ACTOR, reason, {"since": since.isoformat()})
        request_cycle(cluster.organization_id)
    for status in (Status.RUNNING, Status.STARTING):
        _update_reasons_on(LOST, cluster, status, LOST, lambda _: sentence, now)


def _was_recorded(cluster: Cluster, since: datetime, *kinds: str) -> bool:
    events = Event.objects.filter(
        subject=Event.Subject.CLUSTER, subject_id=cluster.pk, kind__in=kinds, time__gte=since
    )
    return events.exists()


def requeue_unlaunched(cluster: Cluster, why: str, now: datetime) -> None:
    """Requeue deployments placed on the cluster and never launched: these cannot run twice."""
    runs = Run.objects.current().filter(cluster=cluster, launched_at=None)
    reason = f"{why}, where it had not been started yet: waits to be placed again."
    changes = _changes(runs, reason, LOST)
    if transition(lifecycle.REQUEUE, changes, actor=ACTOR, now=now):
        request_cycle(cluster.organization_id)
    never = Run.objects.unfinished().filter(cluster=cluster, launched_at=None)
    closing.close(list(never.values_list("pk", flat=True)), actor=ACTOR, now=now)


def _update_reasons_on(
    kind: str, cluster: Cluster, status: Status, code: str, reason: Callable[[str], str],
    now: datetime,
) -> None:  # fmt: skip
    """Write the reason of each deployment on the cluster; `reason` makes it of the place's name."""
    rows = Deployment.objects.filter(cluster=cluster, status=status)
    if kind == REGAINED:
        rows = rows.filter(status_code=LOST)
    found = list(rows.only("cluster", "node"))
    places = Places.of_rows(found)
    data = {"code": code, "cluster": cluster.pk}
    changes = [Change(row.pk, reason(places.of(row)), data=data) for row in found]
    update_reasons(kind, changes, statuses=(status,), actor=ACTOR, now=now)


def _changes(runs: RunQuerySet, reason: str, code: str) -> list[Change]:
    rows = runs.values_list("deployment", "pk", "cluster")
    return [
        Change(deployment, reason, run=run, data={"code": code, "cluster": cluster, "run": run})
        for deployment, run, cluster in rows
    ]
