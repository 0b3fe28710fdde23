"""What has been sent of notices, what waits to be sent, and whether anything sends."""

from collections.abc import Iterator
from datetime import datetime

from django.db import connection
from prometheus_client.core import Metric

from deployments.models import NoticeCount
from deployments.notices.kinds import Channel
from hypervisor.metrics.families import counter, number

_OUTCOMES = ("sent", "failed")

_DUE = """
    SELECT min(due_at) FROM (
        SELECT greatest(m.next_attempt_at, r.paused_until, r.leased_until) AS due_at
        FROM deployments_noticemessage m JOIN deployments_noticerecipient r ON r.id = m.recipient_id
        WHERE m.status = 'scheduled'
        UNION ALL
        SELECT greatest(n.due_at, r.paused_until, r.leased_until)
        FROM deployments_notice n JOIN deployments_noticerecipient r ON r.id = n.recipient_id
        WHERE n.message_id IS NULL
        UNION ALL
        SELECT oldest.time FROM deployments_noticecursor c CROSS JOIN LATERAL (
            SELECT e.time FROM orgs_eventnumber n JOIN orgs_event e ON e.id = n.event_id
            WHERE n.organization_id = c.organization_id AND n.number > c.position
            ORDER BY n.number LIMIT 1) oldest
        UNION ALL
        (SELECT e.time FROM orgs_unnumberedevent u JOIN orgs_event e ON e.id = u.event_id
         ORDER BY u.event_id LIMIT 1)
    ) AS waiting
"""
"""Since when something should have been sent, or an event should have been read for notices."""


def families(now: datetime) -> Iterator[Metric]:
    """Yield the figures at `now`."""
    counts = NoticeCount.objects.values_list("channel", "outcome", "value")
    found = {(channel, outcome): value for channel, outcome, value in counts}
    yield counter(
        "hypervisor_notice_attempts",
        "Attempts to send a message with notices, by channel and outcome.",
        ["channel", "outcome"],
        [((c, o), found.get((c, o), 0)) for c in Channel.values for o in _OUTCOMES],
    )
    with connection.cursor() as cursor:
        cursor.execute(_DUE)
        due = cursor.fetchone()[0] or now
    yield number(
        "hypervisor_notice_delay_seconds",
        "How long a notice, or an event that may become one, has been due.",
        max((now - due).total_seconds(), 0),
    )
