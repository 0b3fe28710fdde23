"""Objects of one kind, listed when they are needed, and kept up to date while a thread watches."""

from collections.abc import Callable, Iterator
from threading import Lock, Thread
from time import monotonic
from typing import Generic, TypeVar

import structlog

from clusters.drivers.base import DriverError
from clusters.drivers.kubernetes.api import Json, Listed
from clusters.drivers.kubernetes.errors import FORBIDDEN, Refused, unless_forbidden

T = TypeVar("T")
R = TypeVar("R")

WATCH_S = 240
"""How long a watch lasts. The next one begins with a list."""

PAUSE_S = 60
"""How long nothing is listed after the service account was found to lack the right."""

log = structlog.get_logger(__name__)


class Followed(Generic[T]):
    """The objects of one kind as `read` returns them, except those for which it returns None.

    `on_news` is called in the watching thread when one of them has changed. `denied` are those of
    the rights `list` and `watch` that the service account lacked at the last call that needs them.
    """

    def __init__(
        self,
        list_all: Callable[[], Listed],
        watch: Callable[[str, int], Iterator[Json]],
        read: Callable[[Json], T | None],
        on_news: Callable[[], None],
    ) -> None:
        self._list_all, self._watch, self._read, self._on_news = list_all, watch, read, on_news
        self._objects: dict[str, T] = {}
        self._is_current = False
        self.denied: frozenset[str] = frozenset()
        self._forbidden_until = 0.0
        self._thread: Thread | None = None
        self._lock = Lock()

    def present(self) -> list[T] | None:
        """Return the objects as they are now; None if the service account may not list them."""
        with self._lock:
            if self._is_current:
                return list(self._objects.values())
        if monotonic() < self._forbidden_until:
            return None
        listed = unless_forbidden(lambda: self._permitted("list", self._list_all))
        if listed is None:
            self._forbidden_until = monotonic() + PAUSE_S
            return None
        items, _ = listed
        return list(self._by_uid(items).values())

    def keep_up(self) -> None:
        """Start a thread that watches the objects for a while, unless one does."""
        with self._lock:
            if (self._thread and self._thread.is_alive()) or monotonic() < self._forbidden_until:
                return
            self._thread = Thread(target=self._follow, name="follow", daemon=True)
            self._thread.start()

    def _follow(self) -> None:
        try:
            items, version = self._permitted("list", self._list_all)
            if self._replace(self._by_uid(items)):
                self._on_news()
            for event in self._permitted("watch", lambda: self._watch(version, WATCH_S)):
                if event["type"] == "ERROR":  # Usually 410; the next watch lists again.
                    return
                if self._apply(event):
                    self._on_news()
        except DriverError as error:
            # Without the right nothing is watched, and `present` lists.
            log.info("watch_ended", why=str(error))
        finally:
            with self._lock:
                self._is_current = False

    def _permitted(self, right: str, call: Callable[[], R]) -> R:
        """Return the response, and record whether the service account has this right."""
        try:
            response = call()
        except Refused as error:
            if error.status == FORBIDDEN:
                self.denied |= {right}
            raise
        self.denied -= {right}
        return response

    def _replace(self, objects: dict[str, T]) -> bool:
        with self._lock:
            is_news = objects != self._objects
            self._objects, self._is_current = objects, True
            return is_news

    def _apply(self, event: Json) -> bool:
        uid, item = event["object"]["metadata"]["uid"], None
        if event["type"] != "DELETED":
            item = self._read(event["object"])
        with self._lock:
            before = self._objects.pop(uid, None)
            if item is not None:
                self._objects[uid] = item
            return before != item

    def _by_uid(self, items: list[Json]) -> dict[str, T]:
        read = ((item["metadata"]["uid"], self._read(item)) for item in items)
        return {uid: item for uid, item in read if item is not None}
