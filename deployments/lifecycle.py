"""The state machine of a deployment: the only code that changes a status.

Every verb is one guarded `UPDATE` of any number of deployments, which also updates their runs and
writes one event each, in one transaction. A row whose status, run or revision is no longer as the
caller read it is left unchanged, so of two concurrent decisions only one takes effect.

A decision about placement is guarded by the revision. A decision about a container is guarded by
its run, so that a rename, for example, does not invalidate it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from deployments.models import ACTIVE, Deployment, Run, Status
from orgs.events import record_many
from orgs.models import Event

_OFF = "cluster_id = NULL, node_id = NULL"
_UNPLACED = f"{_OFF}, placed_at = NULL, started_at = NULL, checkpoint_at = NULL"
_PLACED = (
    "cluster_id = v.cluster_id, node_id = v.node_id, placed_at = %(now)s, started_at = NULL,"
    " checkpoint_at = NULL, ready_after = NULL"
)
_BACK_IN_QUEUE = f"{_UNPLACED}, ready_after = v.ready_after"
_ENDED = f"{_OFF}, finished_at = %(now)s, exit_code = v.exit_code, ready_after = NULL"


@dataclass(frozen=True, slots=True)
class Verb:
    """A legal change of status: the statuses it starts from, its target, the columns it sets."""

    kind: str
    sources: tuple[Status, ...]
    target: Status
    sets: str = "cluster_id = d.cluster_id"
    releases: Run.Outcome | None = None
    opens_run: bool = False


PLACE = Verb("placed", (Status.PENDING,), Status.STARTING, _PLACED, opens_run=True)
START = Verb("running", (Status.STARTING,), Status.RUNNING, "started_at = %(now)s")
EVICT = Verb(
    "evicted",
    ACTIVE,
    Status.PENDING,
    f"{_BACK_IN_QUEUE}, preemptions = d.preemptions + 1",
    releases=Run.Outcome.EVICTED,
)
MOVE = Verb(
    "moved",
    ACTIVE,
    Status.STARTING,
    f"{_PLACED}, preemptions = d.preemptions + (v.preemptor_id IS NOT NULL)::int",
    releases=Run.Outcome.MOVED,
    opens_run=True,
)
RETRY = Verb(
    "restart_scheduled",
    ACTIVE,
    Status.PENDING,
    f"{_BACK_IN_QUEUE}, queued_at = %(now)s, exit_code = v.exit_code,"
    " restarts = coalesce(v.restarts, d.restarts + 1)",
    releases=Run.Outcome.FAILED,
)
REQUEUE = Verb("requeued", ACTIVE, Status.PENDING, _BACK_IN_QUEUE, releases=Run.Outcome.REQUEUED)
STOP = Verb("stop_requested", ACTIVE, Status.STOPPING, releases=Run.Outcome.STOPPED)
EXPIRE = Verb("runtime_reached", (Status.RUNNING,), Status.STOPPING, releases=Run.Outcome.COMPLETED)
COMPLETE = Verb("completed", ACTIVE, Status.COMPLETED, _ENDED, releases=Run.Outcome.COMPLETED)
FAIL = Verb("failed", ACTIVE, Status.FAILED, _ENDED, releases=Run.Outcome.FAILED)
FINISH_STOP = Verb("stopped", (Status.STOPPING,), Status.STOPPED, _ENDED)
FINISH_EXPIRED = Verb("completed", (Status.STOPPING,), Status.COMPLETED, _ENDED)
CANCEL = Verb("cancelled", (Status.PENDING,), Status.CANCELLED, _ENDED)
RESTART = Verb(
    "restarted",
    (Status.STOPPED, Status.FAILED, Status.COMPLETED, Status.CANCELLED),
    Status.PENDING,
    f"{_UNPLACED}, queued_at = %(now)s, finished_at = NULL, exit_code = NULL, ready_after = NULL,"
    " set_aside_until = NULL,"
    " preemptions = 0, restarts = 0",
)

VERBS = (
    PLACE, START, EVICT, MOVE, RETRY, REQUEUE, STOP, EXPIRE, COMPLETE, FAIL, FINISH_STOP,
    FINISH_EXPIRED, CANCEL, RESTART,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one deployment, and the guards under which it is made.

    - `revision`: the revision that the decision was made on; None for any.
    - `run`: the id of the run that the decision was made on, which must still be the deployment's
      newest; None for any.
    - `cluster`, `node`: the ids of where to place it; without a node, on the cluster's only one.
    - `preemptor`: the id of the deployment that it is evicted for.
    - `restarts`: its new number of restarts.
    - `data["code"]`: the machine-readable reason; `status_code` takes precedence in the row.
    """

    deployment: int
    reason: str
    revision: int | None = None
    run: int | None = None
    cluster: int | None = None
    node: int | None = None
    ready_after: datetime | None = None
    exit_code: int | None = None
    preemptor: int | None = None
    restarts: int | None = None
    status_code: str | None = None
    data: dict[str, Any] = field(default_factory=dict)


