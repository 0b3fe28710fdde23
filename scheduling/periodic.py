"""The periodic tasks, as rows that Celery beat reads and operators may change in the admin."""

import json
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from clusters.wakeups import ENGINES
from scheduling.monitoring.heartbeats import BACKGROUND, EVERY_S


@dataclass(frozen=True, slots=True)
class Job:
    """A periodic task: its row's name, the Celery task's name, and the default interval in seconds.

    The message goes to `queue` if there is one; the task then gets the queue's name as argument.
    """

    name: str
    task: str
    every_s: int
    queue: str | None = None

    @property
    def description(self) -> str:
        every, period = in_largest_unit(self.every_s)
        return (
            f"{str(IntervalSchedule(every=every, period=period)).capitalize()} unless changed here."
        )

    @property
    def former_description(self) -> str:
        """What the former release wrote, which compares like the present description."""
        return f"Every {self.every_s} seconds unless changed here."


_CYCLES = "Scheduling cycles"


def jobs() -> tuple[Job, ...]:
    hour, day = 3600, 24 * 3600
    return (
        Job(_CYCLES, "scheduling.run_due_cycles", settings.SCHEDULER_INTERVAL),
        Job("Reconcile containers", "deployments.reconcile_all", settings.RECONCILE_INTERVAL),
        Job("Record workers' heartbeats", "scheduling.note_pulse", EVERY_S),
        Job("Record engine workers' heartbeats", "scheduling.note_pulse", EVERY_S, queue=ENGINES),
        Job(
            "Record background workers' heartbeats",
            "scheduling.note_pulse",
            EVERY_S,
            queue=BACKGROUND,
        ),
        Job("Take a sample", "scheduling.take_sample", 20),
        Job("Count totals", "scheduling.count_totals", 20),
        Job("Send notices", "deployments.send_notices", 5),
        Job("Purge notices", "deployments.purge_notices", day),
        Job("Purge the log of changes", "deployments.purge_changes", 300),
        Job("Purge samples", "scheduling.purge_samples", day),
        Job("Purge scheduling cycles", "scheduling.purge_cycles", day),
        Job("Purge events", "deployments.purge_events", hour),
        Job("Purge ended deployments", "deployments.purge_ended", hour),
        Job("Purge kept output", "deployments.purge_outputs", day),
        Job("Purge the audit trail", "accounts.purge_audit_trail", hour),
        Job("Purge idempotency keys", "accounts.purge_idempotency_keys", hour),
        Job("Purge expired sessions", "accounts.purge_sessions", hour),
        Job("Purge expired tokens", "accounts.purge_expired_tokens", day),
        Job("Purge expired API tokens", "orgs.purge_expired_tokens", day),
        Job("Purge deliveries of webhooks", "orgs.purge_webhook_deliveries", day),
    )


FORMER_NAMES = {
    "Record workers' heartbeats": "Note that workers work",
    "Record engine workers' heartbeats": "Note that engines' workers work",
    "Take a sample": "Note how the platform is",
}
"""By name: what the former release called the row, which keeps what operators changed."""


_UNITS = (
    (86400, IntervalSchedule.DAYS), (3600, IntervalSchedule.HOURS), (60, IntervalSchedule.MINUTES),
)  # fmt: skip


def in_largest_unit(seconds: int) -> tuple[int, str]:
    """Return an interval as a number of days, hours, minutes or seconds: the largest that fits."""
    for size, period in _UNITS:
        if seconds % size == 0:
            return seconds // size, period
    return seconds, IntervalSchedule.SECONDS


def seconds_between_cycles() -> float:
    """Return the interval of the periodic cycles, which operators may change."""
    row = PeriodicTask.objects.select_related("interval").filter(name=_CYCLES).first()
    if row is None or row.interval is None:
        return settings.SCHEDULER_INTERVAL
    return float(row.interval.schedule.run_every.total_seconds())


def install(**_: Any) -> None:
    """Create the row of each periodic task, and of its own interval, after `migrate`.

    An operator's change of a row stays until the environment sets an interval other than the one in
    the row's description.
    """
    for name, former_name in FORMER_NAMES.items():
        if not PeriodicTask.objects.filter(name=name).exists():
            PeriodicTask.objects.filter(name=former_name).update(name=name)
    for job in jobs():
        row = PeriodicTask.objects.select_related("interval").filter(name=job.name).first()
        if row is None:
            row = PeriodicTask(name=job.name, task=job.task, queue=job.queue)
            row.args = json.dumps([job.queue] if job.queue else [])
        if row.description == job.former_description:
            row.description = job.description
            row.save(update_fields=["description"])
        if row.description == job.description:
            _own_interval(row)
        else:
            _set_interval(row, job)


def _set_interval(row: PeriodicTask, job: Job) -> None:
    former = row.interval
    every, period = in_largest_unit(job.every_s)
    row.interval = IntervalSchedule.objects.create(every=every, period=period)
    row.description = job.description
    # An older message is useless, because the next one has been sent.
    row.expire_seconds = max(2 * job.every_s, 10)
    row.save()
    _remove_unused(former)


def _own_interval(row: PeriodicTask) -> None:
    """Give the row an interval that no other task has, as long as before, in the largest unit."""
    interval = row.interval
    if interval is None:
        return
    every, period = interval.every, interval.period
    if period == IntervalSchedule.SECONDS:
        every, period = in_largest_unit(every)
    if PeriodicTask.objects.filter(interval=interval).exclude(pk=row.pk).exists():
        row.interval = IntervalSchedule.objects.create(every=every, period=period)
        row.save(update_fields=["interval"])
    elif (every, period) != (interval.every, interval.period):
        interval.every, interval.period = every, period
        interval.save()


def _remove_unused(interval: IntervalSchedule | None) -> None:
    """Remove the interval that a task has just left, unless another one has it."""
    if interval is not None and not PeriodicTask.objects.filter(interval=interval).exists():
        interval.delete()
