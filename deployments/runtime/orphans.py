"""Containers of ours on an engine that belong to no unfinished run.

An orphan's run has ended or was deleted, or an operator gave the container up: it is removed. An
unknown container is one that this database has no memory of: the database was restored or copied,
or another copy of this installation uses the engine. Nothing here removes it, nothing starts beside
it, and operators are told.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db.models import Q
from django.utils import timezone

from clusters.drivers.base import Driver, Observation, Phase, run_by_uid
from clusters.models import Cluster, Connection
from clusters.wakeups import request_cycle
from deployments.models import AbandonedContainer, Run
from deployments.runtime.lost_contact import ACTOR, at_most_this_one, requeue_unlaunched
from orgs.events import record
from orgs.models import Event

REMOVED = "orphan_removed"
UNKNOWN = "unknown_container"

_REMEMBERED = timedelta(hours=1)
"""Longer than a start whose answer was lost may take to bring its container."""

_MOST_NAMED = 50

log = structlog.get_logger(__name__)


def matched(
    found: Iterable[Observation], runs: Iterable[Run]
) -> tuple[dict[int, Observation], list[Observation]]:
    """Return each run's container by the run's id, and the containers that no run has."""
    owners = {run.container: run.pk for run in runs if run.container}
    there = list(found)
    seen = {owners[o.uid]: o for o in there if o.uid in owners}
    return seen, [o for o in there if o.uid not in owners]


def split(
    cluster: Cluster, strays: Sequence[Observation]
) -> tuple[list[Observation], list[Observation]]:
    """Return the orphans among the containers that no run has, and the unknown ones."""
    if not strays:
        return [], []
    known = _known(cluster, [stray.uid for stray in strays])
    return [o for o in strays if o.uid in known], [o for o in strays if o.uid not in known]


def remove(cluster: Cluster, driver: Driver, orphans: list[Observation], now: datetime) -> None:
    """Kill what runs, forget what has ended; an event for each container."""
    for orphan in orphans:
        _tell_of_removal(cluster, orphan)
        with at_most_this_one(orphan.run_id):
            if orphan.phase is Phase.EXITED:
                driver.remove(orphan.uid)
            else:
                driver.stop(orphan.uid, 0, now)


def report(cluster: Cluster, unknown: Sequence[Observation]) -> None:
    """Note which containers of the cluster are unknown, when that has changed."""
    connection: Connection | None = getattr(cluster, "connection", None)
    described = [_described(o) for o in unknown[:_MOST_NAMED]]
    if connection is None or connection.unknown_containers != described:
        _tell_of_unknown(cluster, unknown)
    if connection is not None and connection.unknown_containers != described:
        connection.unknown_containers = described
        connection.save(update_fields=["unknown_containers"])
        request_cycle(cluster.organization_id)
    if any(o.phase is not Phase.EXITED for o in unknown):
        requeue_unlaunched(cluster, f"Unknown containers are on {cluster.name}", timezone.now())


def forget(cluster: Cluster, seen: Iterable[UUID], now: datetime) -> None:
    """Forget the abandoned containers that the engine has been seen without."""
    rows = AbandonedContainer.objects.filter(cluster=cluster, since__lt=now - _REMEMBERED)
    rows.exclude(uid__in=list(seen)).delete()


def forget_deleted_clusters() -> None:
    """Forget what no look can ever find."""
    AbandonedContainer.objects.exclude(cluster__in=Cluster.objects.all()).delete()


def remedy(cluster: Cluster) -> str:
    """Return what unknown containers mean and what helps."""
    return (
        "This database has no memory of it: it was restored or copied, or another copy of this"
        " installation uses the engine. Nothing starts there meanwhile: `manage.py claim_engine"
        f" {cluster.pk}` shows what is there and removes it."
    )


def _known(cluster: Cluster, uids: Sequence[UUID]) -> set[UUID]:
    by_run = {run: uid for uid in uids if (run := run_by_uid(uid)) is not None}
    unnamed = Q(pk__in=by_run, container_uid=None, cluster=cluster)
    runs = Run.objects.filter(Q(container_uid__in=uids) | unnamed).launched_ever()
    abandoned = AbandonedContainer.objects.filter(cluster=cluster, uid__in=uids)
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


def _tell_of_removal(cluster: Cluster, orphan: Observation) -> None:
    uid = str(orphan.uid)
    if _told(cluster, REMOVED, [uid]):
        return
    log.warning(REMOVED, cluster=cluster.pk, run=orphan.run_id, container=uid)
    # The run of that id may be another one, where the database was restored.
    runs = Run.objects.filter(pk=orphan.run_id).filter(Q(container_uid=uid) | Q(container_uid=None))
    deployment = runs.values_list("deployment", flat=True).first()
    whose = (
        f"deployment {deployment}" if deployment else "a deployment that the database does not have"
    )
    record(
        cluster,
        REMOVED,
        ACTOR,
        f"A container of run {orphan.run_id} of {whose} was left there: removed.",
        {"run": orphan.run_id, "deployment": deployment, "container": uid},
    )


def _tell_of_unknown(cluster: Cluster, unknown: Sequence[Observation]) -> None:
    told = _told(cluster, UNKNOWN, [str(o.uid) for o in unknown])
    new = [o for o in unknown if str(o.uid) not in told]
    if not new:
        return
    log.warning(UNKNOWN, cluster=cluster.pk, containers=[str(o.uid) for o in new])
    for container in new[:_MOST_NAMED]:
        facts = _described(container)
        about = f"{container.name or container.uid} ({container.image or 'its image is not known'})"
        record(
            cluster,
            UNKNOWN,
            ACTOR,
            f"Unknown container {about}. {remedy(cluster)}",
            facts | {"container": facts["uid"]},
        )


def _told(cluster: Cluster, kind: str, uids: Sequence[str]) -> set[str]:
    """Return of which of these containers there is such an event."""
    events = Event.objects.filter(
        subject=Event.Subject.CLUSTER,
        subject_id=cluster.pk,
        kind=kind,
        data__container__in=list(uids),
    )
    return set(events.values_list("data__container", flat=True))
