"""Changes of any number of deployments in a constant number of statements.

The caller has checked roles and states. Each function locks the rows in the order of their ids,
changes those that still have the revision that the caller read, with an event for each, and returns
their ids.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from django.db.models import F
from django.utils import timezone

from clusters.wakeups import request_cycle, request_reconcile
from deployments import lifecycle, wait_codes, waiting
from deployments.bounds import check_bounds_of
from deployments.choices import Status
from deployments.lifecycle import Change, Verb, record_wait_reasons, transition
from deployments.models import Deployment
from orgs.events import record_many
from orgs.models import Event

HELD_BY = "Held by {}: waits until it is released."
RELEASED_BY = "Released by {}."
STOPPED_BY = "Stopped by {}."
CANCELLED_BY = "Cancelled by {}."
STARTED = "Started again: waits for the next cycle."
STARTED_HELD = "Started again: held, waits until it is released."
RELEASED = "Released: waits for the next cycle."


class Row(NamedTuple):
    """What decides on the change of one deployment."""

    pk: int
    status: str
    revision: int
    organization: int
    created_by: int | None
    held: bool
    priority: int


def carry_out(rows: Sequence[Row], verb: Verb, *, actor: str, reason: str) -> set[int]:
    """Carry out a verb of the lifecycle that does not depend on more than the row."""
    changes = [Change(row.pk, reason, revision=row.revision) for row in rows]
    return _transition(rows, verb, changes, actor)


def start(rows: Sequence[Row], *, actor: str, bounded: bool = True) -> set[int]:
    """Queue ended deployments again. Raises Conflict if too many would be pending."""
    if bounded:
        check_bounds_of(Counter((row.created_by, row.organization) for row in rows), inserts=False)
    changes = [
        Change(row.pk, STARTED_HELD, revision=row.revision, status_code=wait_codes.HELD)
        if row.held
        else Change(row.pk, STARTED, revision=row.revision)
        for row in rows
    ]
    changed = _transition(rows, lifecycle.RESTART, changes, actor)
    _record_obstacles(changed)
    return changed


def hold(rows: Sequence[Row], *, actor: str) -> set[int]:
    """Put pending deployments on hold."""
    reason = HELD_BY.format(actor)
    values = {"held": True, "status_reason": reason, "status_code": wait_codes.HELD}
    return _change(rows, values, kind="held", actor=actor, reason=reason)


def release(rows: Sequence[Row], *, actor: str) -> set[int]:
    """Let held deployments compete again."""
    values = {
        "held": False, "suspended_until": None,
        "status_reason": RELEASED, "status_code": "released",
    }  # fmt: skip
    reason = RELEASED_BY.format(actor)
    changed = _change(rows, values, kind="released", actor=actor, reason=reason)
    _record_obstacles(changed)
    return changed


def reprioritize(rows: Sequence[Row], *, actor: str, priority: int) -> set[int]:
    """Give deployments that have not ended another priority."""
    values = {"priority": priority, "suspended_until": None}
    data = {row.pk: {"priority": [row.priority, priority]} for row in rows}
    return _change(rows, values, kind="updated", actor=actor, reason="Changed priority.", data=data)


def _transition(rows: Sequence[Row], verb: Verb, changes: Sequence[Change], actor: str) -> set[int]:
    formers = transition(verb, changes, actor=actor, now=timezone.now())
    _request_cycles(rows, formers)
    for cluster in {former for former in formers.values() if former is not None}:
        request_reconcile(cluster)
    return set(formers)


def _change(
    rows: Sequence[Row],
    values: Mapping[str, Any],
    *,
    kind: str,
    actor: str,
    reason: str,
    data: Mapping[int, dict[str, Any]] | None = None,
) -> set[int]:
    """Set columns of the deployments whose status stays."""
    revisions = {row.pk: row.revision for row in rows}
    locked = Deployment.objects.filter(pk__in=revisions).locked().values_list("pk", "revision")
    changed = {pk for pk, revision in locked if revisions[pk] == revision}
    Deployment.objects.filter(pk__in=changed).update(**values, revision=F("revision") + 1)
    now = timezone.now()
    record_many(
        [
            Event(
                organization_id=row.organization,
                subject=Event.Subject.DEPLOYMENT,
                subject_id=row.pk,
                time=now,
                kind=kind,
                actor=actor,
                reason=reason,
                data=(data or {}).get(row.pk, {}),
            )
            for row in rows
            if row.pk in changed
        ]
    )
    _request_cycles(rows, changed)
    return changed


def _record_obstacles(deployments: Collection[int]) -> None:
    """Store why these pending deployments do not compete, for those that do not."""
    rows = Deployment.objects.filter(pk__in=deployments, status=Status.PENDING, held=False)
    found = waiting.obstacles(list(rows.defer("env", "command")), timezone.now())
    record_wait_reasons({pk: (each.code, each.reason) for pk, each in found.items()})


def _request_cycles(rows: Sequence[Row], changed: Collection[int]) -> None:
    for organization in sorted({row.organization for row in rows if row.pk in changed}):
        request_cycle(organization)
