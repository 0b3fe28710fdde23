"""What Kubernetes reports of Pods whose containers are not running yet.

A Pod that has a node says `ContainerCreating` and no more until its container starts: whether its
image is being fetched, or its sandbox cannot be made, is in its events alone. To list them is an
optional right. They are only words for people, so they are asked for sparingly, and doing without
them is no error.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from clusters.drivers.base import DriverError
from clusters.drivers.kubernetes import failures
from clusters.drivers.kubernetes.api import Api

FIRST_S = 2
"""For so long after it got its node nothing is asked: most containers have started by then."""

AGAIN_S = 10
"""How long a Pod's events are remembered before the driver lists them again."""

PAUSE_S = 60
"""So long nothing is asked after a refusal, such as that of the missing right."""

AT_ONCE = 10
"""Of so many Pods events are asked for in one look: each is a call."""

_ID = re.compile(r"\b[0-9a-f]{12,}\b")
_NUMBER = re.compile(r"\d+")
_COMBINED = "(combined from similar events): "
"""What differs at each of a node's tries (ids, ports, times), and would make each one news."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class PodEvents:
    """The latest event of each Pod that prepares, in words, kept from look to look."""

    _known: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    _paused_until: datetime | None = None

    def latest(
        self, api: Api, pods: Mapping[str, Mapping[str, Any]], now: datetime
    ) -> dict[str, str]:
        """Return what is known of the Pods, by their uids; empty where nothing is."""
        self._known = {uid: known for uid, known in self._known.items() if uid in pods}
        for uid in self._due(pods, now)[:AT_ONCE]:
            if self._paused_until and now < self._paused_until:
                break
            self._ask(api, uid, now)
        return {uid: said for uid, (_, said) in self._known.items()}

    def _due(self, pods: Mapping[str, Mapping[str, Any]], now: datetime) -> list[str]:
        """Return the uids to ask for, those that have waited longest for it first."""
        asked = {uid: at for uid, (at, _) in self._known.items()}
        fresh = [uid for uid in pods if uid not in asked and _has_waited(pods[uid], now)]
        stale = [uid for uid, at in asked.items() if now - at >= timedelta(seconds=AGAIN_S)]
        return fresh + sorted(stale, key=lambda uid: asked[uid])

    def _ask(self, api: Api, uid: str, now: datetime) -> None:
        try:
            events = api.pod_events(uid)
        except DriverError as error:
            log.info("events_not_read", why=error)
            self._paused_until = now + timedelta(seconds=PAUSE_S)
        else:
            before = self._known.get(uid, (now, ""))[1]
            latest = said(events)
            is_news = _NUMBER.sub("", latest) != _NUMBER.sub("", before)
            self._known[uid] = (now, latest if is_news else before)


def said(events: list[dict[str, Any]]) -> str:
    """Return what the latest of a Pod's events says of its start; empty when that is nothing."""
    latest = max(enumerate(events), key=lambda e: (_at(e[1]), e[0]), default=(0, {}))[1]
    reason, message = latest.get("reason") or "", latest.get("message") or ""
    if reason == "Pulling":
        return failures.fetching(message)
    if latest.get("type") == "Warning" and reason != "FailedScheduling":
        return failures.held_up(reason, _ID.sub("…", message.removeprefix(_COMBINED)))
    return ""


def _has_waited(pod: Mapping[str, Any], now: datetime) -> bool:
    conditions = {c["type"]: c for c in pod["status"].get("conditions") or ()}
    placed = conditions.get("PodScheduled", {}).get("lastTransitionTime")
    return not placed or now - datetime.fromisoformat(placed) >= timedelta(seconds=FIRST_S)


def _at(event: Mapping[str, Any]) -> str:
    """Return when it was told last; texts of one form, so that they sort by time."""
    series = event.get("series") or {}
    times = (event.get("lastTimestamp"), series.get("lastObservedTime"), event.get("eventTime"))
    return max((str(at)[:19] for at in times if at), default="")
