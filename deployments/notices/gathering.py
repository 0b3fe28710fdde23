"""Which notices go into one message, and when.

A recipient gets at most one message in QUIET about a deployment, or about an array with all its
elements, and at most NOTICES_PER_HOUR messages in an hour. What comes meanwhile waits, and goes
together into a later message; the last message of an hour takes everything that is due.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Min, QuerySet

from deployments.models import Notice, NoticeMessage, NoticeRecipient
from deployments.notices.kinds import Kind

QUIET = timedelta(minutes=15)

_HOUR = timedelta(hours=1)

_VERBS = {
    Kind.PREEMPTED: "were preempted",
    Kind.FAILED: "failed",
    Kind.STARTED_LATE: "started after a long wait",
    Kind.COMPLETED: "completed",
    Kind.WAITS_LONG: "have been waiting for long",
    Kind.NEVER_STARTS: "cannot start",
}

Groups = Mapping[str, Sequence[Notice]]


@transaction.atomic
def gather(recipient: NoticeRecipient, now: datetime) -> None:
    """Put the recipient's notices that are due into messages, or postpone them."""
    due = recipient.notices.filter(message=None, due_at__lte=now)
    found = list(due.defer("detail").order_by("time", "pk"))
    if not found:
        return
    left = _left(recipient, now)
    if left <= 0:
        _postpone(found, _next_slot(recipient, now))
        return
    digest = [notice for notice in found if notice.is_digest]
    if digest:
        _create(recipient, digest, f"Daily digest: {counted(digest)}", "", now)
        left -= 1
    groups = _by_group([notice for notice in found if not notice.is_digest])
    recent = _recent(recipient, groups, now)
    for group, latest in recent.items():
        _postpone(groups.pop(group), latest + QUIET)
    _create_each(recipient, groups, left, now)


def _create_each(
    recipient: NoticeRecipient, groups: dict[str, list[Notice]], left: int, now: datetime
) -> None:
    """Create a message for each group, and one for all those beyond the limit."""
    names = list(groups)
    known = _known(recipient, groups)
    for group in names if len(names) <= left else names[: max(left - 1, 0)]:
        notices = groups.pop(group)
        _create(recipient, notices, _subject(notices, again=group in known), group, now)
    rest = [notice for notices in groups.values() for notice in notices]
    if rest and left > 0:
        _create(recipient, rest, f"Summary of {_total(rest):,} notices: {counted(rest)}", "", now)
    elif rest:
        _postpone(rest, _next_slot(recipient, now))


def _left(recipient: NoticeRecipient, now: datetime) -> int:
    """Return how many more messages the recipient may get at present."""
    return int(settings.NOTICES_PER_HOUR) - _of_last_hour(recipient, now).count()


def _next_slot(recipient: NoticeRecipient, now: datetime) -> datetime:
    oldest = _of_last_hour(recipient, now).aggregate(at=Min("created_at"))["at"]
    return (oldest or now) + _HOUR


def _of_last_hour(recipient: NoticeRecipient, now: datetime) -> QuerySet[NoticeMessage]:
    return recipient.messages.filter(is_test=False, created_at__gt=now - _HOUR)


def _recent(recipient: NoticeRecipient, groups: Groups, now: datetime) -> dict[str, datetime]:
    """Return when the recipient last got a message about each group, of those within QUIET."""
    rows = Notice.objects.filter(
        recipient=recipient, group__in=groups, message__created_at__gt=now - QUIET
    )
    return dict(rows.order_by().values_list("group").annotate(at=Max("message__created_at")))


def _by_group(notices: Sequence[Notice]) -> dict[str, list[Notice]]:
    groups: dict[str, list[Notice]] = defaultdict(list)
    for notice in notices:
        groups[notice.group].append(notice)
    return groups


def _postpone(notices: Sequence[Notice], until: datetime) -> None:
    Notice.objects.filter(pk__in=[notice.pk for notice in notices]).update(due_at=until)


def _create(
    recipient: NoticeRecipient, notices: Sequence[Notice], subject: str, thread: str, now: datetime
) -> None:
    message = recipient.messages.create(
        subject=subject, thread=thread, next_attempt_at=now, created_at=now
    )
    ids = [notice.pk for notice in notices]
    Notice.objects.filter(pk__in=ids, message=None).update(message=message)


def _known(recipient: NoticeRecipient, groups: Groups) -> set[str]:
    """Return the groups about which the recipient already got a message."""
    rows = Notice.objects.filter(recipient=recipient, group__in=groups, message__isnull=False)
    return set(rows.order_by().values_list("group", flat=True).distinct())


def _subject(notices: Sequence[Notice], *, again: bool) -> str:
    """Return the subject of a message about one deployment or array."""
    last = notices[-1]
    if _total(notices) == 1:
        return last.headline
    if last.group.startswith("array-"):
        more = "more elements" if again else "elements"
        return f"{last.name}: {counted(notices, more)}"
    return f"{last.headline} ({len(notices)} notices)"


def counted(notices: Sequence[Notice], noun: str = "") -> str:
    """Return how many there are of each kind, such as `3 failed, 1,200 were preempted`."""
    counts: dict[str, int] = defaultdict(int)
    for notice in notices:
        counts[notice.kind] += notice.count
    parts = [f"{counts[kind]:,} {noun} {_VERBS[kind]}" for kind in Kind if kind in counts]
    return ", ".join(part.replace("  ", " ") for part in parts)


def _total(notices: Sequence[Notice]) -> int:
    return sum(notice.count for notice in notices)
