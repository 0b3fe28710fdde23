"""Demand: deployments, what they wait for, and their attempts to run."""

import uuid
from datetime import datetime
from typing import TYPE_CHECKING

import pgtrigger
from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from accounts.audit.triggers import trail, trail_of_requests
from clusters.drivers.base import uid_by_run
from clusters.models import Cluster
from clusters.resources import ResourceColumns
from hypervisor.base.locks import LockingQuerySet
from hypervisor.base.names import NameField
from orgs.models import Membership, Organization
from orgs.tenancy import TenantQuerySet


class Status(models.TextChoices):
    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    CANCELLED = "cancelled"


ACTIVE = (Status.STARTING, Status.RUNNING)
"""The request of such a deployment counts against its cluster's capacity."""

OCCUPYING = (*ACTIVE, Status.STOPPING)
"""The container of such a deployment may still be on its cluster."""

ENDED = (Status.COMPLETED, Status.FAILED, Status.STOPPED, Status.CANCELLED)
LIVE = tuple(status for status in Status if status not in ENDED)


class Condition(models.TextChoices):
    COMPLETED = "completed"
    RUNNING = "running"


class OnDependencyFailure(models.TextChoices):
    """What becomes of one that waits for what has ended and does not satisfy it."""

    WAIT = "wait"
    CANCEL = "cancel"


class RestartPolicy(models.TextChoices):
    """Whether one that fails by itself is queued again."""

    NEVER = "never"
    ON_FAILURE = "on-failure"


SATISFYING = {
    Condition.COMPLETED: (Status.COMPLETED,),
    Condition.RUNNING: (Status.RUNNING, Status.COMPLETED),
}
"""The statuses of a dependency in which each condition holds."""


class DeploymentQuerySet(TenantQuerySet["Deployment"]):
    def pending(self) -> "DeploymentQuerySet":
        return self.filter(status=Status.PENDING)

    def of_departed(self, departed: bool = True) -> "DeploymentQuerySet":
        """Those whose submitter is no member of their organization any more, or the others."""
        members = Membership.objects.filter(
            organization=OuterRef("organization"), user=OuterRef("created_by")
        )
        return self.filter(~Exists(members) if departed else Exists(members))

    def active(self) -> "DeploymentQuerySet":
        """Those whose requests count against their clusters."""
        return self.filter(status__in=ACTIVE)

    def ready(self, now: datetime) -> "DeploymentQuerySet":
        """Those that the scheduler may place: not held, not in back-off, nothing to wait for."""
        return self.filter(_ready(now))

    def hopeless(self) -> "DeploymentQuerySet":
        """Those to be cancelled, as what they wait for has ended otherwise."""
        failed = Dependency.objects.unmet().filter(deployment=OuterRef("pk"), on__status__in=ENDED)
        return self.pending().filter(
            Exists(failed), on_dependency_failure=OnDependencyFailure.CANCEL
        )

    def active_or_ready(self, now: datetime) -> "DeploymentQuerySet":
        """All that a plan is about, in one statement, so that none is seen as both or neither."""
        return self.filter(Q(status__in=ACTIVE) | _ready(now)).order_by("pk")


def _ready(now: datetime) -> Q:
    unmet = Dependency.objects.unmet().filter(deployment=OuterRef("pk"))
    over = Q(ready_after=None) | Q(ready_after__lte=now)
    return Q(~Exists(unmet), over, status=Status.PENDING, held=False)


