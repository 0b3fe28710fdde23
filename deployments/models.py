"""Demand: deployments and their dependencies.

Django finds the other models of the app by the imports here.
"""

from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Exists, F, OuterRef, Q, Subquery
from django.db.models.functions import Greatest
from django.utils import timezone

from accounts.audit.triggers import trail, trail_of_requests
from clusters.models import Cluster, Node
from clusters.resources import MAX_RAM_MIB, ResourceColumns
from clusters.triggers import nodes_follow_clusters
from deployments.arrays.models import Array as Array
from deployments.changes import ChangeLimit as ChangeLimit
from deployments.changes import DeploymentChange as DeploymentChange
from deployments.changes import log_of_dependencies, log_of_deployments
from deployments.choices import (
    ACTIVE,
    ENDED,
    LIVE,
    OCCUPYING,
    SATISFYING,
    Condition,
    OnDependencyFailure,
    RestartPolicy,
    Status,
)
from deployments.logs.models import RunOutput as _RunOutput  # noqa: F401
from deployments.notices.models import Notice as Notice
from deployments.notices.models import NoticeCount as NoticeCount
from deployments.notices.models import NoticeCursor as NoticeCursor
from deployments.notices.models import NoticeMessage as NoticeMessage
from deployments.notices.models import NoticeRecipient as NoticeRecipient
from deployments.notices.models import NoticeRule as NoticeRule
from deployments.registries.models import Registry as Registry
from deployments.runtime.models import AbandonedContainer as _AbandonedContainer  # noqa: F401
from deployments.runtime.models import Run
from deployments.wait_codes import ARRAY_LIMIT, NEVER
from hypervisor.base.names import NameField
from orgs.models import Membership, Organization
from orgs.tenancy import TenantQuerySet


class DeploymentQuerySet(TenantQuerySet["Deployment"]):
    def pending(self) -> "DeploymentQuerySet":
        return self.filter(status=Status.PENDING)

    def of_departed(self, departed: bool = True) -> "DeploymentQuerySet":
        """Deployments whose submitter has left the organization; with False, all others."""
        members = Membership.objects.filter(
            organization=OuterRef("organization"), user=OuterRef("created_by")
        )
        return self.filter(~Exists(members) if departed else Exists(members))

    def live(self) -> "DeploymentQuerySet":
        """Deployments that have not ended, by the statuses that the index of these rows names."""
        return self.filter(status__in=LIVE)

    def active(self) -> "DeploymentQuerySet":
        """Deployments that are placed: their requests are allocated on their clusters."""
        return self.filter(status__in=ACTIVE)

    def ready(self, now: datetime) -> "DeploymentQuerySet":
        """Deployments that may be placed: pending, not held, not in back-off, dependencies met.

        The limits of arrays are not considered, see `within_limits`.
        """
        return self.filter(_ready(now))

    def within_limits(self) -> "DeploymentQuerySet":
        """All but those that their arrays' limits kept from competing in the last cycle."""
        return self.exclude(status_code=ARRAY_LIMIT)

    def starved(self, limit: datetime) -> "DeploymentQuerySet":
        """Ready deployments whose present wait began before `limit`, the longest wait first.

        An eviction or a back-off begins the wait anew: `waits_since`.
        """
        evictions = Run.objects.filter(deployment=OuterRef("pk"), outcome=Run.Outcome.EVICTED)
        evicted_at = evictions.order_by("-released_at").values("released_at")[:1]
        return (
            self.ready(limit)
            .within_limits()
            .filter(queued_at__lt=limit)
            .annotate(waits_since=Greatest("queued_at", "ready_after", Subquery(evicted_at)))
            .filter(waits_since__lt=limit)
            .order_by("waits_since", "pk")
        )

    def unsatisfiable(self) -> "DeploymentQuerySet":
        """Pending deployments to cancel, because a dependency has ended without satisfying them."""
        failed = Dependency.objects.unmet().filter(deployment=OuterRef("pk"), on__status__in=ENDED)
        return self.pending().filter(
            Exists(failed), on_dependency_failure=OnDependencyFailure.CANCEL
        )

    def active_or_competing(self) -> "DeploymentQuerySet":
        """Deployments that a plan covers once their back-off is over: active or pending."""
        return self.filter(Q(status__in=ACTIVE) | _competing())


def _ready(now: datetime) -> Q:
    return _competing() & (Q(ready_after=None) | Q(ready_after__lte=now))


def _competing() -> Q:
    unmet = Dependency.objects.unmet().filter(deployment=OuterRef("pk"))
    return Q(~Exists(unmet), status=Status.PENDING, held=False)


