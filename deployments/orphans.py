"""Containers of ours that no unfinished run knows: removed, and told."""

from collections.abc import Iterable, Mapping
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


def among(seen: Mapping[int, Observation], runs: Iterable[Run]) -> list[Observation]:
    """Return the containers that belong to none of the unfinished runs."""
    known = {run.pk for run in runs}
    return [observation for run_id, observation in seen.items() if run_id not in known]


def remove(cluster: Cluster, driver: Driver, strays: list[Observation], now: datetime) -> None:
    """Kill what runs, forget what has ended; an event for each container."""
    for stray in strays:
        _tell(cluster, stray)
        with at_most_this_one(stray.run_id):
            if stray.phase is Phase.EXITED:
                driver.remove(stray.run_id)
            else:
                driver.stop(stray.run_id, 0, now)


def _tell(cluster: Cluster, stray: Observation) -> None:
    told = Event.objects.filter(
        subject=Event.Subject.CLUSTER, subject_id=cluster.pk, kind=KIND, data__run=stray.run_id
    )
    if told.exists():
        return
    log.warning(KIND, cluster=cluster.pk, run=stray.run_id)
    deployment = Run.objects.filter(pk=stray.run_id).values_list("deployment", flat=True).first()
    whose = f"deployment {deployment}" if deployment else "a deployment that has been deleted"
    record(
        cluster,
        KIND,
        ACTOR,
        f"A container of run {stray.run_id} of {whose} was left there: removed.",
        {"run": stray.run_id, "deployment": deployment},
    )