class Deployment(ResourceColumns):
    """What somebody wants to run.

    `revision` grows with every change that a plan depends on: a plan made on an older one is made
    again. What is decided about a container depends on its run instead.
    `status_code` is `status_reason` for programs. `ready_after` is when the back-off after an
    eviction or a failure ends; `restarts` counts the failures of its own that it was queued again
    after, since it last ran well for long. `placed_at` and `checkpoint_at` belong to the present
    placement. Until `suspended_until`
    preemption is suspended for it, because earlier preemptions led to nothing.
    `env` holds plain texts, and `{"secret": encrypted}` for what nobody is to read.
    """

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="deployments"
    )
    name = NameField(max_length=200)
    image = models.CharField(max_length=500)
    command = models.JSONField(default=list, blank=True)
    env = models.JSONField(default=dict, blank=True)
    priority = models.PositiveSmallIntegerField(
        default=50, validators=[MinValueValidator(1), MaxValueValidator(100)]
    )
    preemptible = models.BooleanField(
        default=True, help_text="Unticked: nothing takes its room, whatever its priority."
    )
    requested_cluster = models.ForeignKey(
        Cluster, on_delete=models.SET_NULL, null=True, blank=True, related_name="requested_by"
    )
    on_dependency_failure = models.CharField(
        max_length=6, choices=OnDependencyFailure.choices, default=OnDependencyFailure.WAIT
    )
    max_runtime_s = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)]
    )
    restart_policy = models.CharField(
        max_length=10,
        choices=RestartPolicy.choices,
        default=RestartPolicy.NEVER,
        db_default=RestartPolicy.NEVER,
    )
    max_restarts = models.PositiveIntegerField(default=3, db_default=3)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)

    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PENDING)
    status_reason = models.TextField(blank=True, default="")
    status_code = models.CharField(max_length=40, blank=True, default="", db_default="")
    held = models.BooleanField(default=False)
    cluster = models.ForeignKey(
        Cluster, on_delete=models.RESTRICT, null=True, blank=True, related_name="deployments"
    )
    preemptions = models.PositiveIntegerField(default=0)
    restarts = models.PositiveIntegerField(default=0, db_default=0)
    exit_code = models.IntegerField(null=True, blank=True)
    queued_at = models.DateTimeField(default=timezone.now)
    ready_after = models.DateTimeField(null=True, blank=True)
    suspended_until = models.DateTimeField(null=True, blank=True, db_column="set_aside_until")
    placed_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    checkpoint_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    revision = models.PositiveBigIntegerField(default=1)

    objects = DeploymentQuerySet.as_manager()

    if TYPE_CHECKING:
        organization_id: int
        cluster_id: int | None
        requested_cluster_id: int | None
        created_by_id: int | None

    class Meta:
        ordering = ["-id"]
        permissions = [
            ("hold_deployment", "Can hold and release deployments"),
            ("reprioritize_deployment", "Can change the priority of deployments"),
            ("preempt_deployment", "Can preempt, requeue and move deployments"),
            ("stop_deployment", "Can stop and cancel deployments"),
            ("start_deployment", "Can queue ended deployments again"),
        ]
        triggers = [
            *trail(
                "name", "image", "command", "cpu_milli", "ram_mib", "gpu", "priority",
                "preemptible", "requested_cluster_id", "on_dependency_failure", "max_runtime_s",
                "restart_policy", "max_restarts", "held", secrets=("env",), inserts=False,
            ),
            # Placing is the planner's, whoever asked for the cycle.
            trail_of_requests(
                "status", "cluster_id",
                when="NOT (OLD.status = 'pending' AND NEW.status = 'starting')",
            ),
        ]  # fmt: skip
        indexes = [
            models.Index(
                fields=["organization", "status"],
                condition=Q(status__in=["pending", "starting", "running", "stopping"]),
                name="deployment_live",
            ),
            models.Index(fields=["organization", "-id"], name="deployment_newest"),
            models.Index(fields=["created_at"], name="deployment_created"),
            models.Index(
                fields=["priority", "held", "ready_after"],
                condition=Q(status="pending"),
                name="deployment_pending",
            ),
            models.Index(
                fields=["created_by"],
                condition=Q(status="pending"),
                name="deployment_pending_of_user",
            ),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=Status.values), name="status_known"),
            models.CheckConstraint(
                condition=Q(status__in=OCCUPYING, cluster__isnull=False)
                | (~Q(status__in=OCCUPYING) & Q(cluster__isnull=True)),
                name="placed_exactly_while_occupying",
            ),
            models.CheckConstraint(
                condition=Q(status__in=ENDED, finished_at__isnull=False)
                | (~Q(status__in=ENDED) & Q(finished_at__isnull=True)),
                name="finished_exactly_when_ended",
            ),
            models.CheckConstraint(
                condition=Q(priority__gte=1, priority__lte=100), name="priority_range"
            ),
            models.CheckConstraint(
                condition=Q(restart_policy__in=RestartPolicy.values), name="restart_policy_known"
            ),
            models.CheckConstraint(
                condition=Q(cpu_milli__gte=1, ram_mib__gte=1, gpu__gte=0), name="request_positive"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} (deployment {self.pk})"


class DependencyQuerySet(models.QuerySet["Dependency"]):
    def unmet(self) -> "DependencyQuerySet":
        met = Q()
        for condition, statuses in SATISFYING.items():
            met |= Q(condition=condition, on__status__in=statuses)
        return self.exclude(met)


class Dependency(models.Model):
    """`deployment` waits until `on` is as `condition` says."""

    deployment = models.ForeignKey(
        Deployment, on_delete=models.CASCADE, related_name="dependencies"
    )
    on = models.ForeignKey(Deployment, on_delete=models.RESTRICT, related_name="dependents")
    condition = models.CharField(
        max_length=10, choices=Condition.choices, default=Condition.COMPLETED
    )

    objects = DependencyQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "dependencies"
        constraints = [
            models.UniqueConstraint(fields=["deployment", "on"], name="dependency_unique"),
            models.CheckConstraint(condition=~Q(deployment=F("on")), name="dependency_not_self"),
        ]

    def __str__(self) -> str:
        return f"deployment {self.deployment_id} waits for {self.on_id} ({self.condition})"


