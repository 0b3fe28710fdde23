"""Containers of ours that no unfinished run knows: removed, and told."""

from collections.abc import Iterable
from datetime import datetime

import structlog

from clusters.drivers.base import Driver, Observation, Phase
from clusters.models import Cluster
from deployments.contact import ACTOR, at_most_this_one
from deployments.models import Run
from orgs.events import record
from orgs.models import Event

KIND = "orphan_removed"

log = structlog.get_logger(__name__)


def matched(
    found: Iterable[Observation], runs: Iterable[Run]
) -> tuple[dict[int, Observation], list[Observation]]:
    """Return each run's container by the run's id, and the containers that no run has."""
    owners = {run.container: run.pk for run in runs if run.container}
    seen = {owners[o.uid]: o for o in found if o.uid in owners}
    return seen, [o for o in found if o.uid not in owners]


def remove(cluster: Cluster, driver: Driver, strays: list[Observation], now: datetime) -> None:
    """Kill what runs, forget what has ended; an event for each container."""
    for stray in strays:
        _tell(cluster, stray)
        with at_most_this_one(stray.run_id):
            if stray.phase is Phase.EXITED:
                driver.remove(stray.uid)
            else:
                driver.stop(stray.uid, 0, now)


def _tell(cluster: Cluster, stray: Observation) -> None:
    uid = str(stray.uid)
    told = Event.objects.filter(
        subject=Event.Subject.CLUSTER, subject_id=cluster.pk, kind=KIND, data__container=uid
    )
    if told.exists():
        return
    log.warning(KIND, cluster=cluster.pk, run=stray.run_id, container=uid)
    deployment = Run.objects.filter(pk=stray.run_id).values_list("deployment", flat=True).first()
    whose = f"deployment {deployment}" if deployment else "a deployment that has been deleted"
    record(
        cluster,
        KIND,
        ACTOR,
        f"A container of run {stray.run_id} of {whose} was left there: removed.",
        {"run": stray.run_id, "deployment": deployment, "container": uid},
    )
