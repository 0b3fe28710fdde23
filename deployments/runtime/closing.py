"""End runs whose containers are gone, and the stopping deployments that they belong to.

Both happen in one transaction, because no later reconciliation reads a run that has ended.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

import structlog
from django.db import transaction
from django.db.models import F, IntegerField, OuterRef, Q, Subquery, Value
from django.db.models.functions import Coalesce

from clusters.wakeups import request_cycle
from deployments import lifecycle
from deployments.choices import Status
from deployments.lifecycle import Change, Verb, transition
from deployments.models import Deployment, DeploymentQuerySet
from deployments.runtime.models import Run

_OVER = Q(run=None) | Q(run_ended_at__isnull=False)
"""There was no run, or the newest one has ended."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Remark:
    """An addition to the reason of an ending: a code and a sentence."""

    code: str
    sentence: str


@transaction.atomic
def close(
    runs: Collection[int],
    *,
    actor: str,
    now: datetime,
    exit_code: int | None = None,
    remark: Remark | None = None,
) -> list[int]:
    """End those of the runs that have been released; return the ids of the ended deployments.

    A stopping deployment ends with its newest run. Older runs, which may still be stopping on other
    clusters, do not delay it.
    """
    rows = Run.objects.unfinished().filter(pk__in=runs, released_at__isnull=False)
    deployments = _locked(Deployment.objects.filter(runs__in=rows).order_by())
    code = Value(exit_code, output_field=IntegerField(null=True))
    rows.update(ended_at=now, exit_code=Coalesce(F("exit_code"), code))
    return _end_stopping(deployments, actor, now, remark)


@transaction.atomic
def heal(now: datetime, *, actor: str) -> list[int]:
    """End stopping deployments whose newest run has ended, and runs whose cluster was deleted.

    The reconciliation of a cluster never ends them. Returns the ids of the ended deployments.
    """
    lost = Run.objects.unfinished().filter(cluster=None, released_at__isnull=False)
    ended = close(lost.values_list("pk", flat=True), actor=actor, now=now)
    stranded = _with_newest_run(Deployment.objects.filter(status=Status.STOPPING)).filter(_OVER)
    ended += _end_stopping(_locked(stranded.order_by()), actor, now, None)
    if ended:
        log.warning("stopping_healed", deployments=ended)
    return ended


def _locked(deployments: DeploymentQuerySet) -> list[int]:
    """Lock these deployments in the order of their ids; return the ids."""
    rows = Deployment.objects.filter(pk__in=deployments.values("pk"))
    return list(rows.locked().values_list("pk", flat=True))


def _end_stopping(
    deployments: Iterable[int], actor: str, now: datetime, remark: Remark | None
) -> list[int]:
    """End the stopping deployments whose newest run has ended. The caller has locked the rows."""
    rows = Deployment.objects.filter(pk__in=deployments, status=Status.STOPPING)
    by_verb: dict[Verb, list[Change]] = {}
    for row in _with_newest_run(rows).filter(_OVER):
        completed = row.run_outcome == Run.Outcome.COMPLETED  # type: ignore[attr-defined]
        verb = lifecycle.FINISH_EXPIRED if completed else lifecycle.FINISH_STOP
        by_verb.setdefault(verb, []).append(_change(row, completed, remark))
    ended: list[int] = []
    for verb, changes in by_verb.items():
        ended += transition(verb, changes, actor=actor, now=now)
    organizations = Deployment.objects.filter(pk__in=ended).order_by().values_list("organization")
    for (organization,) in organizations.distinct() if ended else []:
        request_cycle(organization)
    return ended


def _with_newest_run(rows: DeploymentQuerySet) -> DeploymentQuerySet:
    newest = Run.objects.filter(deployment=OuterRef("pk")).order_by("-pk")
    return rows.annotate(
        run=Subquery(newest.values("pk")[:1]),
        run_outcome=Subquery(newest.values("outcome")[:1]),
        run_exit_code=Subquery(newest.values("exit_code")[:1]),
        run_ended_at=Subquery(newest.values("ended_at")[:1]),
    )


def _change(row: Deployment, completed: bool, remark: Remark | None) -> Change:
    exit_code = row.run_exit_code  # type: ignore[attr-defined]
    return Change(
        row.pk,
        f"{row.status_reason} {remark.sentence if remark else ''}".strip(),
        exit_code=None if completed else exit_code,
        data={
            "code": remark.code if remark else row.status_code,
            "cluster": row.cluster_id,
            "run": row.run,  # type: ignore[attr-defined]
            "exit_code": exit_code,
        },
    )
