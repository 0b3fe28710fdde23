"""What webhooks have been sent, what waits to be sent, and whether anything sends."""

from collections.abc import Collection, Iterator
from datetime import datetime

from django.db import connection
from django.db.models import Case, Count, Value, When
from prometheus_client.core import Metric

from hypervisor.metrics.families import counter, gauge, number
from orgs.models import AttemptCount, Webhook

_STATES = ("working", "failing", "disabled")

_WAITING = """
    SELECT w.organization_id, min(oldest.event_at),
        min(greatest(oldest.due_at, w.paused_until, w.leased_until))
    FROM orgs_webhook w CROSS JOIN LATERAL (
        (SELECT e.time AS event_at, e.time AS due_at
         FROM orgs_eventnumber n JOIN orgs_event e ON e.id = n.event_id
         WHERE n.organization_id = w.organization_id AND n.number > w.position
         ORDER BY n.number LIMIT 1)
        UNION ALL
        (SELECT d.created_at, d.next_attempt_at FROM orgs_delivery d
         WHERE d.webhook_id = w.id AND d.status = 'scheduled' ORDER BY d.next_attempt_at LIMIT 1)
    ) oldest
    WHERE w.enabled GROUP BY 1
"""
"""By organization: the time of an event that was not delivered yet, and since when an attempt is
due."""

_WITHOUT_NUMBER = """
    SELECT e.time FROM orgs_unnumberedevent u JOIN orgs_event e ON e.id = u.event_id
    WHERE EXISTS (SELECT FROM orgs_webhook w WHERE w.enabled)
    ORDER BY u.event_id LIMIT 1
"""
"""While nothing sends and there are no followers, events do not even get numbers."""


def families(now: datetime, organizations: Collection[int]) -> Iterator[Metric]:
    """Yield the figures at `now`, those by organization for these organizations."""
    counts = AttemptCount.objects.values_list("organization", "outcome", "value")
    found = {(pk, outcome): value for pk, outcome, value in counts}
    outcomes = AttemptCount.Outcome.values
    having = {pk for pk, _ in found} & {*organizations}
    yield counter(
        "hypervisor_webhook_attempts",
        "Attempts to deliver a message of a webhook, by outcome.",
        ["organization", "outcome"],
        [((pk, o), found.get((pk, o), 0)) for pk in sorted(having) for o in outcomes],
    )
    yield gauge(
        "hypervisor_webhooks",
        "Webhooks by state: failing since the last attempt, disabled, else working.",
        ["organization", "state"],
        [((pk, state), many) for pk, state, many in _states() if pk in organizations],
    )
    with connection.cursor() as cursor:
        cursor.execute(_WAITING)
        waiting = cursor.fetchall()
        cursor.execute(_WITHOUT_NUMBER)
        due = [row[0] for row in cursor.fetchall()] + [row[2] for row in waiting]
    yield gauge(
        "hypervisor_webhook_undelivered_seconds",
        "Age of the oldest event that an enabled webhook has not delivered yet.",
        ["organization"],
        [((pk,), _age(now, time)) for pk, time, _ in waiting if pk in organizations],
    )
    yield number(
        "hypervisor_webhook_delay_seconds",
        "How long an attempt to deliver a message has been due.",
        _age(now, min(due, default=now)),
    )


def _states() -> Iterator[tuple[int, str, int]]:
    state = Case(
        When(enabled=False, then=Value("disabled")),
        When(failures__gt=0, then=Value("failing")),
        default=Value("working"),
    )
    rows = Webhook.objects.order_by().annotate(state=state).values_list("organization", "state")
    found = {(pk, state): many for pk, state, many in rows.annotate(many=Count("pk"))}
    for pk in sorted({pk for pk, _ in found}):
        for name in _STATES:
            yield pk, name, found.get((pk, name), 0)


def _age(now: datetime, time: datetime) -> float:
    return max((now - time).total_seconds(), 0)
