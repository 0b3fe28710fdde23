"""Engines that do not answer: what is reported, what waits, and how an operator ends it.

Deployments on such an engine may still run, so they stay allocated and are not started a second
time. Only three things end the uncertainty: no container was ever requested, the engine answers
again, or an operator declares that the containers are gone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Least
from django.utils import timezone

from clusters import engines, node_states
from clusters.drivers.base import Cause, DriverError
from clusters.engines import Engine
from clusters.models import Cluster, Connection, Node
from clusters.ownership import ForeignEngine
from clusters.places import Places
from clusters.wakeups import request_cycle, request_reconcile
from deployments import lifecycle
from deployments.choices import Status
from deployments.lifecycle import Change, transition, update_reasons
from deployments.models import Deployment
from deployments.runtime import closing
from deployments.runtime.closing import Remark
from deployments.runtime.models import Run, RunQuerySet
from hypervisor.base.errors import Conflict
from orgs.events import record
from orgs.models import Event

ACTOR = "system:runtime"

LOST = "lost_contact"
FOREIGN = "engine_unclaimed"
REGAINED = "contact_regained"
DECLARED = "declared_lost"

BLOCKED = "Its engine has containers that are unknown to this database."

_MAX_ERROR = 1000

log = structlog.get_logger(__name__)


def failed(engine: Engine, error: Exception, now: datetime) -> None:
    """Record that the engine did not answer; report it when contact counts as lost."""
    log.warning("engine_silent", **engine.facts, error=str(error))
    rows = Connection.objects.filter(engine.connected)
    rows.update(
        # PostgreSQL's LEAST ignores NULL. A time in the future was written by a clock that was
        # wrong.
        lost_contact_at=Least(F("lost_contact_at"), now),
        last_error=str(error)[:_MAX_ERROR],
    )
    foreign = isinstance(error, ForeignEngine)
    if foreign:
        rows.update(unclaimed=True)
    since = rows.values_list("lost_contact_at", flat=True).first()
    if since is None or not (foreign or is_lost(since, now)):
        return
    keep_node_state(engine, now)
    _report(engine, since, error, now)
    requeue_unlaunched(engine, f"No contact with {engine.where}", now)
    limit = settings.LOST_CONTACT_REQUEUE_SECONDS
    if limit and not foreign and now - since >= timedelta(seconds=limit):
        _release_all(engine, f"has not answered for {limit} seconds", ACTOR, now)


def answered(engine: Engine, now: datetime) -> None:
    """Record that the engine answers, if it did not before."""
    connection = engine.connection
    since = connection.lost_contact_at if connection else None
    if connection is None or since is None:
        return
    connection.lost_contact_at = None
    connection.unclaimed = False
    rows = Connection.objects.filter(engine.connected)
    rows.update(lost_contact_at=None, last_error="", unclaimed=False)
    # The engine may only now carry out starts that it received before contact was lost.
    unsure = Run.objects.unfinished().launched().filter(engine.placed, started_at=None)
    unsure.update(launched_at=now)
    if not _was_recorded(engine, since, LOST, FOREIGN):
        return
    seconds = int((now - since).total_seconds())
    text = f"{_whose(engine)} is in use again after {seconds} seconds."
    record(engine.cluster, REGAINED, ACTOR, text, engine.facts_within)
    _update_reasons_on(REGAINED, engine, Status.RUNNING, "running", "Runs on {}.".format, now)
    _update_reasons_on(REGAINED, engine, Status.STARTING, "placed", "Starts on {}.".format, now)
    request_cycle(engine.cluster.organization_id)


def keep_node_state(engine: Engine, now: datetime) -> None:
    """Make the engine's nodes lost or active, as its connection now says.

    An engine that reports its nodes says itself which of them are active.
    """
    connection = engine.connection
    if connection is None:
        return
    fields = ["lost_contact_at", "unclaimed", "unknown_containers", "reports_nodes"]
    connection.refresh_from_db(fields=fields)
    since = connection.lost_contact_at
    problem = ""
    if connection.unclaimed:
        problem = "Its engine has to be claimed by an operator first."
    elif connection.is_blocked:
        problem = BLOCKED
    elif since is not None and is_lost(since, now):
        problem = f"Its engine has not answered since {since:%Y-%m-%d %H:%M:%S} UTC."
    if problem or not connection.reports_nodes:
        node_states.keep_contact(engine.nodes, problem)


@contextmanager
def tolerate_failure(run_id: int) -> Iterator[None]:
    """Log an engine's failure at one container, so that the others are still dealt with.

    The next reconciliation tries again. Raises DriverError if the engine does not answer at all.
    """
    try:
        yield
    except DriverError as error:
        if error.cause is Cause.UNREACHABLE:
            raise
        log.warning("engine_failed", run=run_id, error=str(error))


def is_without_contact(connection: Connection | None, now: datetime) -> bool:
    """Whether nothing new is placed on all of a cluster's nodes because of their one engine.

    Contact with it is lost, or it must be claimed first. None stands for a cluster without such a
    connection: of nodes with an engine each, the state says so.
    """
    if connection is None:
        return False
    since = connection.lost_contact_at
    return connection.is_blocked or (since is not None and is_lost(since, now))


def is_lost(since: datetime, now: datetime) -> bool:
    """Whether an engine that has not answered since then counts as lost."""
    return now - since >= timedelta(seconds=settings.LOST_CONTACT_SECONDS)


def declaring(cluster: Cluster) -> str:
    """Return why the cluster cannot be declared lost, "" if it can."""
    there = engines.of_cluster(cluster)
    if len(there) > 1:
        return f"Cluster {cluster.name} has an engine for each node: declare a node lost instead."
    return _objection(there[0])


def declaring_node(node: Node) -> str:
    """Return why the node cannot be declared lost on its own, "" if it can."""
    # Without a query for each node, if the cluster's connections are prefetched.
    if len(node.cluster.connections.all()) < 2:
        return f"Cluster {node.cluster} has only one engine: declare the cluster lost instead."
    connection = node.cluster.connection_of(node.pk)
    if connection is None:
        return f"Node {node} has no engine."
    return _objection(Engine(node.cluster, connection))


@transaction.atomic
def declare_lost(cluster: Cluster, *, actor: str, node: str | None = None) -> Cluster:
    """Queue again all deployments on an engine that does not answer.

    `node` names the node whose engine it is; it may be omitted for the cluster's only engine.
    Only an operator can decide this, because the containers must be gone: the machine is off, or
    cut off from everything that they could harm. If the engine answers again, containers that are
    left are removed before anything starts there. Raises Conflict while the engine answers, Invalid
    if it is not clear which engine is meant.
    """
    row = Cluster.objects.get_locked(cluster.pk)
    engine = engines.named(row, node)
    if why := _objection(engine):
        raise Conflict(why)
    if engine.node:
        node_states.keep_contact([engine.node], f"It was declared lost by {actor}.")
    _release_all(engine, f"was declared lost by {actor}", actor, timezone.now())
    return row


def declare_node_lost(node: Node, *, actor: str) -> Cluster:
    """Queue again all deployments on a node whose own engine does not answer."""
    if why := declaring_node(node):
        raise Conflict(why)
    return declare_lost(node.cluster, actor=actor, node=node.name)


@transaction.atomic
def _release_all(engine: Engine, why: str, actor: str, now: datetime) -> None:
    """Release and end every run on the engine; its containers are orphans from then on."""
    reason = f"{engine.called} {why}: waits to be placed on another {engine.unit}."
    active = _changes(Run.objects.current().filter(engine.placed), reason, DECLARED)
    requeued = transition(lifecycle.REQUEUE, active, actor=actor, now=now)
    left = Run.objects.unfinished().filter(engine.placed, released_at__isnull=False)
    ended = dict(left.values_list("pk", "deployment"))
    remark = Remark(DECLARED, f"{engine.called} {why}.")
    stopped = closing.close(list(ended), actor=actor, now=now, remark=remark)
    if not (requeued or ended):
        return
    reason = (
        f"{engine.where} {why}: {len(requeued)} deployments are queued again, {len(stopped)} are"
        " stopped. Containers that are still there are removed when its engine answers again."
    )
    data = {**engine.facts_within, "requeued": sorted(requeued), "stopped": sorted(stopped)}
    record(engine.cluster, DECLARED, actor, reason, data)
    elsewhere = Run.objects.current().filter(deployment__in=ended.values()).exclude(cluster=None)
    for cluster_id in set(elsewhere.values_list("cluster", flat=True)):
        request_reconcile(cluster_id)
    request_cycle(engine.cluster.organization_id)


def _report(engine: Engine, since: datetime, error: Exception, now: datetime) -> None:
    foreign = isinstance(error, ForeignEngine)
    time = f"{since:%Y-%m-%d %H:%M:%S} UTC"
    whose = _whose(engine)
    if foreign:
        kind, reason = FOREIGN, f"{whose} has not been used since {time}: {error}"
        sentence = (
            f"The engine of {engine.where} has to be claimed by an operator first. It may still run"
            " there, so its resources stay allocated."
        )
    else:
        kind, reason = LOST, f"{whose} has not answered since {time}: {error}"
        sentence = (
            f"No contact with {engine.where} since {time}: it may still run there, so its resources"
            f" stay allocated. If its containers are gone, an operator can declare the"
            f" {engine.unit} lost."
        )
    if not _was_recorded(engine, since, kind):
        data = {**engine.facts_within, "since": since.isoformat()}
        record(engine.cluster, kind, ACTOR, reason, data)
        request_cycle(engine.cluster.organization_id)
    for status in (Status.RUNNING, Status.STARTING):
        _update_reasons_on(LOST, engine, status, LOST, lambda _: sentence, now)


def _objection(engine: Engine) -> str:
    """Return why the engine cannot be declared lost, "" if it can."""
    if engine.connection is not None and engine.connection.lost_contact_at is not None:
        return ""
    return f"The engine of {engine.unit} {engine.where} answers: drain the {engine.unit} instead."


def _whose(engine: Engine) -> str:
    """Return the words for the engine in an event of its cluster."""
    return "Its engine" if engine.unit == "cluster" else f"The engine of {engine.where}"


def _was_recorded(engine: Engine, since: datetime, *kinds: str) -> bool:
    events = Event.objects.filter(
        subject=Event.Subject.CLUSTER,
        subject_id=engine.cluster.pk,
        kind__in=kinds,
        time__gte=since,
        **({"data__node": engine.node.pk} if engine.node else {}),
    )
    return events.exists()


def requeue_unlaunched(engine: Engine, why: str, now: datetime) -> None:
    """Requeue deployments placed on the engine and never launched: these cannot run twice."""
    runs = Run.objects.current().filter(engine.placed, launched_at=None)
    reason = f"{why}, where it had not been started yet: waits to be placed again."
    changes = _changes(runs, reason, LOST)
    if transition(lifecycle.REQUEUE, changes, actor=ACTOR, now=now):
        request_cycle(engine.cluster.organization_id)
    never = Run.objects.unfinished().filter(engine.placed, launched_at=None)
    closing.close(list(never.values_list("pk", flat=True)), actor=ACTOR, now=now)


def _update_reasons_on(
    kind: str, engine: Engine, status: Status, code: str, reason: Callable[[str], str],
    now: datetime,
) -> None:  # fmt: skip
    """Write the reason of each deployment on the engine; `reason` makes it of the place's name."""
    rows = Deployment.objects.filter(engine.placed, status=status)
    if kind == REGAINED:
        rows = rows.filter(status_code=LOST)
    found = list(rows.only("cluster", "node"))
    places = Places.of_rows(found)
    data = {"code": code, **engine.facts}
    changes = [Change(row.pk, reason(places.of(row)), data=data) for row in found]
    update_reasons(kind, changes, statuses=(status,), actor=ACTOR, now=now)


def _changes(runs: RunQuerySet, reason: str, code: str) -> list[Change]:
    rows = runs.values_list("deployment", "pk", "cluster")
    return [
        Change(deployment, reason, run=run, data={"code": code, "cluster": cluster, "run": run})
        for deployment, run, cluster in rows
    ]
