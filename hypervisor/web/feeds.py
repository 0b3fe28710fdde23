"""The newest events of the organizations that are followed, read once for all followers."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from typing import TypeVar

import structlog

from hypervisor.base.threads import in_thread
from orgs.feed.reading import WINDOW, Filter, Item, Page, newer, read

POLL_S = 0.1
"""How often new events are looked for. See docs/decisions for why this is no notification."""

OUTAGE_S = 1.0
"""How long to wait after the database did not answer."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Feed:
    """The events of one organization up to the number `position`, of which the newest are kept."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.followers = 0
        self._newest: deque[Item] = deque(maxlen=WINDOW)
        self._changed = asyncio.Event()

    def add(self, items: Sequence[Item]) -> None:
        self._newest.extend(items)
        self.position = items[-1].number
        self._changed.set()
        self._changed = asyncio.Event()

    def after(self, number: int) -> Sequence[Item] | None:
        """Return the events after the number; None if not all of them are kept here."""
        missing = self.position - number
        if missing > len(self._newest):
            return None
        return list(islice(self._newest, len(self._newest) - missing, None))

    async def changed(self) -> None:
        """Wait for the next event."""
        await self._changed.wait()


class Feeds:
    """The feeds that are followed at present. While there is none, nothing is read."""

    def __init__(self) -> None:
        self._feeds: dict[int, Feed] = {}
        self._reader: asyncio.Task[None] | None = None
        self._pages: dict[tuple[int, int, Filter], asyncio.Task[Page]] = {}
        # A thread of its own, so that no follower that catches up delays the others.
        self._for_new = ThreadPoolExecutor(1, "feeds")
        self._for_followers = ThreadPoolExecutor(1, "followers")

    @asynccontextmanager
    async def following(self, organization_id: int, last: int) -> AsyncIterator[Feed]:
        """Keep the organization's feed up to date in this block, from its last number on."""
        feed = self._feeds.setdefault(organization_id, Feed(last))
        feed.followers += 1
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read_on())
        try:
            yield feed
        finally:
            feed.followers -= 1
            if not feed.followers:
                del self._feeds[organization_id]

    async def next(self, feed: Feed, organization_id: int, after: int, wanted: Filter) -> Page:
        """Wait for events after the number; return the wanted ones, perhaps none."""
        while after >= feed.position:
            await feed.changed()
        items = feed.after(after)
        if items is None:
            return await self._page(organization_id, after, wanted)
        return Page([item for item in items if wanted.admits(item)], feed.position)

    async def _page(self, organization_id: int, after: int, wanted: Filter) -> Page:
        """Read a page, once for all followers that need the same one at the same time."""
        key = organization_id, after, wanted
        if key not in self._pages:
            reading = self.query(partial(read, organization_id, after, wanted))
            self._pages[key] = asyncio.create_task(reading)
            self._pages[key].add_done_callback(lambda _: self._pages.pop(key))
        # A follower that gives up must not cancel the reading of the others.
        return await asyncio.shield(self._pages[key])

    async def query(self, call: Callable[[], T]) -> T:
        """Run a call that uses the database for one follower."""
        return await in_thread(self._for_followers, call)

    async def _read_on(self) -> None:
        """Read new events until there are no followers any more."""
        while self._feeds:
            positions = {pk: feed.position for pk, feed in self._feeds.items()}
            try:
                found = await in_thread(self._for_new, partial(newer, positions))
            except Exception:
                log.warning("events_not_read", exc_info=True)
                await asyncio.sleep(OUTAGE_S)
                continue
            for pk, items in found.items():
                if pk in self._feeds and self._feeds[pk].position == positions[pk]:
                    self._feeds[pk].add(items)
            if not any(len(items) == WINDOW for items in found.values()):
                await asyncio.sleep(POLL_S)
