"""The placements of deployments, and the containers that a deleted one may leave behind."""

import uuid

import pgtrigger
from django.db import models
from django.db.models import Q
from django.utils import timezone

from clusters.drivers.base import uid_by_run
from clusters.models import Cluster, Node
from clusters.resources import ResourceColumns
from clusters.triggers import nodes_follow_clusters
from hypervisor.base.locks import LockingQuerySet


class RunQuerySet(LockingQuerySet["Run"]):
    def current(self) -> "RunQuerySet":
        """Runs that count in the ledger: one for each active deployment."""
        return self.filter(released_at=None)

    def unfinished(self) -> "RunQuerySet":
        """Runs that have a container, may have one, or are about to get one."""
        return self.filter(ended_at=None)

    def launched_ever(self) -> "RunQuerySet":
        """Runs for which a container was requested at least once, even if the engine refused."""
        return self.exclude(launched_at=None, container_uid=None)

    def launched(self) -> "RunQuerySet":
        """Runs that have had a container, or may have had one."""
        return self.exclude(launched_at=None)


class Run(ResourceColumns):
    """One placement of a deployment: where, when, and how it ended.

    From `placed_at` to `released_at` the run counts in the ledger. From `launched_at` to `ended_at`
    it may have a container, which is found by `container_uid` and was first asked to stop at
    `stop_requested_at`. The run keeps the request that it was placed with. `devices` are the ids of
    its container's GPUs, on engines that leave the choice of GPUs to the hypervisor.
    """

    class Outcome(models.TextChoices):
        COMPLETED = "completed"
        FAILED = "failed"
        STOPPED = "stopped"
        EVICTED = "evicted"
        MOVED = "moved"
        REQUEUED = "requeued"

    deployment = models.ForeignKey(
        "deployments.Deployment", on_delete=models.CASCADE, related_name="runs"
    )
    cluster = models.ForeignKey(Cluster, on_delete=models.SET_NULL, null=True, related_name="runs")
    node = models.ForeignKey(
        Node,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="runs",
        db_index=False,
    )
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
        "deployments.Deployment",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="preempted_runs",
        db_constraint=False,
        db_index=False,
    )

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        triggers = [
            # A trigger, because a run may be deleted with its deployment, with its organization or
            # by a line of SQL.
            pgtrigger.Trigger(
                name="remember_container",
                when=pgtrigger.After,
                operation=pgtrigger.Delete,
                condition=pgtrigger.Condition(
                    "OLD.cluster_id IS NOT NULL"
                    " AND (OLD.launched_at IS NOT NULL OR OLD.container_uid IS NOT NULL)"
                ),
                func="""
                    INSERT INTO deployments_abandonedcontainer
                           (uid, cluster_id, node_id, run_id, since)
                    SELECT coalesce(OLD.container_uid, lpad(to_hex(OLD.id), 32, '0')::uuid),
                           OLD.cluster_id, OLD.node_id, OLD.id, clock_timestamp()
                    FROM clusters_cluster WHERE id = OLD.cluster_id
                    ON CONFLICT DO NOTHING;
                    RETURN NULL;
                """,
            ),
            *nodes_follow_clusters(inserts=True),
        ]
        indexes = [
            models.Index(fields=["cluster"], condition=Q(ended_at=None), name="run_unfinished"),
            models.Index(fields=["node"], condition=Q(node__isnull=False), name="run_on_node"),
            models.Index(
                fields=["preempted_by"],
                condition=Q(preempted_by__isnull=False),
                name="run_preempted_by",
            ),
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
        """The uid of its container, None if no container was ever requested."""
        if self.launched_at is None:
            return None
        return self.container_uid or uid_by_run(self.pk)


class AbandonedContainer(models.Model):
    """A container that may still be on its cluster's engine although no run owns it any more.

    A trigger adds a row when a run is deleted; `claim_engine` adds rows for unknown containers that
    it removes. The container is removed when it is seen, and the row is deleted once an observation
    of the engine no longer contains it.
    """

    uid = models.UUIDField(primary_key=True)
    cluster = models.ForeignKey(
        Cluster, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    node = models.ForeignKey(
        Node, on_delete=models.DO_NOTHING, null=True, db_constraint=False, related_name="+"
    )
    run_id = models.BigIntegerField()
    since = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["since"]

    def __str__(self) -> str:
        return f"container of run {self.run_id}"
