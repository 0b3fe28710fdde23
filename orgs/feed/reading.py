"""Read the feed of an organization from a number on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q
from rest_framework.renderers import JSONRenderer

from hypervisor.base.arrays import Among
from hypervisor.base.errors import Gone
from orgs.feed.kinds import condition
from orgs.feed.models import EventCounter, EventNumber
from orgs.feed.numbering import number_events
from orgs.feed.serializers import NumberedEventSerializer
from orgs.models import Event

WINDOW = 500
"""How many numbers are read at once."""

_WINDOWS = 20
"""How many windows one call reads in search of events that pass a filter."""


@dataclass(frozen=True, slots=True)
class Item:
    """An event as followers get it, in JSON."""

    number: int
    time: datetime
    kind: str
    subject: str
    subject_id: int
    json: bytes


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events a follower wants: those of some kinds, and about one deployment; else all.

    A subject among the kinds stands for all of its events.
    """

    kinds: frozenset[str] = frozenset()
    deployment: int | None = None

    def admits(self, item: Item) -> bool:
        """Return whether the follower wants the event."""
        if self.kinds and self.kinds.isdisjoint((item.kind, item.subject)):
            return False
        about = (Event.Subject.DEPLOYMENT, self.deployment)
        return self.deployment is None or (item.subject, item.subject_id) == about

    @property
    def condition(self) -> Q:
        kinds = condition(self.kinds)
        if self.deployment is None:
            return kinds
        return kinds & Q(subject=Event.Subject.DEPLOYMENT, subject_id=self.deployment)


@dataclass(frozen=True, slots=True)
class Page:
    """The wanted events up to the number `after`."""

    items: Sequence[Item]
    after: int


EVERYTHING = Filter()


def begin(organization_id: int, after: int | None) -> tuple[int, int]:
    """Return the number after which a caller begins to read, and the last number.

    None stands for the last number, 0 for the oldest event that is kept. All events that have been
    committed by now get their numbers first. Raises Gone if events after the number were deleted,
    or if the number was never assigned.
    """
    number_events()
    counter = _counter(organization_id)
    if after is None:
        after = counter.last_number
    elif after == 0:
        after = counter.deleted_to
    _check(counter, after)
    return after, counter.last_number


def read(organization_id: int, after: int, wanted: Filter = EVERYTHING) -> Page:
    """Return the next wanted events, at most WINDOW of them.

    If the wanted ones are rare, the page may be empty although there are more after it. Raises Gone
    as `begin` does.
    """
    last, read_to = _counter(organization_id).last_number, after
    items: list[Item] = []
    for _ in range(_WINDOWS):
        if items or read_to >= last:
            break
        window, read_to = read_to, min(read_to + WINDOW, last)
        items = _items(organization_id, window, read_to, wanted)
    # Read last: what was deleted while the page was read is missing in it.
    _check(_counter(organization_id), after)
    return Page(items, read_to)


def newer(positions: Mapping[int, int]) -> dict[int, Sequence[Item]]:
    """Return the events after a number of each organization, at most WINDOW of each.

    All events that have been committed by now get their numbers first.
    """
    number_events()
    counters = EventCounter.objects.filter(pk__in=positions).values_list("pk", "last_number")
    return {
        organization_id: _items(organization_id, after, min(after + WINDOW, last), EVERYTHING)
        for organization_id, last in counters
        if last > (after := positions[organization_id])
    }


def single(organization_id: int, number: int) -> Item | None:
    """Return the event with this number, None if it was deleted."""
    return next(iter(_items(organization_id, number - 1, number, EVERYTHING)), None)


def nearest(organization_id: int, after: int) -> int:
    """Return the number nearest to this one after which the feed can be read."""
    counter = _counter(organization_id)
    return max(counter.deleted_to, min(after, counter.last_number))


def last_number(organization_id: int) -> int:
    """Return the number of the last event that has one, 0 if there is none."""
    return _counter(organization_id).last_number


def _items(organization_id: int, after: int, to: int, wanted: Filter) -> list[Item]:
    return list(_rendered(numbered(organization_id, after, to, wanted.condition)))


def numbered(organization_id: int, after: int, to: int, wanted: Q) -> list[Event]:
    """Return the events after a number, up to another one, that are wanted, in order.

    They are read in two statements: in a join, PostgreSQL would compare each number with each event
    while it believes that there are no events.
    """
    rows = EventNumber.objects.filter(
        organization=organization_id, number__gt=after, number__lte=to
    )
    numbers = dict(rows.values_list("event", "number"))
    events = list(Event.objects.filter(wanted, Among("pk", numbers)))
    for event in events:
        event.numbering = EventNumber(
            event=event, organization_id=organization_id, number=numbers[event.pk]
        )
    return sorted(events, key=lambda event: event.numbering.number)


def _rendered(events: Sequence[Event]) -> Iterable[Item]:
    renderer = JSONRenderer()
    for event, shown in zip(events, NumberedEventSerializer(events, many=True).data, strict=True):
        json = renderer.render(shown)
        yield Item(shown["number"], event.time, event.kind, event.subject, event.subject_id, json)


def _counter(organization_id: int) -> EventCounter:
    found = EventCounter.objects.filter(pk=organization_id).first()
    return found or EventCounter(organization_id=organization_id, last_number=0)


def _check(counter: EventCounter, after: int) -> None:
    if after > counter.last_number:
        raise Gone(
            f"The last event has the number {counter.last_number}: {after} was never assigned in"
            " this database, which may have been restored from a backup. Read the present state,"
            f" then continue with `after={counter.last_number}`.",
            attr="after",
            code="events_unknown",
        )
    if after < counter.deleted_to:
        raise Gone(
            f"Events up to number {counter.deleted_to} were deleted. Continue with `after=0`, which"
            f" begins with the oldest event that is kept ({counter.deleted_to + 1}).",
            attr="after",
            code="events_deleted",
        )
