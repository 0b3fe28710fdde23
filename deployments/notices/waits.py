"""Deployments that have been waiting for long, or can never start; no event says so."""

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from django.db.models import Exists, F, Max, OuterRef
from django.db.models.functions import Coalesce, Greatest

from deployments.models import Notice
from deployments.notices.facts import Fact, about, rows_of_notices
from deployments.notices.kinds import Kind
from deployments.wait_codes import NEVER
from hypervisor.base.durations import in_words

_MOST = 1000
"""How many deployments one scan reports; the next one continues."""


def waiting_long(organization: int, minutes: int, since: datetime, now: datetime) -> Iterator[Fact]:
    """Yield the deployments that began to have waited this long after `since`, up to `now`.

    Those on hold wait because a person wants it.
    """
    rows = rows_of_notices().filter(organization=organization, held=False).pending()
    began = Greatest(F("queued_at"), Coalesce(Max("runs__released_at"), F("queued_at")))
    limit = timedelta(minutes=minutes)
    found = rows.annotate(began=began).filter(began__gt=since - limit, began__lte=now - limit)
    for row in found.order_by("pk"):
        waited_s = (now - row.began).total_seconds()
        yield about(
            row,
            Kind.WAITS_LONG,
            key=f"waits-{row.pk}-{int(row.began.timestamp())}-{minutes}",
            headline=f"{row.name} has been waiting for {in_words(waited_s)}",
            detail=row.status_reason,
            time=now,
            limit_minutes=minutes,
        )


def never_starting(
    organization: int, owners: Collection[int] | None, now: datetime
) -> Iterator[Fact]:
    """Yield deployments of these owners, or of all, that wait for a change by a person.

    Each is reported once, until it is queued again.
    """
    rows = rows_of_notices().filter(organization=organization, held=False).pending()
    if owners is not None:
        rows = rows.filter(created_by__in=owners)
    reported = Notice.objects.filter(
        deployment_id=OuterRef("pk"), kind=Kind.NEVER_STARTS, time__gte=OuterRef("queued_at")
    )
    found = rows.filter(~Exists(reported), status_code__in=NEVER)
    for row in found.order_by("pk")[:_MOST]:
        yield about(
            row,
            Kind.NEVER_STARTS,
            key=f"never-{row.pk}-{int(row.queued_at.timestamp())}",
            headline=f"{row.name} cannot start",
            detail=row.status_reason,
            time=now,
        )
