"""Count what happened into totals that only grow, although the rows of the history are deleted.

A periodic job adds the rows of the time since the last count, so its cost does not depend on how
long the history is, and neither does that of reading the totals. Every row is counted once:
everything before the end of a count had been committed when it was counted, because the end lies
before the begin of every open transaction that has written something.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from deployments.runtime.models import Run
from scheduling.models import CountedUntil, SchedulingCycle
from scheduling.monitoring.minutes import WAITS

SUBMITTED, RUNS, LOST_GPU_S, WAIT, CYCLES = "submitted", "runs", "lost_gpu_s", "wait", "cycles"
"""The totals of each organization: submissions; runs by outcome; GPU-seconds that were lost, by
outcome; the histogram of waits until a placement; cycles by trigger."""

PHASES = ("snapshot", "plan", "apply")
"""The totals of the platform: the histogram of the cycles' seconds in each phase."""

SUM = "sum"
"""The label of a histogram's sum; its other labels are the bounds of its buckets."""

INTERRUPTED = (Run.Outcome.EVICTED, Run.Outcome.MOVED, Run.Outcome.REQUEUED, Run.Outcome.FAILED)
"""The outcomes that lose the work after the run's last checkpoint."""

LABELS = {
    SUBMITTED: ("",),
    RUNS: tuple(Run.Outcome.values),
    LOST_GPU_S: tuple(map(str, INTERRUPTED)),
    CYCLES: tuple(SchedulingCycle.Trigger.values),
}
"""The labels of each total that is no histogram."""

INFINITE = "+Inf"
BOUNDS = {
    WAIT: (
        "1", "5", "15", "30", "60", "120", "300", "600", "1800", "3600", "7200", "14400", "28800",
        "86400", "259200", "604800",
    ),
    **dict.fromkeys(
        PHASES,
        ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "30", "60",
         "300"),
    ),
}  # fmt: skip
"""The upper bounds of the histograms' buckets in seconds; the last bucket has no bound."""

_END = """
    SELECT greatest(
        least(clock_timestamp(), min(xact_start)) - interval '1 minute',
        clock_timestamp() - interval '1 hour')
    FROM pg_stat_activity
    WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()
"""
"""The end of a count. A transaction may write times from a minute before it began: its process read
the clock first, and that clock may be behind. After an hour, an open transaction is ignored."""

_AT_ONCE = "interval '6 hours'"
"""How much of the history one count reads at most; after a pause, the next count continues."""

_COUNTS = (
    """
    SELECT organization_id, 'submitted', '', count(*)
    FROM deployments_deployment WHERE created_at >= %(since)s AND created_at < %(until)s GROUP BY 1
    """,
    """
    SELECT d.organization_id, 'runs', r.outcome, count(*)
    FROM deployments_run r JOIN deployments_deployment d ON d.id = r.deployment_id
    WHERE r.released_at >= %(since)s AND r.released_at < %(until)s GROUP BY 1, 3
    """,
    """
    SELECT d.organization_id, 'lost_gpu_s', r.outcome, sum(r.gpu * extract(epoch FROM
               greatest(r.released_at - greatest(r.started_at, saved.time), interval '0')))
    FROM deployments_run r JOIN deployments_deployment d ON d.id = r.deployment_id
    CROSS JOIN LATERAL (
        SELECT max(time) AS time FROM orgs_event
        WHERE subject = 'deployment' AND subject_id = r.deployment_id AND kind = 'checkpoint'
          AND time BETWEEN r.started_at AND r.released_at
    ) saved
    WHERE r.released_at >= %(since)s AND r.released_at < %(until)s AND r.gpu > 0
      AND r.started_at IS NOT NULL AND r.outcome = ANY(%(interrupted)s)
    GROUP BY 1, 3
    """,
    """
    SELECT organization_id, 'cycles', trigger, count(*)
    FROM scheduling_schedulingcycle
    WHERE started_at >= %(since)s AND started_at < %(until)s GROUP BY 1, 3
    """,
)
"""Statements that select the organization, the name, the label and the number to add."""

_MEASURES = {
    WAIT: WAITS,
    **{
        phase: f"""
        SELECT NULL::bigint AS organization_id, {phase}_us / 1e6 AS seconds
        FROM scheduling_schedulingcycle
        WHERE started_at >= %(since)s AND started_at < %(until)s
        """  # noqa: S608
        for phase in PHASES
    },
}  # fmt: skip
"""By histogram, a statement that selects the organization and the seconds of each observation."""

_HISTOGRAM = """
    SELECT organization_id, %(name)s, coalesce(bound, '+Inf'), count(*)
    FROM ({measure}) measured LEFT JOIN LATERAL (
        SELECT bound FROM unnest(%(bounds)s::text[]) bound
        WHERE seconds <= bound::float ORDER BY bound::float LIMIT 1
    ) bucket ON true
    GROUP BY 1, 3
    UNION ALL
    SELECT organization_id, %(name)s, 'sum', sum(seconds) FROM ({measure}) measured GROUP BY 1
"""

_ADD = """
    INSERT INTO scheduling_total AS total (organization_id, name, label, value) {counts}
    ON CONFLICT (organization_id, name, label) DO UPDATE SET value = total.value + excluded.value
"""


@transaction.atomic
def count() -> datetime | None:
    """Count what has happened since the last count; return until when everything is counted.

    The first count of an installation only sets where the next one begins. Return None, and count
    nothing, while another process counts.
    """
    with connection.cursor() as cursor:
        cursor.execute(_END)
        end: datetime = cursor.fetchone()[0]
        CountedUntil.objects.get_or_create(pk=1, defaults={"time": end})
        cursor.execute(
            f"SELECT time, least(%s, time + {_AT_ONCE}) FROM scheduling_counteduntil"  # noqa: S608
            " WHERE id = 1 FOR UPDATE SKIP LOCKED",
            [end],
        )
        span: tuple[datetime, datetime] | None = cursor.fetchone()
        if span is None:
            return None
        since, until = span
        if until <= since:
            return since
        for sql, values in _statements():
            cursor.execute(_ADD.format(counts=sql), values | {"since": since, "until": until})
    CountedUntil.objects.update(time=until)
    return until


def _statements() -> Iterator[tuple[str, dict[str, Any]]]:
    for sql in _COUNTS:
        yield sql, {"interrupted": list(INTERRUPTED)}
    for name, measure in _MEASURES.items():
        sql = _HISTOGRAM.format(measure=measure)
        yield sql, {"name": name, "bounds": list(BOUNDS[name])}
