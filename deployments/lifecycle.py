"""The state machine of a deployment: the only code that changes a status.

Every verb is one guarded `UPDATE` of any number of deployments, which also updates their runs and
writes one event each, in one transaction. A row whose status, run or revision is no longer as the
caller read it is left unchanged, so of two concurrent decisions only one takes effect.

A decision about placement is guarded by the revision. A decision about a container is guarded by
its run, so that a rename, for example, does not invalidate it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from deployments.choices import ACTIVE, Status
from deployments.runtime.models import Run
from hypervisor.base import arrays
from orgs.events import INSERT, data_column

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
    starts_run: bool = False

    @property
    def updates_run(self) -> str:
        """The statement that changes the current runs of the deployments in `changed`.

        Once a run is released, its request is free in the ledger; its container follows.
        """
        if self.releases:
            sets = (
                "released_at = %(now)s, outcome = %(outcome)s, exit_code = changed.exit_code,"
                " preempted_by_id = changed.preemptor_id"
            )
        elif self.starts_run:
            sets = "started_at = %(now)s"
        else:
            return "SELECT"
        return (
            f"UPDATE deployments_run r SET {sets} FROM changed"  # noqa: S608
            " WHERE r.deployment_id = ANY(ARRAY[changed.id]) AND (r.released_at IS NULL) IS TRUE"
        )


PLACE = Verb("placed", (Status.PENDING,), Status.STARTING, _PLACED, opens_run=True)
START = Verb("running", (Status.STARTING,), Status.RUNNING, "started_at = %(now)s", starts_run=True)
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
      current one; None for any.
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
        # A separate statement, because a statement that waits for a row's lock goes on reading the
        # other tables, here the runs, as they were before the wait.
        _lock([change.deployment for change in changes if change.run is not None])
        changed = _change(verb, changes, actor, now)
        if verb.opens_run:
            _open_runs(changed, now)
    return changed


def _lock(deployments: Sequence[int]) -> None:
    if not deployments:
        return
    sql = """
        SELECT count(*) FROM (
            SELECT FROM deployments_deployment WHERE id = ANY(%s::bigint[])
            ORDER BY id FOR NO KEY UPDATE
        ) AS locked
    """
    with connection.cursor() as cursor:
        cursor.execute(sql, [arrays.numbers(deployments)])


def _change(
    verb: Verb, changes: Sequence[Change], actor: str, now: datetime
) -> dict[int, int | None]:
    """Change the deployments and their runs, and write the events, in one statement.

    Returns the former cluster of each changed deployment, by id.
    """
    parameters = _columns(verb, changes, actor) | {
        "sources": list(verb.sources),
        "target": verb.target,
        "outcome": verb.releases,
        "kind": verb.kind,
        "actor": actor,
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(_statement(verb), parameters)
        return dict(cursor.fetchall())


def _statement(verb: Verb) -> str:
    """Return the statement, whose work is in proportion to the number of changes.

    It finds rows by ids only and checks them afterwards. Statistics are old after many rows have
    changed, and a condition of which PostgreSQL assumes that few rows satisfy it would let it
    compare all rows with all changes. So would a table that it takes for nearly empty.
    `id = ANY(ARRAY[…])` lets it only look rows up by their ids, and `(… IS NULL) IS TRUE` lets it
    only check them: it cannot join whole tables by the one or choose an index by the other.
    """
    return f"""
        WITH v AS (
            SELECT * FROM unnest(
                %(ids)s::bigint[], %(revisions)s::bigint[], %(runs)s::bigint[], %(reasons)s::text[],
                %(clusters)s::bigint[], %(nodes)s::bigint[], %(ready_after)s::timestamptz[],
                %(exit_codes)s::int[], %(preemptors)s::bigint[], %(restarts)s::int[],
                %(codes)s::text[], %(data)s::jsonb[]
            ) AS v(id, revision, run_id, reason, cluster_id, node_id, ready_after, exit_code,
                   preemptor_id, restarts, code, data)
        ), locked AS MATERIALIZED (  -- in order, because an UPDATE may lock rows in any order
            SELECT v.*, d.status, d.revision AS present, d.cluster_id AS former
            FROM v JOIN deployments_deployment d USING (id)
            ORDER BY id FOR NO KEY UPDATE OF d
        ), legal AS MATERIALIZED (
            SELECT * FROM locked
            WHERE status = ANY(%(sources)s) AND present = coalesce(revision, present)
              AND (run_id IS NULL
                   OR (SELECT r.released_at IS NULL FROM deployments_run r WHERE r.id = run_id))
        ), changed AS (
            UPDATE deployments_deployment d
            SET status = %(target)s, status_reason = v.reason, status_code = v.code,
                revision = d.revision + 1, {verb.sets}
            FROM legal v WHERE d.id = ANY(ARRAY[v.id])
            RETURNING d.id, d.organization_id, v.former, v.reason, v.exit_code, v.preemptor_id,
                      v.data
        ), runs AS ({verb.updates_run}
        ), events AS (
            {INSERT}
            SELECT organization_id, 'deployment', id, %(now)s, %(kind)s, %(actor)s, reason,
                   %(target)s, data
            FROM changed ORDER BY id
        )
        SELECT id, former FROM changed
    """  # noqa: S608


def _columns(verb: Verb, changes: Sequence[Change], actor: str) -> dict[str, Any]:
    return {
        "ids": arrays.numbers(change.deployment for change in changes),
        "revisions": arrays.numbers(change.revision for change in changes),
        "runs": arrays.numbers(change.run for change in changes),
        "reasons": arrays.texts(change.reason for change in changes),
        "clusters": arrays.numbers(change.cluster for change in changes),
        "nodes": arrays.numbers(change.node for change in changes),
        "ready_after": arrays.times(change.ready_after for change in changes),
        "exit_codes": arrays.numbers(change.exit_code for change in changes),
        "preemptors": arrays.numbers(change.preemptor for change in changes),
        "restarts": arrays.numbers(change.restarts for change in changes),
        "codes": arrays.texts(c.status_code or c.data.get("code", verb.kind) for c in changes),
        "data": data_column((change.data for change in changes), actor),
    }


def _open_runs(deployments: Collection[int], now: datetime) -> None:
    """Insert a run for each placed deployment, with its present request."""
    sql = """
        INSERT INTO deployments_run
            (deployment_id, cluster_id, node_id, cpu_milli, ram_mib, gpu, placed_at, outcome)
        SELECT id, cluster_id, node_id, cpu_milli, ram_mib, gpu, %(now)s, ''
        FROM deployments_deployment WHERE id = ANY(%(ids)s::bigint[]) ORDER BY id
    """
    with connection.cursor() as cursor:
        cursor.execute(sql, {"ids": arrays.numbers(deployments), "now": now})


def record_wait_reasons(
    reasons: Mapping[int, tuple[str, str]], formerly: Mapping[int, tuple[int, str]] | None = None
) -> int:
    """Store the code and the sentence that explain why each pending deployment waits, by id.

    Only differences are written, without an event. A locked row is skipped, and one that no longer
    has the revision and the sentence that `formerly` has for it. Returns how many were written.
    """
    known = [(formerly or {}).get(pk, (None, None)) for pk in reasons]
    changes = [
        Change(pk, why, data={"code": code}, revision=revision)
        for (pk, (code, why)), (revision, _) in zip(reasons.items(), known, strict=True)
    ]
    given = {"data": "{}", "formerly": arrays.texts(sentence for _, sentence in known)}
    return len(_write_reasons(changes, (Status.PENDING,), "SELECT", **given))


def update_reasons(
    kind: str, changes: Sequence[Change], *, statuses: Sequence[Status], actor: str, now: datetime
) -> list[int]:
    """Store new reasons of deployments whose status stays, with an event for each that differs.

    Returns the ids of the changed deployments. A locked row is skipped.
    """
    events = f"""
        {INSERT}
        SELECT organization_id, 'deployment', id, %(now)s, %(kind)s, %(actor)s, reason, NULL, data
        FROM changed ORDER BY id
    """  # noqa: S608
    data = data_column((change.data for change in changes), actor)
    given = {"kind": kind, "actor": actor, "now": now, "data": data}
    return _write_reasons(changes, statuses, events, **given)


def _write_reasons(
    changes: Sequence[Change], statuses: Sequence[Status], events: str, **given: Any
) -> list[int]:
    """Update the reasons and codes that differ, and execute `events` on the changed rows.

    Returns the ids of the changed deployments.
    """
    if not changes:
        return []
    sql = f"""
        WITH v AS (
            SELECT * FROM unnest(
                %(ids)s::bigint[], %(codes)s::text[], %(reasons)s::text[], %(data)s::jsonb[],
                %(revisions)s::bigint[], %(formerly)s::text[]
            ) AS v(id, code, reason, data, revision, formerly)
        ), there AS (
            SELECT v.*, d.status, d.held, d.status_reason, d.status_code
            FROM v JOIN deployments_deployment d USING (id) OFFSET 0  -- by ids only
        ), stale AS (
            SELECT there.id, there.code, there.reason, there.data
            FROM there JOIN deployments_deployment d USING (id)
            WHERE (there.status_reason, there.status_code) <> (there.reason, there.code)
              AND there.status = ANY(%(statuses)s) AND NOT there.held
              AND d.status || '' = ANY(%(statuses)s) AND NOT d.held
              AND (there.revision IS NULL OR d.revision = there.revision)
              AND (there.formerly IS NULL OR d.status_reason = there.formerly)
            ORDER BY d.id FOR NO KEY UPDATE OF d SKIP LOCKED
        ), changed AS (
            UPDATE deployments_deployment d
            SET status_reason = stale.reason, status_code = stale.code
            FROM stale WHERE d.id = stale.id
            RETURNING d.id, d.organization_id, stale.reason, stale.data
        ), events AS ({events})
        SELECT id FROM changed
    """  # noqa: S608
    parameters = {
        "ids": arrays.numbers(change.deployment for change in changes),
        "codes": arrays.texts(change.data["code"] for change in changes),
        "reasons": arrays.texts(change.reason for change in changes),
        "revisions": arrays.numbers(change.revision for change in changes),
        "formerly": "{}",
        "statuses": list(statuses),
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters | given)
        return [pk for (pk,) in cursor.fetchall()]