def transition(
    verb: Verb, changes: Sequence[Change], *, actor: str, now: datetime
) -> dict[int, int | None]:
    """Apply the verb to each deployment whose state still allows it.

    Returns the former cluster of each changed deployment, by the deployment's id (None: on none).
    Locks the rows in the order of their ids.
    """
    if not changes:
        return {}
    with transaction.atomic():
        return _transition(verb, changes, actor, now)


def _transition(
    verb: Verb, changes: Sequence[Change], actor: str, now: datetime
) -> dict[int, int | None]:
    ordered = _of_newest_runs(sorted(changes, key=lambda change: change.deployment))
    rows = _update_deployments(verb, ordered, now)
    changed = [change for change in ordered if change.deployment in rows]
    if verb.releases:
        _release_runs(verb.releases, changed, now)
    if verb is START:
        Run.objects.current().filter(deployment__in=rows).update(started_at=now)
    if verb.opens_run:
        _open_runs(changed, now)
    record_many(
        [
            _event(change, rows[change.deployment][0], verb.kind, verb.target, actor, now)
            for change in changed
        ]
    )
    return {deployment: cluster for deployment, (_, cluster) in rows.items()}


def _of_newest_runs(changes: list[Change]) -> list[Change]:
    """Lock the deployments of the changes that name a run; drop changes of an older run."""
    guarded = [change for change in changes if change.run is not None]
    if not guarded:
        return changes
    ids = [change.deployment for change in guarded]
    # The lock is a separate statement, because a statement that waits for a row's lock goes on
    # reading the other tables as they were before the wait.
    list(Deployment.objects.filter(pk__in=ids).locked().values_list("pk"))
    runs = Run.objects.filter(deployment__in=ids).order_by("deployment_id", "-pk")
    newest = set(runs.distinct("deployment_id").values_list("pk", flat=True))
    return [change for change in changes if change.run is None or change.run in newest]


