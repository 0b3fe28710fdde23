"""An operator's word that an engine is to be this installation's from now on."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.utils import timezone

from clusters import ownership
from clusters.drivers import driver_for
from clusters.drivers.base import Driver, DriverError, Observation
from clusters.models import Cluster
from clusters.secrets import CannotDecrypt
from clusters.wakeups import request_reconcile
from deployments.models import AbandonedContainer, Run
from deployments.runtime import orphans
from deployments.runtime.lock import alone
from hypervisor.base.errors import NotFound, Unavailable
from orgs.events import record

CLAIMED = "engine_claimed"

_REMOVAL_S = 30.0
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Inventory:
    """What an engine has, as this database knows it: of unfinished runs, of ended ones, neither.

    `objection` says why the engine is not this installation's at present, "" when it is.
    """

    objection: str
    known: Sequence[tuple[Run, Observation]]
    orphans: Sequence[Observation]
    unknown: Sequence[Observation]


def inventory(cluster: Cluster) -> Inventory:
    """Ask the engine what it has. Raises Unavailable when it does not answer."""
    try:
        driver = driver_for(cluster)
        return _inventory(cluster, driver)
    except (DriverError, CannotDecrypt) as error:
        raise Unavailable(str(error)) from error


def claim(cluster: Cluster, *, actor: str, remove: Collection[UUID]) -> list[UUID]:
    """Make the engine this installation's, and remove these containers from it.

    Whatever else has used it finds itself without it at its next look. Returns which of those to
    remove are still there after half a minute: the worker goes on with them. Raises Unavailable
    when the engine does not answer.
    """
    with alone(cluster.pk):
        fresh = Cluster.objects.select_related("connection").filter(pk=cluster.pk).first()
        if fresh is None:
            raise NotFound(f"Cluster {cluster.pk} has been deleted meanwhile.")
        try:
            driver = driver_for(fresh)
            ownership.claim(fresh, driver, timezone.now())
            _give_up(fresh, driver, remove, actor)
            left = _remove(fresh, driver)
        except (DriverError, CannotDecrypt) as error:
            raise Unavailable(str(error)) from error
    request_reconcile(cluster.pk)
    return left


def _inventory(cluster: Cluster, driver: Driver) -> Inventory:
    objection = ownership.objection(cluster, driver)
    rows = Run.objects.unfinished().filter(cluster=cluster).select_related("deployment")
    runs = {run.pk: run for run in rows}
    seen, strays = orphans.matched(driver.observe(timezone.now()), runs.values())
    known, unknown = orphans.split(cluster, strays)
    return Inventory(objection, [(runs[pk], seen[pk]) for pk in sorted(seen)], known, unknown)


def _give_up(cluster: Cluster, driver: Driver, uids: Collection[UUID], actor: str) -> None:
    """Note the containers as orphans, so that they are removed even if this process dies."""
    there = [o for o in _inventory(cluster, driver).unknown if o.uid in uids]
    AbandonedContainer.objects.bulk_create(
        [AbandonedContainer(uid=o.uid, cluster=cluster, run_id=o.run_id) for o in there],
        ignore_conflicts=True,
    )
    reason = f"Its engine was claimed. Unknown containers that are removed: {len(there)}."
    record(cluster, CLAIMED, actor, reason, {"removed": [str(o.uid) for o in there]})


def _remove(cluster: Cluster, driver: Driver) -> list[UUID]:
    deadline = time.monotonic() + _REMOVAL_S
    while True:
        found = _inventory(cluster, driver)
        orphans.remove(cluster, driver, list(found.orphans), timezone.now())
        if not found.orphans:
            orphans.report(cluster, found.unknown)
            return []
        if time.monotonic() > deadline:
            return [o.uid for o in found.orphans]
        time.sleep(_POLL_S)
