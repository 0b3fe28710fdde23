"""What each scheduling cycle saw and decided, and how the platform was at each minute and day."""

from typing import TYPE_CHECKING

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from accounts.audit.triggers import trail
from clusters.models import Cluster
from orgs.models import Organization


class SchedulingCycle(models.Model):
    """One cycle of one organization; durations in microseconds.

    `record` is what it saw and decided, when it decided anything, as `scheduling.cycle.recording`
    packs it.
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
    suspended = models.PositiveIntegerField(
        "preemption suspended for", default=0, db_column="set_aside"
    )
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


class Usage(models.Model):
    """Room at a moment: what there is, what is used, and what is held for who is to start.

    Room is used by placed deployments that may have a container. Held is what placed ones wait for,
    as others' containers are still there, and what is kept free for one that waits long.
    """

    cpu_milli = models.BigIntegerField()
    ram_mib = models.BigIntegerField()
    gpu = models.BigIntegerField()
    used_cpu_milli = models.BigIntegerField()
    used_ram_mib = models.BigIntegerField()
    used_gpu = models.BigIntegerField()
    held_cpu_milli = models.BigIntegerField()
    held_ram_mib = models.BigIntegerField()
    held_gpu = models.BigIntegerField()

    class Meta:
        abstract = True


class ClusterSample(Usage):
    """One cluster at one minute."""

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="samples")
    time = models.DateTimeField()

    if TYPE_CHECKING:
        cluster_id: int

    class Meta:
        ordering = ["time"]
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["cluster", "time"], name="cluster_sample_unique")
        ]
        indexes = [models.Index(fields=["time"], name="cluster_sample_time")]


class Counts(models.Model):
    """What happened in a span of time. `waits` is a histogram, as `histogram` divides it."""

    placed = models.PositiveIntegerField(default=0)
    evicted = models.PositiveIntegerField(default=0)
    moved = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    ended = models.PositiveIntegerField(default=0)
    suspended = models.PositiveIntegerField(default=0, db_column="thrashed")
    cycles = models.PositiveIntegerField(default=0)
    cycle_us = models.PositiveBigIntegerField(default=0)
    slowest_cycle_us = models.PositiveIntegerField(default=0)
    waits = ArrayField(models.PositiveIntegerField(), default=list)

    class Meta:
        abstract = True


class Sample(Usage, Counts):
    """All clusters together, and the queue, at one minute; the counts are of the minute before it.

    What nobody can know afterwards is null where the minute was filled in later. `ready` counts
    those that may be placed, by priority. `suspects` are ready ones for which lower ones could make
    room: by id their revision, and since when (seconds); `inverted` counts those of them that no
    cycle has served in time, `overlooked` those for which there even is free room. `packed` and
    `packable` are sums over the organizations where somebody waits, of the share of the scarcest
    resource that is used, and that could be. `reserved` is, by cluster, what is held there for one
    that waits long, whether it is free yet or not.
    """

    time = models.DateTimeField(unique=True)
    ready = models.JSONField(null=True)
    held_back = models.PositiveIntegerField(null=True)
    delayed = models.PositiveIntegerField(null=True)
    dependent = models.PositiveIntegerField(null=True)
    starving = models.PositiveIntegerField(null=True)
    longest_wait_s = models.PositiveIntegerField(null=True)
    inverted = models.PositiveIntegerField(null=True)
    overlooked = models.PositiveIntegerField(null=True)
    packed = models.FloatField(null=True)
    packable = models.FloatField(null=True)
    suspects = models.JSONField(default=dict)
    reserved = models.JSONField(default=dict, db_default={})

    class Meta:
        ordering = ["time"]
        default_permissions = ("view",)


class Day(Counts):
    """A day in UTC: how well the scheduler did.

    `inverted` and `overlooked` count deployments times minutes. `work` and `lost` are run time
    times the share of its cluster that was taken, in seconds; what is lost came after the last
    checkpoint of a run that was given up.
    """

    date = models.DateField(unique=True)
    minutes = models.PositiveIntegerField()
    submitted = models.PositiveIntegerField()
    ran = models.PositiveIntegerField()
    inverted = models.PositiveIntegerField()
    overlooked = models.PositiveIntegerField()
    packed = models.FloatField()
    packable = models.FloatField()
    work = models.FloatField()
    lost = models.FloatField()

    class Meta:
        ordering = ["date"]
        default_permissions = ("view",)


class Pulse(models.Model):
    """When a process of the product was last seen at work: `beat`, or a worker by its name.

    By the database's clock; `ahead_s` is how far its own was ahead of that then.
    """

    name = models.CharField(max_length=200, unique=True)
    time = models.DateTimeField()
    ahead_s = models.FloatField(default=0, db_default=0)

    class Meta:
        ordering = ["name"]
        default_permissions = ("view",)


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
