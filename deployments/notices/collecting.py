"""Collect the facts that recipients want, each exactly once.

The notices of a fact are written in the transaction that advances the organization's position in
the feed. A process that dies in between leaves neither, so the next one collects the fact again.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Q

from deployments.models import Notice, NoticeCursor, NoticeRule
from deployments.notices.facts import EVENTS, Fact, of_events
from deployments.notices.kinds import Kind
from deployments.notices.recipients import Rules, Wanted, next_digest, recipients_of, rules_of
from deployments.notices.waits import never_starting, waiting_long
from orgs.feed.numbering import number_events
from orgs.feed.reading import last_number, nearest, numbered
from orgs.models import Event, Organization

WINDOW = 500
"""How many numbers of the feed one transaction reads."""

SCAN_EVERY = timedelta(seconds=30)
"""How often deployments that wait are looked for."""

SETTLE = timedelta(seconds=10)
"""How long a notice waits for others about the same deployment or array, to go with them."""

_BEHIND = """
    SELECT c.organization_id FROM orgs_eventcounter c
    LEFT JOIN deployments_noticecursor n USING (organization_id)
    WHERE c.last_number > coalesce(n.position, 0) ORDER BY 1
"""


def collect(now: datetime) -> None:
    """Collect from all feeds, up to the events that have been committed by now."""
    number_events()
    with connection.cursor() as cursor:
        cursor.execute(_BEHIND)
        behind = [row[0] for row in cursor.fetchall()]
    for organization in behind:
        while read_feed(organization, now):
            pass


@transaction.atomic
def read_feed(organization: int, now: datetime) -> bool:
    """Collect from the next part of the feed; return whether there is more.

    If another process is reading it, return False.
    """
    cursor = _taken(organization, now)
    if cursor is None:
        return False
    last, start = last_number(organization), nearest(organization, cursor.position)
    end = min(start + WINDOW, last)
    wanted = Q(subject=Event.Subject.DEPLOYMENT, kind__in=EVENTS)
    found = numbered(organization, start, end, wanted)
    if found:
        _add(of_events(found), rules_of(organization), now)
    NoticeCursor.objects.filter(pk=organization).update(position=end)
    return end < last


def scan(now: datetime) -> None:
    """Collect what deployments wait for, in each organization for which somebody asks that."""
    wants = NoticeRule.objects.filter(
        enabled=True, kinds__overlap=[Kind.WAITS_LONG, Kind.NEVER_STARTS]
    )
    people = wants.exclude(user=None).filter(organization=None).values("user")
    organizations = Organization.objects.filter(
        Q(pk__in=wants.exclude(organization=None).values("organization"))
        | Q(memberships__user__in=people)
    )
    for pk in organizations.order_by("pk").distinct().values_list("pk", flat=True):
        _scan(pk, now)


@transaction.atomic
def _scan(organization: int, now: datetime) -> None:
    cursor = _taken(organization, now)
    if cursor is None or cursor.scanned_at > now - SCAN_EVERY:
        return
    rules = rules_of(organization)
    _add(_waits(organization, rules, cursor.scanned_at, now), rules, now)
    NoticeCursor.objects.filter(pk=organization).update(scanned_at=now)


def _waits(organization: int, rules: Rules, since: datetime, now: datetime) -> Iterator[Fact]:
    wanting = [rule for rule in rules.rules if rule.enabled]
    for minutes in sorted({r.wait_minutes for r in wanting if Kind.WAITS_LONG in r.kinds}):
        yield from waiting_long(organization, minutes, since, now)
    never = [rule for rule in wanting if Kind.NEVER_STARTS in rule.kinds]
    if never:
        owners = {rule.user_id for rule in never if rule.user_id}
        everybody = any(rule.organization_id is not None for rule in never)
        yield from never_starting(organization, None if everybody else owners, now)


def _taken(organization: int, now: datetime) -> NoticeCursor | None:
    """Lock the organization's position; None if another process has, or the organization is gone.

    The organization is protected first, because its deletion locks it before anything else.
    """
    if not Organization.objects.protect([organization]):
        return None
    rows = NoticeCursor.objects.locked(skip_locked=True)
    if not NoticeCursor.objects.filter(pk=organization).exists():
        NoticeCursor.objects.bulk_create(
            [NoticeCursor(organization_id=organization, scanned_at=now)], ignore_conflicts=True
        )
    return rows.filter(pk=organization).first()


def _add(facts: Iterable[Fact], rules: Rules, now: datetime) -> None:
    """Add a notice for each recipient of each fact; for equal ones about an array, only one."""
    wanted = [each for fact in facts for each in rules.wanting(fact)]
    recipients = recipients_of({each.target for each in wanted})
    notices: dict[tuple[int, str], Notice] = {}
    for each in wanted:
        if recipient := recipients.get(each.target):
            notice = _notice(each, recipient.pk, now)
            alike = f"{notice.group}-{notice.kind}" if each.fact.array else notice.key
            present = notices.setdefault((recipient.pk, alike), notice)
            present.count += present is not notice
    Notice.objects.bulk_create(notices.values(), ignore_conflicts=True)


def _notice(wanted: Wanted, recipient: int, now: datetime) -> Notice:
    fact, hour = wanted.fact, wanted.digest_hour
    return Notice(
        recipient_id=recipient,
        organization_id=fact.organization,
        deployment_id=fact.deployment,
        name=fact.array[1] if fact.array else fact.name,
        group=fact.group,
        kind=fact.kind,
        key=fact.key,
        headline=fact.headline,
        detail=fact.detail,
        time=fact.time,
        is_digest=hour is not None,
        due_at=now + SETTLE if hour is None else next_digest(hour, now),
    )
