"""How an operator makes an engine belong to this installation."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.utils import timezone

from clusters import ownership
from clusters.drivers import driver_for
from clusters.drivers.base import Driver, DriverError, Observation
from clusters.engines import Engine
from clusters.wakeups import request
from deployments.runtime import orphans
from deployments.runtime.lock import exclusive_access
from deployments.runtime.models import AbandonedContainer, Run
from hypervisor.base.errors import NotFound, Unavailable
from hypervisor.base.secrets import CannotDecrypt
from orgs.events import record

CLAIMED = "engine_claimed"

_REMOVAL_S = 30.0
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Inventory:
    """An engine's containers: of unfinished runs, orphans, and containers unknown to the database.

    `objection` is why the engine does not belong to this installation at present, "" if it does.
    """

    objection: str
    known: Sequence[tuple[Run, Observation]]
    orphans: Sequence[Observation]
    unknown: Sequence[Observation]


def inventory(engine: Engine) -> Inventory:
    """Return the containers on an engine. Raises Unavailable if it does not answer."""
    try:
        return _inventory(engine, driver_for(engine))
    except (DriverError, CannotDecrypt) as error:
        raise Unavailable(str(error)) from error


def claim(engine: Engine, *, actor: str, remove: Collection[UUID]) -> list[UUID]:
    """Make the engine belong to this installation, and remove these containers from it.

    Any other installation that has used the engine stops using it at its next reconciliation.
    Returns the uids of the containers that are still there after 30 s; the worker then continues
    the removal. Raises Unavailable if the engine does not answer.
    """
    with exclusive_access(engine):
        fresh = engine.refreshed()
        if fresh is None:
            raise NotFound(f"{engine.called} has just been deleted or disconnected.")
        try:
            driver = driver_for(fresh)
            ownership.claim(fresh, driver, timezone.now())
            _abandon(fresh, driver, remove, actor)
            left = _remove(fresh, driver)
        except (DriverError, CannotDecrypt) as error:
            raise Unavailable(str(error)) from error
    request(engine.wakeup)
    return left


def _inventory(engine: Engine, driver: Driver) -> Inventory:
    objection = ownership.objection(engine, driver)
    rows = Run.objects.unfinished().filter(engine.placed).select_related("deployment")
    runs = {run.pk: run for run in rows}
    seen, strays = orphans.matched(driver.observe(timezone.now()), runs.values())
    known, unknown = orphans.split(engine, strays)
    return Inventory(objection, [(runs[pk], seen[pk]) for pk in sorted(seen)], known, unknown)


def _abandon(engine: Engine, driver: Driver, uids: Collection[UUID], actor: str) -> None:
    """Record the containers as abandoned, so that they are removed even if this process dies."""
    abandoned = [o for o in _inventory(engine, driver).unknown if o.uid in uids]
    AbandonedContainer.objects.bulk_create(
        [
            AbandonedContainer(uid=o.uid, cluster=engine.cluster, node=engine.node, run_id=o.run_id)
            for o in abandoned
        ],
        ignore_conflicts=True,
    )
    reason = f"Its engine was claimed. Unknown containers to remove: {len(abandoned)}."
    data = {**engine.facts_within, "removed": [str(o.uid) for o in abandoned]}
    record(engine.cluster, CLAIMED, actor, reason, data)


def _remove(engine: Engine, driver: Driver) -> list[UUID]:
    deadline = time.monotonic() + _REMOVAL_S
    while True:
        found = _inventory(engine, driver)
        orphans.remove(engine, driver, list(found.orphans), timezone.now())
        if not found.orphans:
            orphans.report(engine, found.unknown)
            return []
        if time.monotonic() > deadline:
            return [o.uid for o in found.orphans]
        time.sleep(_POLL_S)
