"""Start the containers of launches, several at once.

Each start is recorded before the engine is called, because a container may exist from then on even
if this process dies. The record is taken back only if the engine has refused the start.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from clusters.drivers.base import Cause, ContainerSpec, Driver, DriverError
from clusters.models import Node
from deployments.choices import Status
from deployments.lifecycle import Change, update_reasons
from deployments.models import Deployment, Registry
from deployments.runtime.containers import container_of
from deployments.runtime.known import KnownRun
from deployments.runtime.launching import Launch
from deployments.runtime.lost_contact import ACTOR
from deployments.runtime.models import Run
from hypervisor.base import arrays


@dataclass(frozen=True, slots=True)
class Failure:
    """A run whose container was not started, and why."""

    run: KnownRun
    error: DriverError

    @property
    def is_refusal(self) -> bool:
        """Whether there is no container and none will appear."""
        return self.error.cause is not Cause.UNREACHABLE


def start(
    driver: Driver,
    launches: Sequence[Launch],
    registries: Mapping[str, Registry],
    nodes: Mapping[int, str],
) -> list[Failure]:
    """Start at most `starts_at_once` containers; return the failures.

    Leaves out runs that have been released in the meantime, and runs that another transaction is
    changing. `nodes` has the names of the nodes by id if the containers are bound to them.
    """
    now = timezone.now()
    uids = _record(launches, now)
    recorded = [launch for launch in launches if launch.run.pk in uids]
    deployments = Deployment.objects.in_bulk({each.run.deployment_id for each in recorded})
    runs: list[KnownRun] = []
    specs: list[ContainerSpec] = []
    failures: list[Failure] = []
    for launch in recorded:
        run = launch.run
        deployment = deployments.get(run.deployment_id)
        if deployment is None:  # deleted in the meantime
            continue
        try:
            node = nodes.get(run.node_id or 0, "")
            specs.append(container_of(launch, deployment, uids[run.pk], registries, node))
            runs.append(run)
        except DriverError as error:
            failures.append(Failure(run, error))
    errors = driver.start_all(specs, now) if specs else ()
    started = zip(runs, errors, strict=True)
    return failures + [Failure(run, error) for run, error in started if error]


def _record(launches: Sequence[Launch], now: datetime) -> dict[int, UUID]:
    """Record that these runs are launched; return the uids of their containers by run id.

    A run gets a uid at its first launch and keeps it. Rows that another transaction has locked are
    skipped: other transactions lock the deployments of several runs first, and this one does not,
    so waiting might end in a deadlock.
    """
    sql = """
        WITH v AS (
            SELECT * FROM unnest(%s::bigint[], %s::uuid[], %s::jsonb[]) AS v(id, uid, devices)
        ), free AS (
            SELECT v.* FROM v JOIN deployments_run r USING (id)
            WHERE (r.released_at IS NULL) IS TRUE FOR NO KEY UPDATE OF r SKIP LOCKED
        )
        UPDATE deployments_run r
        SET launched_at = %s, container_uid = free.uid, devices = free.devices
        FROM free WHERE r.id = free.id
        RETURNING r.id, r.container_uid
    """
    columns: list[Any] = [
        arrays.numbers(launch.run.pk for launch in launches),
        arrays.texts(str(launch.run.uid_to_launch()) for launch in launches),
        arrays.texts(json.dumps(launch.devices) for launch in launches),
        now,
    ]
    with connection.cursor() as cursor:
        cursor.execute(sql, columns)
        return dict(cursor.fetchall())


def take_back(refusals: Sequence[Failure]) -> None:
    """Record that these runs have no container. The next attempt uses the same uid.

    A row that another transaction has locked stays as it is: its capacity remains allocated until
    the next pass.
    """
    ids = [failure.run.pk for failure in refusals]
    with transaction.atomic():
        rows = Run.objects.filter(pk__in=ids).locked(skip_locked=True)
        unlocked = list(rows.values_list("pk", flat=True))
        Run.objects.filter(pk__in=unlocked).update(launched_at=None, devices=[])
    limited = [f.run.node_id for f in refusals if f.error.cause is Cause.NO_STORAGE_LIMIT]
    Node.objects.filter(pk__in=[pk for pk in limited if pk]).update(can_limit_storage=False)


def report(waiting: Sequence[Failure], now: datetime) -> None:
    """Write why these deployments have not started yet; their starts are tried again."""
    by_kind: dict[str, list[Change]] = {"preparing": [], "start_failed": []}
    for failure in waiting:
        error = failure.error
        fetching = error.cause is Cause.FETCHING_IMAGE
        why = str(error) if fetching else f"Could not start yet, and is tried again: {error}"
        data = {"code": error.cause, "run": failure.run.pk}
        change = Change(failure.run.deployment_id, why, data=data)
        by_kind["preparing" if fetching else "start_failed"].append(change)
    for kind, changes in by_kind.items():
        update_reasons(kind, changes, statuses=(Status.STARTING,), actor=ACTOR, now=now)
