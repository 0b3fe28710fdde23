"""Callers that follow events: each is a coroutine, and none has a thread or a queue of its own.

A follower only has a position. The newest events are in its organization's feed, which all of its
followers share; one that falls behind reads pages from the database, at its own pace.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from functools import partial
from random import uniform

from django.db import DatabaseError, InterfaceError

from hypervisor.base.errors import DomainError
from hypervisor.web.feeds import Feed, Feeds
from hypervisor.web.messages import Message, Send, refuse
from orgs.feed.following import Subscription, chunk, page, position
from orgs.feed.reading import Item

ALIVE_S = 15.0
"""How often a stream without events gets a message."""

CHECK_S = 10.0
"""A follower's token and membership were checked at most this long ago."""

_BEGIN_CHECK = 0.7
"""The part of CHECK_S after which the next check begins. Until the end of CHECK_S, events are sent
meanwhile."""

_USERS_SHARE, _ORGANIZATIONS_SHARE = 4, 2
"""One user may have a quarter of the followers of a process, and one organization half of them."""

_ENDS = (DomainError, DatabaseError, InterfaceError)
"""What ends a follower that catches up: events after its position were deleted, or an outage. Its
next call gets the reason."""

_Key = tuple[str, int]


class Followers:
    """The followers of this process, at most `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count: Counter[_Key] = Counter()
        self._feeds = Feeds()

    async def serve(self, subscription: Subscription, start: Message, send: Send) -> None:
        """Write the response until it is complete or this call is cancelled."""
        if reason := self._refusal(subscription):
            await refuse(send, 429, "busy", f"{reason} Try again in 10 seconds.")
            return
        keys = _keys(subscription)
        self._count.update(keys)
        try:
            async with self._feeds.following(subscription.organization, subscription.last) as feed:
                if subscription.wait_s is None:
                    await self._stream(subscription, feed, start, send)
                else:
                    await self._wait(subscription, feed, start, send)
        finally:
            self._count.subtract(keys)
            for key in keys:
                if not self._count[key]:
                    del self._count[key]

    async def _stream(
        self, subscription: Subscription, feed: Feed, start: Message, send: Send
    ) -> None:
        """Send events as they happen, until the caller may not see them any more."""
        await send(start)
        await _send_piece(send, position(subscription.after))
        with closing(_Access(partial(self._feeds.query, subscription.is_allowed))) as access:
            await self._send_events(subscription, feed, access, send)
        await send({"type": "http.response.body", "body": b""})

    async def _send_events(
        self, subscription: Subscription, feed: Feed, access: "_Access", send: Send
    ) -> None:
        now = asyncio.get_running_loop().time
        after, alive_at = subscription.after, now() + ALIVE_S
        while True:
            try:
                async with asyncio.timeout_at(min(alive_at, access.due_at)):
                    found = await self._feeds.next(
                        feed, subscription.organization, after, subscription.wanted
                    )
            except TimeoutError:
                found = None
            except _ENDS:
                return
            if not await access.holds():
                return
            if found is not None:
                after = found.after
            if found is not None and found.items:
                await _send_piece(send, chunk(found.items))
            elif now() >= alive_at:
                await _send_piece(send, position(after))
            else:
                continue
            alive_at = now() + ALIVE_S

    async def _wait(
        self, subscription: Subscription, feed: Feed, start: Message, send: Send
    ) -> None:
        """Send the first wanted events, or an empty page at the end of the wait."""
        now = asyncio.get_running_loop().time
        after, began = subscription.after, now()
        items: Sequence[Item] = ()
        try:
            async with asyncio.timeout(subscription.wait_s):
                while not items:
                    found = await self._feeds.next(
                        feed, subscription.organization, after, subscription.wanted
                    )
                    items, after = found.items, found.after
        except (TimeoutError, *_ENDS):
            pass
        late = now() - began > CHECK_S
        if late and not await self._feeds.query(subscription.is_allowed):
            items, after = (), subscription.after  # The next call is refused.
        body = page(items, after)
        start["headers"].append((b"content-length", str(len(body)).encode()))
        await send(start)
        await send({"type": "http.response.body", "body": body})

    def _refusal(self, subscription: Subscription) -> str | None:
        in_all, by_user, by_organization = (self._count[key] for key in _keys(subscription))
        if in_all >= self._limit:
            return f"Events are being followed {in_all} times, which is the limit."
        if by_user >= max(1, self._limit // _USERS_SHARE):
            return f"You already follow events {by_user} times, which is the limit."
        if by_organization >= max(1, self._limit // _ORGANIZATIONS_SHARE):
            return f"Your organization already follows events {by_organization} times."
        return None


class _Access:
    """Whether a follower may see the events: found out again and again, while events are sent."""

    def __init__(self, check: Callable[[], Awaitable[bool]]) -> None:
        self._now = asyncio.get_running_loop().time
        self._check = check
        self._checking: asyncio.Future[bool] | None = None
        # The first check comes at a random time, so that those who came together are not checked
        # together.
        later_s = uniform(0, _BEGIN_CHECK * CHECK_S)  # noqa: S311 no secret
        self._since = self._began = self._now() - _BEGIN_CHECK * CHECK_S + later_s

    @property
    def due_at(self) -> float:
        """Return when `holds` has to be called again at the latest."""
        return self._since + CHECK_S * (_BEGIN_CHECK if self._checking is None else 1)

    async def holds(self) -> bool:
        """Return what was found out at most CHECK_S ago, and begin the next check in time."""
        now = self._now()
        if self._checking is None and now >= self.due_at:
            self._checking, self._began = asyncio.ensure_future(self._check()), now
        if self._checking is None or not (self._checking.done() or now >= self._since + CHECK_S):
            return True
        checking, self._checking, self._since = self._checking, None, self._began
        return await checking

    def close(self) -> None:
        if self._checking is not None:
            self._checking.cancel()


def _keys(subscription: Subscription) -> tuple[_Key, _Key, _Key]:
    return ("all", 0), ("user", subscription.user), ("organization", subscription.organization)


async def _send_piece(send: Send, piece: bytes) -> None:
    await send({"type": "http.response.body", "body": piece, "more_body": True})
