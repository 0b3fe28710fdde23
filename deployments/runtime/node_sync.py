"""Keep the ledger in agreement with the nodes that an engine reports."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import structlog
from django.db import transaction
from django.db.models import Q

from clusters import engine_nodes
from clusters.capacity import Capacity
from clusters.drivers.base import (
    Cause,
    Driver,
    DriverError,
    NodeReport,
    NodeState,
    Observation,
)
from clusters.engines import Engine
from clusters.models import Cluster, Node
from clusters.places import Places
from clusters.wakeups import request_cycle
from deployments import lifecycle
from deployments.lifecycle import Change, transition
from deployments.models import Deployment
from deployments.runtime import closing
from deployments.runtime.known import KnownRun
from deployments.runtime.lost_contact import ACTOR, BLOCKED
from deployments.runtime.models import Run

log = structlog.get_logger(__name__)


def sync(engine: Engine, driver: Driver, now: datetime) -> bool:
    """Update the cluster's nodes from its engine; return whether they are those of the engine.

    Deployments that have not been launched are queued again if their node no longer takes them. If
    the engine reported its nodes before and does not any more, the last reports stay, and the
    connection has a warning. Raises DriverError if the engine does not answer at all.
    """
    cluster = engine.cluster
    if not cluster.kind.reports_nodes:
        return False
    reports: Sequence[NodeReport] | None = None
    warnings: Sequence[str]
    try:
        reports, warnings = driver.nodes(), driver.warnings()
    except DriverError as error:
        if error.cause is Cause.UNREACHABLE:
            raise
        # Containers are reconciled all the same.
        log.warning("nodes_not_reported", cluster=cluster.pk, error=str(error))
        warnings = [f"The nodes could not be read, and are kept as last reported: {error}"]
    if reports is not None:
        if engine.connection and engine.connection.is_blocked:
            reports = [replace(r, state=NodeState.LOST, message=BLOCKED) for r in reports]
        contested = engine_nodes.sync(cluster, reports, actor=ACTOR, now=now)
        warnings = [*warnings, *contested]
        _requeue_unlaunched(cluster, now)
    return engine_nodes.warn(cluster, warnings)


def follow(cluster: Cluster, runs: Sequence[KnownRun], seen: Mapping[int, Observation]) -> None:
    """Record the node of each container that is on another one than its run.

    This is so for containers from before the engine reported its nodes.
    """
    there = dict(cluster.nodes.values_list("name", "pk"))
    strayed = [
        (run, there[observed.node])
        for run in runs
        if (observed := seen.get(run.pk)) and there.get(observed.node, run.node_id) != run.node_id
    ]
    if not strayed:
        return
    with transaction.atomic():
        Cluster.objects.get_locked(cluster.pk)
        for run, node in strayed:
            current = Q(pk=run.deployment_id, cluster=cluster, node=run.node_id)
            Deployment.objects.filter(current).update(node=node)
            Run.objects.filter(pk=run.pk).update(node=node)
            run.node_id = node
        request_cycle(cluster.organization_id)


def learn(
    engine: Engine, driver: Driver, runs: Iterable[Run], seen: Mapping[int, Observation],
    now: datetime,
) -> None:  # fmt: skip
    """Correct the nodes that refused containers of these runs, which should have fitted.

    Called before the runs are released, so that no cycle places them there again in between.
    """
    refused = [run for run in runs if seen[run.pk].cause is Cause.NODE_REFUSED]
    if not (refused and sync(engine, driver, now)):
        return
    for run in refused:
        node = engine.cluster.nodes.with_allocated().filter(runs=run).first()
        # What does not fit by the engine's reports is not placed there again anyway.
        if node and Capacity.of(node).holds(Capacity.allocated_on(node)):
            observed = seen[run.pk]
            limits = _limits(run, observed.lacks)
            engine_nodes.refused(node, observed.message, limits=limits, actor=ACTOR, now=now)


def _limits(run: Run, lacks: Iterable[str]) -> dict[str, int]:
    """Return what the node has at most of each dimension that the run lacks there."""
    others = Run.objects.current().launched().filter(node=run.node_id).exclude(pk=run.pk)
    there = Capacity.total(Capacity.of(other) for other in others)
    return {name: getattr(there, name) + getattr(run, name) - 1 for name in lacks}


def _requeue_unlaunched(cluster: Cluster, now: datetime) -> None:
    """Queue deployments again that have no container yet, and whose node does not take them."""
    unlaunched = Run.objects.current().filter(cluster=cluster, launched_at=None)
    nodes = cluster.nodes.with_allocated().filter(pk__in=unlaunched.values("node"))
    changes: list[Change] = []
    for node in nodes:
        changes += [_requeued(run, node) for run in _misplaced(node)]
    if not changes:
        return
    transition(lifecycle.REQUEUE, changes, actor=ACTOR, now=now)
    closing.close([change.run for change in changes if change.run], actor=ACTOR, now=now)
    request_cycle(cluster.organization_id)


def _misplaced(node: Node) -> list[Run]:
    """Return the unlaunched runs that the node does not take, the least important first."""
    runs = Run.objects.current().filter(node=node, launched_at=None).select_related("deployment")
    if node.engine_state != NodeState.ACTIVE:
        return list(runs)
    excess, misplaced = Capacity.allocated_on(node), []
    for run in sorted(runs, key=lambda run: (run.deployment.priority, -run.pk)):
        if Capacity.of(node).holds(excess):
            break
        excess -= Capacity.of(run)
        misplaced.append(run)
    return misplaced


def _requeued(run: Run, node: Node) -> Change:
    why = node.engine_message or f"it has only {Capacity.of(node)} now."
    place = Places.of_nodes([node]).of_node(node)
    reason = f"{place} does not take it any more: {why} It waits to be placed again."
    data = {"code": Cause.NODE_REFUSED, "cluster": run.cluster_id, "run": run.pk}
    return Change(run.deployment_id, reason, run=run.pk, data=data)
