"""The Celery tasks of `scheduling`; the work is in `cycle` and `monitoring`."""

from collections.abc import Callable
from datetime import timedelta
from time import monotonic, thread_time
from typing import Any

import structlog
from billiard.exceptions import TimeLimitExceeded
from celery import Task, shared_task
from celery.signals import task_revoked
from django.conf import settings
from django.db import DatabaseError, OperationalError, connection
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now
from django.utils import timezone

from clusters.models import Cluster
from clusters.wakeups import RUN_CYCLE, begin
from deployments import waiting
from deployments.models import Deployment
from deployments.services import cancel_unsatisfiable
from hypervisor.base import purging
from hypervisor.base.outages import is_lock_timeout
from orgs.models import Organization
from scheduling.cycle import lanes, warming
from scheduling.cycle.apply import ACTOR
from scheduling.cycle.explaining import write_rest
from scheduling.cycle.lock import leave_to_running
from scheduling.cycle.run import run_cycle
from scheduling.models import BackgroundCycles, ClusterSample, Sample, SchedulingCycle
from scheduling.monitoring import clocks, heartbeats, totals
from scheduling.monitoring.days import roll_up
from scheduling.monitoring.minutes import take_sample

_ROLL_UP_MINUTES = 5

_AFTER_OTHERS = 9
"""The priority of messages that wait until the queue has no others; Redis has 0 as the highest."""

_DUE_EXPIRES_S = 60

log = structlog.get_logger(__name__)


class _CycleTask(Task):  # type: ignore[type-arg]
    """A task of an organization's cycle; its worker is killed when it exceeds its time limit."""

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        if isinstance(exc, TimeLimitExceeded):  # in the worker's main process
            trigger = args[1] if len(args) > 1 else SchedulingCycle.Trigger.CHANGE
            lanes.killed(args[0], trigger, float(exc.args[0]))
            connection.close()


@shared_task(name=RUN_CYCLE, base=_CycleTask, time_limit=lanes.SHORT_LIMIT_S)
def run_requested_cycle(organization_id: int) -> None:
    begin(RUN_CYCLE, organization_id)
    _run_short_cycle(organization_id, SchedulingCycle.Trigger.CHANGE)


@shared_task(name="scheduling.run_due_cycles")
def run_due_cycles() -> None:
    """Request a cycle of every organization that has something to decide."""
    try:
        clocks.cut(actor=ACTOR)
    except DatabaseError:
        log.exception("repair_failed")
    refresh_reasons.apply_async(expires=_DUE_EXPIRES_S)
    for organization_id in due_organizations():
        run_due_cycle.apply_async(
            (organization_id,), priority=_AFTER_OTHERS, expires=_DUE_EXPIRES_S
        )


@shared_task(name="scheduling.run_due_cycle", base=_CycleTask, time_limit=lanes.SHORT_LIMIT_S)
def run_due_cycle(organization_id: int) -> None:
    _run_short_cycle(organization_id, SchedulingCycle.Trigger.INTERVAL)


@shared_task(name=lanes.RUN_LONG_CYCLE, base=_CycleTask, time_limit=lanes.LONG_LIMIT_S)
def run_long_cycle(organization_id: int, trigger: str) -> None:
    lanes.begin(lanes.RUN_LONG_CYCLE, organization_id)
    _run_cycle(organization_id, SchedulingCycle.Trigger(trigger))


@shared_task(name=lanes.WRITE_REASONS, time_limit=lanes.LONG_LIMIT_S)
def write_reasons(organization_id: int) -> None:
    lanes.begin(lanes.WRITE_REASONS, organization_id)
    write_rest(organization_id)


@shared_task(name="scheduling.refresh_reasons")
def refresh_reasons() -> None:
    """Update the wait reasons of dependents in organizations whose request for a cycle was lost.

    Also those of deployments that SQL has put on hold or released.
    """
    now = timezone.now()
    waiting.refresh(now, actor=ACTOR)
    waiting.follow_holds(now)


def _run_short_cycle(organization_id: int, trigger: SchedulingCycle.Trigger) -> None:
    """Run a cycle unless it belongs to the background, or this process would have to read much."""
    if lanes.hand_over(organization_id, trigger):
        return
    if warming.is_cold(organization_id):
        lanes.request_long(organization_id, trigger)
        computed = thread_time()
        warming.warm_up(organization_id)
        lanes.spent(organization_id, thread_time() - computed)
    else:
        _run_cycle(organization_id, trigger)


def _run_cycle(organization_id: int, trigger: SchedulingCycle.Trigger) -> None:
    """Run a cycle unless one is running, and record whether the next belongs to the background."""
    if leave_to_running(organization_id):
        return
    began, computed = monotonic(), thread_time()

    def succeeded() -> None:
        lanes.succeeded(organization_id, monotonic() - began, thread_time() - computed)

    try:
        _prepare_and_run(organization_id, trigger, succeeded)
    except Exception as error:
        lanes.failed(organization_id, monotonic() - began, type(error).__name__)
        raise
    warming.renew(organization_id)


def _prepare_and_run(
    organization_id: int, trigger: SchedulingCycle.Trigger, when_committed: Callable[[], None]
) -> None:
    """Run a cycle, after dependents are cancelled on request or have their wait reasons updated."""
    if waiting.has_dependents(organization_id):
        _update_dependents(organization_id)
    run_cycle(organization_id, trigger, when_committed=when_committed)


def _update_dependents(organization_id: int) -> None:
    try:
        cancel_unsatisfiable(organization_id, actor=ACTOR)
    except OperationalError as error:
        if not is_lock_timeout(error):
            raise
        log.warning("cancelling_locked_out", organization=organization_id)
    waiting.refresh(timezone.now(), actor=ACTOR, organization=organization_id)


@shared_task(name="scheduling.purge_cycles")
def purge_cycles() -> None:
    limit = timezone.now() - timedelta(days=settings.CYCLE_HISTORY_DAYS)
    purging.purge(SchedulingCycle.objects.all(), "started_at", limit)
    BackgroundCycles.objects.filter(until__lt=Now() - timedelta(days=1)).delete()


@shared_task(name="scheduling.take_sample")
def sample() -> None:
    """Record this minute unless it is recorded; every few minutes, also roll up the latest days."""
    taken = take_sample()
    if taken and taken.time.minute % _ROLL_UP_MINUTES == 0:
        roll_up()


@shared_task(name="scheduling.count_totals")
def count_totals() -> None:
    totals.count()


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
    own = Deployment.objects.filter(organization=OuterRef("pk")).order_by()
    draining = own.active().filter(cluster__state=Cluster.State.DRAINING)
    due = Exists(own.ready(timezone.now())) | Exists(draining) | Exists(own.unsatisfiable())
    return list(Organization.objects.filter(due).order_by("pk").values_list("pk", flat=True))