class Deployment(ResourceColumns):
    """A container to run, the resources that it requests, and its state.

    - `revision` grows with every change that a plan depends on: a plan made on an older revision is
      made again. Decisions about a container are guarded by its run instead.
    - `status_code` is the machine-readable form of `status_reason`.
    - `ready_after` is when the back-off after an eviction or a failure ends.
    - `restarts` counts the restarts after failures of its own since it last ran for long enough.
    - `placed_at` is when the present placement began, `started_at` when the container of that
      placement began; `checkpoint_at` is the latest checkpoint of that placement.
    - Until `suspended_until`, preemption is suspended for it because earlier preemptions were in
      vain. A change of its priority or a release lifts the suspension.
    - `env` has a text per variable, or `{"secret": encrypted}`.
    - `run_as` is `{"uid": …, "gid": … or null}`, or null for the image's own user.
    - `labels` are for people and programs to find it by; `require` and `prefer` have conditions on
      the labels of its node, see `requirements`.
    """

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="deployments", db_index=False
    )
    name = NameField(max_length=200)
    labels = models.JSONField(default=dict, db_default={}, blank=True)
    image = models.CharField(max_length=500)
    command = models.JSONField(default=list, blank=True)
    env = models.JSONField(default=dict, blank=True)
    priority = models.PositiveSmallIntegerField(
        default=50, validators=[MinValueValidator(1), MaxValueValidator(100)]
    )
    preemptible = models.BooleanField(
        default=True, help_text="Unticked: no preemptor may evict it, whatever their priorities."
    )
    requested_cluster = models.ForeignKey(
        Cluster,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="requested_by",
        db_index=False,
    )
    run_as = models.JSONField(null=True, blank=True)
    ephemeral_storage_mib = models.PositiveBigIntegerField(
        "Ephemeral storage (MiB)",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_RAM_MIB)],
    )
    require = models.JSONField(default=dict, db_default={}, blank=True)
    prefer = models.JSONField(default=dict, db_default={}, blank=True)
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
    array = models.ForeignKey(
        Array,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="elements",
        db_index=False,
    )
    array_index = models.PositiveIntegerField(null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)

    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PENDING)
    status_reason = models.TextField(blank=True, default="")
    status_code = models.CharField(max_length=40, blank=True, default="", db_default="")
    held = models.BooleanField(default=False)
    cluster = models.ForeignKey(
        Cluster,
        on_delete=models.RESTRICT,
        null=True,
        blank=True,
        related_name="deployments",
        db_index=False,
    )
    node = models.ForeignKey(
        Node,
        on_delete=models.RESTRICT,
        null=True,
        blank=True,
        related_name="deployments",
        db_index=False,
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
        node_id: int | None
        requested_cluster_id: int | None
        array_id: int | None
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
                "name", "labels", "image", "command", "cpu_milli", "ram_mib", "gpu", "priority",
                "preemptible", "requested_cluster_id", "require", "prefer", "run_as",
                "ephemeral_storage_mib",
                "on_dependency_failure", "max_runtime_s", "restart_policy", "max_restarts", "held",
                secrets=("env",), inserts=False,
            ),
            # The planner decides on placements, even in a cycle that a person requested.
            trail_of_requests(
                "status", "cluster_id", "node_id",
                when="NOT (OLD.status = 'pending' AND NEW.status = 'starting')",
            ),
            *nodes_follow_clusters(inserts=False),
            *log_of_deployments(),
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
            models.Index(
                fields=["cluster"], condition=Q(cluster__isnull=False), name="deployment_on_cluster"
            ),
            models.Index(
                fields=["node"], condition=Q(node__isnull=False), name="deployment_on_node"
            ),
            models.Index(
                fields=["requested_cluster"],
                condition=Q(requested_cluster__isnull=False),
                name="deployment_for_cluster",
            ),
            models.Index(
                fields=["array", "status"],
                condition=Q(array__isnull=False),
                name="deployment_of_array",
            ),
            models.Index(
                fields=["organization", "created_by", "-finished_at"],
                condition=Q(finished_at__isnull=False, started_at__isnull=False),
                name="deployment_run_times",
            ),
            models.Index(
                fields=["organization", "id"],
                condition=Q(status="pending", status_code__in=NEVER),
                name="deployment_never_starts",
            ),
            GinIndex(fields=["labels"], condition=~Q(labels={}), name="deployment_labels"),
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

    @property
    def lost_contact_at(self) -> datetime | None:
        """Since when the engine that it runs on has not answered, None while it answers."""
        connection = self.cluster.connection_of(self.node_id) if self.cluster else None
        return connection.lost_contact_at if connection else None


class DependencyQuerySet(models.QuerySet["Dependency"]):
    def unmet(self) -> "DependencyQuerySet":
        met = Q()
        for condition, statuses in SATISFYING.items():
            met |= Q(condition=condition, on__status__in=statuses)
        return self.exclude(met)


class Dependency(models.Model):
    """`deployment` waits until `on` satisfies `condition`."""

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
        triggers = log_of_dependencies()
        constraints = [
            models.UniqueConstraint(fields=["deployment", "on"], name="dependency_unique"),
            models.CheckConstraint(condition=~Q(deployment=F("on")), name="dependency_not_self"),
        ]

    def __str__(self) -> str:
        return f"deployment {self.deployment_id} waits for {self.on_id} ({self.condition})"
