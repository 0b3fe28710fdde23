"""What a caller follows. A view makes it and checks it; the event loop of the process serves it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import StreamingHttpResponse

from orgs.feed.reading import Filter, Item

STREAM = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Subscription:
    """One caller's wish to get an organization's events after a number as they happen.

    `last` is the organization's last number at the time of the request. With `wait_s`, the caller
    gets one page, at the latest after so many seconds; without, a stream. `is_allowed`
    authenticates the caller again and checks the membership; it needs the database.
    """

    organization: int
    user: int
    after: int
    last: int
    wanted: Filter
    wait_s: int | None
    is_allowed: Callable[[], bool]


class Following(StreamingHttpResponse):
    """The head of a response. The web server's event loop writes the body; see `hypervisor.web`."""

    def __init__(self, subscription: Subscription, **options: Any) -> None:
        super().__init__((), **options)
        self.subscription = subscription
        # Otherwise a proxy may buffer events until there are more.
        self.headers["X-Accel-Buffering"] = "no"


def page(items: Sequence[Item], after: int) -> bytes:
    """Return the response to a long poll."""
    return b'{"events":[%s],"after":%d}' % (b",".join(item.json for item in items), after)


def chunk(items: Sequence[Item]) -> bytes:
    """Return the events in the format of server-sent events."""
    return b"".join(b"id: %d\ndata: %s\n\n" % (item.number, item.json) for item in items)


def position(after: int) -> bytes:
    """Return a piece of a stream that is no event: it sets where the follower resumes."""
    return b": alive\nid: %d\n\n" % after
