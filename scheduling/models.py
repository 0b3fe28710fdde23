"""What each scheduling cycle saw and decided."""

from django.db import models
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from accounts.audit import trail
from orgs.models import Organization


class SchedulingCycle(models.Model):
    """One cycle of one organization; durations in microseconds.

    `record` is what it saw and decided, as `scheduling.record` packs it, when it decided anything.
    """

    class Trigger(models.TextChoices):
        CHANGE = "change"
        INTERVAL = "interval"
        MANUAL = "manual"

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="cycles")
    trigger = models.CharField(max_length=10, choices=Trigger.choices)
    started_at = models.DateTimeField()
    snapshot_us = models.PositiveIntegerField("snapshot (µs)")
    plan_us = models.PositiveIntegerField("plan (µs)")
    apply_us = models.PositiveIntegerField("apply (µs)")
    ready = models.PositiveIntegerField()
    placed = models.PositiveIntegerField()
    evicted = models.PositiveIntegerField()
    moved = models.PositiveIntegerField()
    left_pending = models.PositiveIntegerField()
    set_aside = models.PositiveIntegerField("set aside for thrashing", default=0)
    record = models.BinaryField(null=True)

    class Meta:
        ordering = ["-id"]
        permissions = [("run_schedulingcycle", "Can run scheduling cycles")]
        indexes = [
            models.Index(fields=["organization", "-id"], name="cycle_newest"),
            models.Index(fields=["started_at"], name="cycle_started"),
        ]

    def __str__(self) -> str:
        return f"cycle {self.pk}"


class AuditedTask(PeriodicTask):  # type: ignore[misc]
    class Meta:
        proxy = True
        default_permissions = ()
        triggers = trail(
            "name", "task", "enabled", "interval_id", "crontab_id", "args", "kwargs", "one_off",
            "expire_seconds",
        )  # fmt: skip


class AuditedInterval(IntervalSchedule):  # type: ignore[misc]
    class Meta:
        proxy = True
        default_permissions = ()
        triggers = trail("every", "period", called="")


class AuditedCrontab(CrontabSchedule):  # type: ignore[misc]
    class Meta:
        proxy = True
        default_permissions = ()
        triggers = trail(
            "minute", "hour", "day_of_week", "day_of_month", "month_of_year", called=""
        )