def _update_deployments(
    verb: Verb, changes: Sequence[Change], now: datetime
) -> dict[int, tuple[int, int | None]]:
    """Return the organization and the former cluster of each changed row, by deployment id."""
    # The rows are locked in order first, because an UPDATE may lock them in any order.
    sql = f"""
        WITH v AS (
            SELECT * FROM unnest(
                %(ids)s::bigint[], %(revisions)s::bigint[], %(reasons)s::text[],
                %(clusters)s::bigint[], %(nodes)s::bigint[], %(ready_after)s::timestamptz[],
                %(exit_codes)s::int[], %(preemptors)s::bigint[], %(restarts)s::int[],
                %(codes)s::text[]
            ) AS v(id, revision, reason, cluster_id, node_id, ready_after, exit_code, preemptor_id,
                   restarts, code)
        ), locked AS (
            SELECT d.id, d.cluster_id AS former FROM deployments_deployment d JOIN v USING (id)
            WHERE d.status = ANY(%(sources)s) AND d.revision = coalesce(v.revision, d.revision)
            ORDER BY d.id FOR NO KEY UPDATE OF d
        )
        UPDATE deployments_deployment d
        SET status = %(target)s, status_reason = v.reason, status_code = v.code,
            revision = d.revision + 1, {verb.sets}
        FROM v JOIN locked USING (id)
        WHERE d.id = v.id
        RETURNING d.id, d.organization_id, locked.former
    """  # noqa: S608
    parameters: dict[str, Any] = {
        "ids": [change.deployment for change in changes],
        "revisions": [change.revision for change in changes],
        "reasons": [change.reason for change in changes],
        "clusters": [change.cluster for change in changes],
        "nodes": [change.node for change in changes],
        "ready_after": [change.ready_after for change in changes],
        "exit_codes": [change.exit_code for change in changes],
        "preemptors": [change.preemptor for change in changes],
        "restarts": [change.restarts for change in changes],
        "codes": [c.status_code or c.data.get("code", verb.kind) for c in changes],
        "sources": list(verb.sources),
        "target": verb.target,
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return {row[0]: (row[1], row[2]) for row in cursor.fetchall()}


def _release_runs(outcome: Run.Outcome, changes: Sequence[Change], now: datetime) -> None:
    """Release the current runs: their requests are free in the ledger; their containers follow."""
    sql = """
        UPDATE deployments_run r
        SET released_at = %(now)s, outcome = %(outcome)s, exit_code = v.exit_code,
            preempted_by_id = v.preemptor_id
        FROM unnest(%(ids)s::bigint[], %(exit_codes)s::int[], %(preemptors)s::bigint[])
            AS v(deployment_id, exit_code, preemptor_id)
        WHERE r.deployment_id = v.deployment_id AND r.released_at IS NULL
    """
    with connection.cursor() as cursor:
        cursor.execute(
            sql,
            {
                "ids": [change.deployment for change in changes],
                "exit_codes": [change.exit_code for change in changes],
                "preemptors": [change.preemptor for change in changes],
                "outcome": outcome,
                "now": now,
            },
        )


def _open_runs(changes: Sequence[Change], now: datetime) -> None:
    """Insert a run for each placed deployment, with its present request."""
    sql = """
        INSERT INTO deployments_run
            (deployment_id, cluster_id, node_id, cpu_milli, ram_mib, gpu, placed_at, outcome)
        SELECT id, cluster_id, node_id, cpu_milli, ram_mib, gpu, %(now)s, ''
        FROM deployments_deployment WHERE id = ANY(%(ids)s::bigint[]) ORDER BY id
    """
    with connection.cursor() as cursor:
        cursor.execute(sql, {"ids": [change.deployment for change in changes], "now": now})


def record_wait_reasons(reasons: Mapping[int, tuple[str, str]]) -> None:
    """Store the code and the sentence that explain why each pending deployment waits, by id.

    Only differences are written, without an event. A locked row is skipped: the next cycle writes
    its reason.
    """
    changes = [Change(pk, why, data={"code": code}) for pk, (code, why) in reasons.items()]
    _write_reasons(changes, (Status.PENDING,))


def update_reasons(
    kind: str, changes: Sequence[Change], *, statuses: Sequence[Status], actor: str, now: datetime
) -> list[int]:
    """Store new reasons of deployments whose status stays, with an event for each that differs.

    Returns the ids of the changed deployments. A locked row is skipped.
    """
    if not changes:
        return []
    with transaction.atomic():
        written = _write_reasons(changes, statuses)
        record_many(
            [
                _event(change, written[change.deployment], kind, None, actor, now)
                for change in changes
                if change.deployment in written
            ]
        )
    return list(written)


def _write_reasons(changes: Sequence[Change], statuses: Sequence[Status]) -> dict[int, int]:
    """Update the reasons and codes that differ; return organizations by changed deployment."""
    sql = """
        WITH v AS (
            SELECT * FROM unnest(%(ids)s::bigint[], %(codes)s::text[], %(reasons)s::text[])
                AS v(id, code, reason)
        ), stale AS (
            SELECT d.id, v.code, v.reason FROM deployments_deployment d JOIN v USING (id)
            WHERE d.status = ANY(%(statuses)s) AND NOT d.held
              AND (d.status_reason, d.status_code) <> (v.reason, v.code)
            ORDER BY d.id FOR NO KEY UPDATE OF d SKIP LOCKED
        )
        UPDATE deployments_deployment d
        SET status_reason = stale.reason, status_code = stale.code
        FROM stale WHERE d.id = stale.id
        RETURNING d.id, d.organization_id
    """
    if not changes:
        return {}
    parameters = {
        "ids": [change.deployment for change in changes],
        "codes": [change.data["code"] for change in changes],
        "reasons": [change.reason for change in changes],
        "statuses": list(statuses),
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return dict(cursor.fetchall())


def _event(
    change: Change, organization: int, kind: str, status: Status | None, actor: str, now: datetime
) -> Event:
    return Event(
        organization_id=organization,
        subject=Event.Subject.DEPLOYMENT,
        subject_id=change.deployment,
        time=now,
        kind=kind,
        actor=actor,
        reason=change.reason,
        status=status,
        data=change.data,
    )