class RunQuerySet(LockingQuerySet["Run"]):
    def current(self) -> "RunQuerySet":
        """The runs whose room is taken: one for each active deployment."""
        return self.filter(released_at=None)

    def unfinished(self) -> "RunQuerySet":
        """The runs that have, or may have, or are to have, a container."""
        return self.filter(ended_at=None)

    def launched_ever(self) -> "RunQuerySet":
        """The runs for which a container was ever asked for, even if the engine refused."""
        return self.exclude(launched_at=None, container_uid=None)

    def launched(self) -> "RunQuerySet":
        """The runs that had, or may have had, a container."""
        return self.exclude(launched_at=None)


class Run(ResourceColumns):
    """One attempt: where, when, and how it ended.

    From `placed_at` to `released_at` it counts in the ledger; from `launched_at` to `ended_at` it
    may have a container, the one that is known by `container_uid` and was first asked to stop at
    `stop_requested_at`. Its request is the one it was placed with; `devices` are the ids of the
    GPUs that its container was given, on engines where we choose them.
    """

    class Outcome(models.TextChoices):
        COMPLETED = "completed"
        FAILED = "failed"
        STOPPED = "stopped"
        EVICTED = "evicted"
        MOVED = "moved"
        REQUEUED = "requeued"

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="runs")
    cluster = models.ForeignKey(Cluster, on_delete=models.SET_NULL, null=True, related_name="runs")
    placed_at = models.DateTimeField()
    launched_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    released_at = models.DateTimeField(null=True, blank=True)
    stop_requested_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=10, choices=Outcome.choices, blank=True, default="")
    exit_code = models.IntegerField(null=True, blank=True)
    devices = models.JSONField(default=list, db_default=[], blank=True)
    container_uid = models.UUIDField(null=True, blank=True, unique=True, editable=False)
    preempted_by = models.ForeignKey(
        Deployment,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="preempted_runs",
        db_constraint=False,
    )

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        triggers = [
            # However a run goes: with its deployment, its organization, by a line of SQL.
            pgtrigger.Trigger(
                name="remember_container",
                when=pgtrigger.After,
                operation=pgtrigger.Delete,
                condition=pgtrigger.Condition(
                    "OLD.cluster_id IS NOT NULL"
                    " AND (OLD.launched_at IS NOT NULL OR OLD.container_uid IS NOT NULL)"
                ),
                func="""
                    INSERT INTO deployments_abandonedcontainer (uid, cluster_id, run_id, since)
                    SELECT coalesce(OLD.container_uid, lpad(to_hex(OLD.id), 32, '0')::uuid),
                           OLD.cluster_id, OLD.id, clock_timestamp()
                    FROM clusters_cluster WHERE id = OLD.cluster_id
                    ON CONFLICT DO NOTHING;
                    RETURN NULL;
                """,
            ),
        ]
        indexes = [
            models.Index(fields=["cluster"], condition=Q(ended_at=None), name="run_unfinished"),
            models.Index(
                fields=["released_at"],
                condition=Q(outcome__in=["evicted", "moved"]),
                name="run_lost_place",
            ),
            models.Index(fields=["placed_at"], name="run_placed"),
            models.Index(fields=["released_at"], name="run_released"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["deployment"], condition=Q(released_at=None), name="run_current_unique"
            ),
            models.CheckConstraint(
                condition=Q(ended_at=None) | Q(released_at__isnull=False),
                name="run_released_before_ended",
            ),
            models.CheckConstraint(
                condition=Q(released_at=None, outcome="")
                | (Q(released_at__isnull=False) & ~Q(outcome="")),
                name="run_outcome_once_released",
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.pk} of deployment {self.deployment_id}"

    @property
    def container(self) -> uuid.UUID | None:
        """By which uid its container is known; None while none was ever asked for."""
        if self.launched_at is None:
            return None
        return self.container_uid or uid_by_run(self.pk)

    def uid_to_launch(self) -> uuid.UUID:
        """Return the uid for its container: the same at every try, and new at the first."""
        return self.container_uid or self.container or uuid.uuid4()


class AbandonedContainer(models.Model):
    """A container that may still be on its cluster's engine and belongs to no run any more.

    Its run was deleted, which a trigger notes, or an operator gave it up. It is removed when it is
    seen, and forgotten once the engine has been seen without it.
    """

    uid = models.UUIDField(primary_key=True)
    cluster = models.ForeignKey(
        Cluster, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    run_id = models.BigIntegerField()
    since = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["since"]

    def __str__(self) -> str:
        return f"container of run {self.run_id}"


class RunOutput(models.Model):
    """What an ended run's container wrote: its last part, kept when the container went.

    `dropped` says that there was more before it.
    """

    run = models.OneToOneField(Run, on_delete=models.CASCADE, related_name="output")
    text = models.BinaryField()
    dropped = models.BooleanField(default=False)
    kept_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"output of run {self.run_id}"
