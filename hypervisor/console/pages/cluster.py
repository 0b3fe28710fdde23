"""The page of one cluster: its nodes, deployments, timeline, reservation and drain."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone

from clusters import node_rules
from clusters.capacity import Capacity
from clusters.engines import Engine
from clusters.models import Cluster
from clusters.places import Places
from deployments.runtime import orphans
from deployments.runtime.lost_contact import is_lost
from hypervisor.console.pages.base import TopLevelPage
from hypervisor.console.pages.queue import offered
from hypervisor.ui.data.amounts import bars
from hypervisor.ui.data.cluster_data import (
    drain_of,
    reservations_on,
    scattered_on,
    share_of,
    timeline_of,
)
from hypervisor.ui.data.nodes import nodes_of
from scheduling.insight.operator_actions import ACTIONS, Action
from scheduling.insight.organization_queue import Filters, Group
from scheduling.insight.queue import Queue
from scheduling.monitoring import idle

SPANS = {
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
}
"""The windows of the timeline."""

_OFFERED = {
    Cluster.State.ACTIVE: ("cordon", "drain", "resize"),
    Cluster.State.CORDONED: ("uncordon", "drain", "resize"),
    Cluster.State.DRAINING: ("uncordon", "cordon", "resize"),
}
_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Silence:
    """An engine that does not answer: since when, its last error, whether it counts as lost.

    `node` is the name of the node whose engine it is, "" if it is the cluster's only engine.
    """

    node: str
    since: datetime
    error: str
    lost: bool
    unclaimed: bool

    @property
    def engine(self) -> str:
        return f"the engine of {self.node}" if self.node else "its engine"

    @property
    def prefix(self) -> str:
        return f"{self.node}: " if self.node else ""

    @property
    def what(self) -> str:
        return "node" if self.node else "cluster"


@dataclass(frozen=True, slots=True)
class Strangers:
    """The containers on an engine that are unknown to the database, with the remedy."""

    where: str
    remedy: str
    containers: list[dict[str, Any]]


class ClusterPage(TopLevelPage):
    permission_required = "clusters.view_cluster"
    template_name = "console/cluster.html"
    cluster: Cluster

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        clusters = Cluster.objects.with_allocated().select_related("organization")
        rows = clusters.prefetch_related("connections__node")
        self.cluster = get_object_or_404(rows, pk=kwargs["pk"])
        self.title = f"Cluster {self.cluster.name}"
        self.breadcrumbs = [
            ("Clusters", reverse("admin:clusters_cluster_changelist")),
            (self.cluster.name, None),
        ]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        cluster, now = self.cluster, timezone.now()
        silences = _silences(cluster, now)
        queue = Queue(Filters(organization=cluster.organization_id, cluster=cluster), now)
        entries, [own] = queue.entries(Group.PLACED, 0, _SHOWN), queue.queues
        asked = self.request.GET.get("span", "")
        span = asked if asked in SPANS else "1h"
        reservations = reservations_on(cluster, own.loaded)
        names = dict(cluster.nodes.values_list("pk", "name"))
        return super().get_context_data(
            cluster=cluster,
            bars=bars(
                Capacity.of(cluster),
                Capacity.allocated_on(cluster),
                Capacity.total(reservation.amounts for reservation in reservations),
            ),
            nodes=nodes_of(cluster, reservations, self._may),
            node_count=len(names),
            node_names=names,
            silences=silences,
            unknown=_unknown(cluster),
            warnings=[text for row in cluster.connections.all() for text in row.warnings],
            drain=drain_of(cluster),
            reservations=reservations,
            scattered=scattered_on(cluster, own.loaded),
            idle=idle.share(now - idle.SPAN, now, cluster=cluster.pk),
            idle_in_all=idle.share(now - idle.SPAN, now, organization=cluster.organization_id),
            waiting=queue.length,
            timeline=timeline_of(cluster, now, SPANS[span]),
            span=span,
            spans=SPANS,
            group=Group.PLACED,
            entries=entries,
            shares={entry.deployment.pk: share_of(entry.deployment, cluster) for entry in entries},
            actions=offered(self.request, Group.PLACED),
            steps=_steps(self.request, cluster),
            cannot_add=node_rules.adding(cluster),
            caption=f"What is on {cluster.name}",
            here=self.request.get_full_path(),
            **kwargs,
        )

    def _may(self, action: Action) -> bool:
        return self.request.user.has_perm(action.permission)


def _silences(cluster: Cluster, now: datetime) -> list[Silence]:
    silent = [row for row in cluster.connections.all() if row.lost_contact_at is not None]
    places = Places.of_rows(silent)
    return [
        Silence(
            places.nodes.get(row.node_id or 0, ""),
            row.lost_contact_at,
            row.last_error,
            row.is_blocked or is_lost(row.lost_contact_at, now),
            row.unclaimed,
        )
        for row in silent
        if row.lost_contact_at is not None
    ]


def _unknown(cluster: Cluster) -> list[Strangers]:
    rows = [row for row in cluster.connections.all() if row.unknown_containers]
    places = Places.of_rows(rows)
    return [
        Strangers(places.of(row), orphans.remedy(Engine(cluster, row)), row.unknown_containers)
        for row in rows
    ]


def _steps(request: HttpRequest, cluster: Cluster) -> list[Action]:
    """Return the actions that the operator may take on the cluster in its present state."""
    names = (*_OFFERED[Cluster.State(cluster.state)], "declare_lost")
    return [
        action
        for action in map(ACTIONS.__getitem__, names)
        if request.user.has_perm(action.permission) and not action.objection(cluster)
    ]
