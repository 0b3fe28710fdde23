"""The Celery tasks of `scheduling`; the work is in `cycle` and `monitoring`."""

from datetime import timedelta
from typing import Any

import structlog
from celery import Task, shared_task
from celery.signals import task_revoked
from django.conf import settings
from django.db import DatabaseError, OperationalError, connection
from django.utils import timezone

from clusters.models import Cluster
from clusters.wakeups import RUN_CYCLE, begin
from deployments import waiting
from deployments.models import Deployment
from deployments.services import cancel_unsatisfiable
from hypervisor.base import purging
from hypervisor.base.outages import is_lock_timeout
from scheduling.cycle.apply import ACTOR
from scheduling.cycle.run import run_cycle
from scheduling.models import ClusterSample, Sample, SchedulingCycle
from scheduling.monitoring import clocks, heartbeats
from scheduling.monitoring.days import roll_up
from scheduling.monitoring.minutes import take_sample

_ROLL_UP_MINUTES = 5

log = structlog.get_logger(__name__)


@shared_task(name=RUN_CYCLE)
def run_requested_cycle(organization_id: int) -> None:
    begin(RUN_CYCLE, organization_id)
    _run_cycle(organization_id, SchedulingCycle.Trigger.CHANGE)


@shared_task(name="scheduling.run_due_cycles")
def run_due_cycles() -> None:
    """Run a cycle of every organization that has something to decide."""
    try:
        clocks.cut(actor=ACTOR)
        waiting.refresh(timezone.now(), actor=ACTOR)
    except DatabaseError:
        log.exception("repair_failed")
    for organization_id in due_organizations():
        try:
            _run_cycle(organization_id, SchedulingCycle.Trigger.INTERVAL)
        except DatabaseError:
            log.exception("cycle_failed", organization=organization_id)


def _run_cycle(organization_id: int, trigger: SchedulingCycle.Trigger) -> None:
    """Run a cycle, after dependents are cancelled on request or have their wait reasons updated."""
    try:
        cancel_unsatisfiable(organization_id, actor=ACTOR)
    except OperationalError as error:
        if not is_lock_timeout(error):
            raise
        log.warning("cancelling_locked_out", organization=organization_id)
    waiting.refresh(timezone.now(), actor=ACTOR, organization=organization_id)
    run_cycle(organization_id, trigger)


@shared_task(name="scheduling.purge_cycles")
def purge_cycles() -> None:
    limit = timezone.now() - timedelta(days=settings.CYCLE_HISTORY_DAYS)
    purging.purge(SchedulingCycle.objects.all(), "started_at", limit)


@shared_task(name="scheduling.take_sample")
def sample() -> None:
    """Record this minute unless it is recorded; every few minutes, also roll up the latest days."""
    taken = take_sample()
    if taken and taken.time.minute % _ROLL_UP_MINUTES == 0:
        roll_up()


@shared_task(name="scheduling.purge_samples")
def purge_samples() -> None:
    now = timezone.now()
    limit = now - timedelta(days=settings.SAMPLE_HISTORY_DAYS)
    for model in (ClusterSample, Sample):
        purging.purge(model._base_manager.all(), "time", limit)
    heartbeats.forget_before(now - timedelta(days=1))


@shared_task(bind=True, name="scheduling.note_pulse")
def record_heartbeat(task: "Task[[str], None]", queue: str = heartbeats.PLANNING) -> None:
    """Record that this worker handles beat's messages."""
    heartbeats.record_worker(queue, str(task.request.hostname or "unnamed"))


@task_revoked.connect
def record_discard(*, request: Any, expired: bool, **_: Any) -> None:
    """Record the clock of a worker that discards a message as expired.

    A worker whose clock is ahead may discard even the messages that ask for its heartbeat.
    """
    if not expired:
        return
    try:
        heartbeats.record_worker(heartbeats.DISCARDING, str(request.hostname or "unnamed"))
    except DatabaseError:
        log.warning("heartbeat_not_recorded", exc_info=True)
    finally:
        connection.close()


def due_organizations() -> list[int]:
    """Return the ids of the organizations with something to place, drain or cancel, in order."""
    ready = Deployment.objects.ready(timezone.now()).order_by().values("organization")
    draining = Deployment.objects.active().filter(cluster__state=Cluster.State.DRAINING)
    unsatisfiable = Deployment.objects.unsatisfiable().order_by().values("organization")
    due = ready.union(draining.order_by().values("organization"), unsatisfiable)
    return sorted(row["organization"] for row in due)
