"""How much each user of an organization had allocated over time, from the runs."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from accounts.models import User
from orgs.models import Organization

_SQL = """
    WITH stay AS (
        SELECT d.created_by_id AS person, r.gpu, r.cpu_milli,
               extract(epoch FROM greatest(r.placed_at, %(begin)s) - %(begin)s) AS first,
               extract(epoch FROM least(r.released_at, %(end)s) - %(begin)s) AS last
        FROM deployments_run r JOIN deployments_deployment d ON d.id = r.deployment_id
        WHERE d.organization_id = %(organization)s AND r.placed_at < %(end)s
          AND (r.released_at IS NULL OR r.released_at > %(begin)s)
    )
    SELECT person, step, sum(overlap * gpu), sum(overlap * cpu_milli)
    FROM stay,
         generate_series(floor(first / %(step)s)::int, ceil(last / %(step)s)::int - 1) AS step,
         LATERAL (SELECT least(last, (step + 1) * %(step)s) - greatest(first, step * %(step)s))
             AS within(overlap)
    GROUP BY person, step
"""
"""`least` ignores null: a run that has not been released lasts until the end."""


@dataclass(frozen=True, slots=True)
class PersonOverTime:
    """What one user had: GPU-hours and core-hours in all, and on average in each step.

    `username` is None for the deployments of users who have been deleted.
    """

    username: str | None
    gpus: Sequence[float]
    cores: Sequence[float]
    gpu_hours: float
    core_hours: float


@dataclass(frozen=True, slots=True)
class UsageOverTime:
    """The users who had something allocated, the one with the most GPU-hours first.

    `times` are the ends of the steps.
    """

    times: Sequence[datetime]
    people: Sequence[PersonOverTime]


def read(
    organization: Organization, *, end: datetime, span: timedelta, steps: int
) -> UsageOverTime:
    """Return what the organization's users had allocated in the span before `end`."""
    step = span / steps
    begin, step_s = end - span, step.total_seconds()
    parameters: dict[str, Any] = {
        "organization": organization.pk,
        "begin": begin,
        "end": end,
        "step": step_s,
    }
    sums: dict[int | None, dict[int, tuple[float, float]]] = defaultdict(dict)
    with connection.cursor() as cursor:
        cursor.execute(_SQL, parameters)
        for person, number, gpu_s, milli_s in cursor.fetchall():
            sums[person][number] = float(gpu_s), float(milli_s) / 1000
    names = dict(User.objects.filter(pk__in=list(filter(None, sums))).values_list("pk", "username"))
    people = [
        _person(names.get(pk or 0), [of.get(i, (0.0, 0.0)) for i in range(steps)], step_s)
        for pk, of in sums.items()
    ]
    people.sort(key=lambda p: (-p.gpu_hours, -p.core_hours, p.username or ""))
    return UsageOverTime([begin + step * (i + 1) for i in range(steps)], people)


def _person(
    username: str | None, seconds: Sequence[tuple[float, float]], step_s: float
) -> PersonOverTime:
    gpu_s, core_s = zip(*seconds, strict=True)
    return PersonOverTime(
        username,
        [each / step_s for each in gpu_s],
        [each / step_s for each in core_s],
        sum(gpu_s) / 3600,
        sum(core_s) / 3600,
    )
