"""Records of scheduling cycles, samples of each minute and day, totals, and heartbeats."""

from typing import TYPE_CHECKING

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from accounts.audit.triggers import trail
from clusters.models import Cluster
from orgs.models import Organization


class SchedulingCycle(models.Model):
    """One cycle of one organization; durations in microseconds.

    `record` is the cycle's snapshot and decisions, packed by `scheduling.cycle.recording`, or null
    if it decided nothing. `idle` is, by cluster, the amounts that reservations keep idle from this
    cycle until the next one (`scheduling.planner.reserved.idle`).
    """

    class Trigger(models.TextChoices):
        CHANGE = "change"
        INTERVAL = "interval"
        MANUAL = "manual"

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="cycles", db_index=False
    )
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
    idle = models.JSONField(default=dict, db_default={})

    class Meta:
        ordering = ["-id"]
        permissions = [("run_schedulingcycle", "Can run scheduling cycles")]
        indexes = [
            models.Index(fields=["organization", "-id"], name="cycle_newest"),
            models.Index(fields=["started_at"], name="cycle_started"),
        ]

    def __str__(self) -> str:
        return f"cycle {self.pk}"


class BackgroundCycles(models.Model):
    """An organization whose cycles run in the background until then (`scheduling.cycle.lanes`).

    `seconds` is how long the latest long cycle took. `failures` counts the cycles that failed since
    `failing_since` without one that succeeded; `error` is why the last one failed.
    """

    # Without a constraint, because this is written while the organization may be locked.
    organization = models.OneToOneField(
        Organization, on_delete=models.CASCADE, primary_key=True, db_constraint=False,
        related_name="+",
    )  # fmt: skip
    until = models.DateTimeField()
    seconds = models.FloatField(default=0)
    failures = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True)
    retry_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=200, default="")

    class Meta:
        ordering = ["pk"]
        default_permissions = ("view",)


class Usage(models.Model):
    """Capacity at a moment, and how much of it is allocated (`used_`) and reserved (`held_`).

    Allocated is the request of every run that may have a container. Reserved is the request of
    placed deployments whose victims' containers still stop, and the capacity kept free for a
    deployment that has waited too long. `idle_` is how much of that capacity was kept idle
    although other deployments would have fit: the mean over the minute before.
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
    idle_cpu_milli = models.FloatField(default=0, db_default=0)
    idle_ram_mib = models.FloatField(default=0, db_default=0)
    idle_gpu = models.FloatField(default=0, db_default=0)

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
    """Counts of what happened in a span of time. `waits` is a histogram (see `histogram`)."""

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

    Columns that cannot be computed later are null where the minute was filled in afterwards.
    `ready` counts the ready deployments by priority. `suspects` are ready deployments that could
    evict lower ones or fit into free capacity: by id, their revision and since when (Unix seconds).
    `inverted` counts the suspects that no cycle placed in time by eviction, `overlooked` those for
    which there was free capacity. `packed` and `packable` are sums, over the organizations with
    pending deployments, of the share of the scarcest resource that was allocated, and that could
    have been. `reserved` is, by cluster, the amounts reserved for a deployment that has waited too
    long, free yet or not.
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
    """A day in UTC, with the figures that show how well the scheduler worked.

    `inverted` and `overlooked` count deployments times minutes. `work` and `lost` are run time
    times the share of its cluster that the run was allocated, in seconds; work is lost after the
    last checkpoint of a run that was evicted, moved or requeued, or failed. `idle` is the share of
    the capacity, 0 to 1, that reservations kept idle; null if it was not measured.
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
    idle = models.FloatField(null=True)

    class Meta:
        ordering = ["date"]
        default_permissions = ("view",)


class Total(models.Model):
    """How much of something has happened, counted since the installation had this table.

    `monitoring.totals` has the names and their labels. Without an organization, it is the total of
    the platform.
    """

    # Without a constraint, because this is written while the organization may be locked.
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, null=True, db_constraint=False, db_index=False,
        related_name="+",
    )  # fmt: skip
    name = models.CharField(max_length=20)
    label = models.CharField(max_length=20)
    value = models.FloatField()

    if TYPE_CHECKING:
        organization_id: int | None

    class Meta:
        ordering = ["pk"]
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name", "label"],
                nulls_distinct=False,
                name="total_unique",
            )
        ]


class CountedUntil(models.Model):
    """The one row says until when the totals have counted what happened."""

    time = models.DateTimeField()

    class Meta:
        ordering = ["pk"]
        default_permissions = ()


class Pulse(models.Model):
    """The latest heartbeat of a process: `beat`, or a worker by its queue and name.

    `time` is by the database's clock; `ahead_s` is how far the process's clock was ahead of it.
    """

    name = models.CharField(max_length=200, unique=True)
    time = models.DateTimeField()
    ahead_s = models.FloatField(default=0, db_default=0)

    class Meta:
        ordering = ["name"]
        default_permissions = ("view",)


class Lease(models.Model):
    """Which process does a work of which there must be one (`scheduling.monitoring.lease`)."""

    name = models.CharField(max_length=100, primary_key=True)
    holder = models.CharField(max_length=300)
    expires_at = models.DateTimeField()

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
