"""The hypervisor's containers on an engine that belong to no unfinished run.

The run of an orphan has ended or was deleted, or an operator abandoned the container: it is
removed. An unknown container has no record in this database: the database was restored or copied,
or another copy of this installation uses the engine. It is not removed; nothing starts on the
engine while it runs, and operators are notified.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db.models import Q, QuerySet
from django.utils import timezone

from clusters.drivers.base import Driver, Observation, Phase, run_by_uid
from clusters.engines import Engine
from clusters.models import Cluster, Connection, Node
from clusters.ownership import claim_command
from clusters.wakeups import request_cycle
from deployments.runtime.known import KnownRun
from deployments.runtime.lost_contact import (
    ACTOR,
    keep_node_state,
    requeue_unlaunched,
    tolerate_failure,
)
from deployments.runtime.models import AbandonedContainer, Run
from orgs.events import record
from orgs.models import Event

REMOVED = "orphan_removed"
UNKNOWN = "unknown_container"

_REMEMBERED = timedelta(hours=1)
"""How long an abandoned container is remembered: well over the time that a start may take."""

_LONGEST_SILENCE = timedelta(days=7)
"""How long an engine may be silent and still have its container of an old run recognized."""

_MOST_NAMED = 50

log = structlog.get_logger(__name__)


def matched(
    found: Iterable[Observation], runs: Iterable[Run | KnownRun]
) -> tuple[dict[int, Observation], list[Observation]]:
    """Return the containers of the runs by the run's id, and the containers of none of them."""
    owners = {uid: run.pk for run in runs if (uid := run.container)}
    present = list(found)
    seen = {owners[o.uid]: o for o in present if o.uid in owners}
    return seen, [o for o in present if o.uid not in owners]


def split(
    engine: Engine, strays: Sequence[Observation]
) -> tuple[list[Observation], list[Observation]]:
    """Divide containers without an unfinished run into orphans and unknown containers."""
    if not strays:
        return [], []
    known = _known(engine, [stray.uid for stray in strays])
    return [o for o in strays if o.uid in known], [o for o in strays if o.uid not in known]


def remove(engine: Engine, driver: Driver, orphans: list[Observation], now: datetime) -> None:
    """Kill running orphans and remove ended ones, with an event for each container."""
    for orphan in orphans:
        _record_removal(engine, orphan)
        with tolerate_failure(orphan.run_id):
            if orphan.phase is Phase.EXITED:
                driver.remove(orphan.uid)
            else:
                driver.stop(orphan.uid, 0, now)


def report(engine: Engine, unknown: Sequence[Observation]) -> None:
    """Record which containers on the engine are unknown, if that has changed."""
    connection = engine.connection
    described = [_described(o) for o in unknown[:_MOST_NAMED]]
    if connection is None or connection.unknown_containers != described:
        _record_unknown(engine, unknown)
    if connection is not None and connection.unknown_containers != described:
        connection.unknown_containers = described
        connection.save(update_fields=["unknown_containers"])
        keep_node_state(engine, timezone.now())
        request_cycle(engine.cluster.organization_id)
    if any(o.phase is not Phase.EXITED for o in unknown):
        requeue_unlaunched(engine, f"Unknown containers are on {engine.where}", timezone.now())


def forget(engine: Engine, seen: Iterable[UUID], now: datetime) -> None:
    """Delete the records of abandoned containers that the engine does not have any more."""
    rows = forgettable(now)
    if rows.filter(cluster=engine.cluster).exists():
        own = Q(cluster=engine.cluster) if engine.is_only else engine.placed
        rows.filter(own).exclude(uid__in=list(seen)).delete()


def forgettable(now: datetime) -> QuerySet[AbandonedContainer]:
    """Return the records of abandoned containers that are no longer needed once these are gone."""
    return AbandonedContainer.objects.filter(since__lt=now - _REMEMBERED)


def forget_ownerless(now: datetime) -> None:
    """Delete the records of abandoned containers that no engine's reconciliation would delete.

    Their cluster or their node was deleted, or their run ended before runs had nodes, and the
    cluster has several engines now.
    """
    rows = AbandonedContainer.objects.all()
    rows.exclude(cluster__in=Cluster.objects.all()).delete()
    rows.exclude(node=None).exclude(node__in=Node.objects.all()).delete()
    several = Connection.objects.exclude(node=None).values("cluster")
    rows.filter(node=None, cluster__in=several, since__lt=now - _LONGEST_SILENCE).delete()


def remedy(engine: Engine) -> str:
    """Return the explanation of unknown containers, with the remedy."""
    return (
        "This database has no record of it: the database was restored or copied, or another copy of"
        " this installation uses the engine. Nothing starts there until it is gone:"
        f" `{claim_command(engine)}` shows what is there and removes it."
    )


def _known(engine: Engine, uids: Sequence[UUID]) -> set[UUID]:
    by_run = {run: uid for uid in uids if (run := run_by_uid(uid)) is not None}
    unnamed = Q(pk__in=by_run, container_uid=None, cluster=engine.cluster)
    runs = Run.objects.filter(Q(container_uid__in=uids) | unnamed).launched_ever()
    abandoned = AbandonedContainer.objects.filter(uid__in=uids)
    known = set(abandoned.values_list("uid", flat=True))
    for pk, uid in runs.values_list("pk", "container_uid"):
        known.add(uid or by_run[pk])
    return known


def _described(container: Observation) -> dict[str, Any]:
    return {
        "uid": str(container.uid),
        "run": container.run_id,
        "name": container.name,
        "image": container.image,
        "command": list(container.command),
        "runs": container.phase is not Phase.EXITED,
    }


def _record_removal(engine: Engine, orphan: Observation) -> None:
    uid = str(orphan.uid)
    if _recorded(engine, REMOVED, [uid]):
        return
    log.warning(REMOVED, **engine.facts, run=orphan.run_id, container=uid)
    # In a restored database, the run with this id may be a different one.
    runs = Run.objects.filter(pk=orphan.run_id).filter(Q(container_uid=uid) | Q(container_uid=None))
    deployment = runs.values_list("deployment", flat=True).first()
    whose = f"deployment {deployment}" if deployment else "a deployment that is not in the database"
    there = "there" if engine.unit == "cluster" else f"on {engine.where}"
    record(
        engine.cluster,
        REMOVED,
        ACTOR,
        f"Removed a container that was left {there}, of run {orphan.run_id} of {whose}.",
        {**engine.facts_within, "run": orphan.run_id, "deployment": deployment, "container": uid},
    )


def _record_unknown(engine: Engine, unknown: Sequence[Observation]) -> None:
    recorded = _recorded(engine, UNKNOWN, [str(o.uid) for o in unknown])
    new = [o for o in unknown if str(o.uid) not in recorded]
    if not new:
        return
    log.warning(UNKNOWN, **engine.facts, containers=[str(o.uid) for o in new])
    for container in new[:_MOST_NAMED]:
        facts = engine.facts_within | _described(container)
        about = f"{container.name or container.uid} ({container.image or 'image unknown'})"
        record(
            engine.cluster,
            UNKNOWN,
            ACTOR,
            f"Unknown container {about}. {remedy(engine)}",
            facts | {"container": facts["uid"]},
        )


def _recorded(engine: Engine, kind: str, uids: Sequence[str]) -> set[str]:
    """Return the uids, of those given, for which the cluster has an event of this kind."""
    events = Event.objects.filter(
        subject=Event.Subject.CLUSTER,
        subject_id=engine.cluster.pk,
        kind=kind,
        data__container__in=list(uids),
    )
    return set(events.values_list("data__container", flat=True))
