"""Explain from a Pod's events why its container is not running yet.

The status of a Pod on a node is only `ContainerCreating` until its container starts. Only its
events show whether the image is being pulled or the sandbox cannot be created. The right to list
them is optional. Because they only inform people, they are read sparingly, and their absence is not
an error.
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
"""Events are first read this long after a Pod got its node, when most containers have started."""

AGAIN_S = 10
"""How long a Pod's events are cached before the driver lists them again."""

PAUSE_S = 60
"""How long no events are read after a refusal, for example because the right is missing."""

AT_ONCE = 10
"""For how many Pods events are read in one reconcile; each needs a call."""

# Parts that differ between a node's attempts and must not make each attempt look new.
_ID = re.compile(r"\b[0-9a-f]{12,}\b")
_NUMBER = re.compile(r"\d+")
_COMBINED = "(combined from similar events): "

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class PodEvents:
    """The explanation of each Pod that is preparing, cached between reconciles."""

    _known: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    _paused_until: datetime | None = None

    def latest(
        self, api: Api, pods: Mapping[str, Mapping[str, Any]], now: datetime
    ) -> dict[str, str]:
        """Return the known explanations by the Pods' uids, "" if the events contain none."""
        self._known = {uid: known for uid, known in self._known.items() if uid in pods}
        for uid in self._due(pods, now)[:AT_ONCE]:
            if self._paused_until and now < self._paused_until:
                break
            self._read(api, uid, now)
        return {uid: message for uid, (_, message) in self._known.items()}

    def _due(self, pods: Mapping[str, Mapping[str, Any]], now: datetime) -> list[str]:
        """Return the uids of the Pods whose events are due, the least recently read first."""
        read_at = {uid: at for uid, (at, _) in self._known.items()}
        fresh = [uid for uid in pods if uid not in read_at and _has_waited(pods[uid], now)]
        stale = [uid for uid, at in read_at.items() if now - at >= timedelta(seconds=AGAIN_S)]
        return fresh + sorted(stale, key=lambda uid: read_at[uid])

    def _read(self, api: Api, uid: str, now: datetime) -> None:
        try:
            events = api.pod_events(uid)
        except DriverError as error:
            log.info("events_not_read", why=error)
            self._paused_until = now + timedelta(seconds=PAUSE_S)
        else:
            before = self._known.get(uid, (now, ""))[1]
            latest = explanation(events)
            is_news = _NUMBER.sub("", latest) != _NUMBER.sub("", before)
            self._known[uid] = (now, latest if is_news else before)


def explanation(events: list[dict[str, Any]]) -> str:
    """Return why the Pod has not started, from its latest event; "" if that does not explain it."""
    latest = max(enumerate(events), key=lambda e: (_at(e[1]), e[0]), default=(0, {}))[1]
    reason, message = latest.get("reason") or "", latest.get("message") or ""
    if reason == "Pulling":
        return failures.pulling(message)
    if latest.get("type") == "Warning" and reason != "FailedScheduling":
        return failures.not_yet_started(reason, _ID.sub("…", message.removeprefix(_COMBINED)))
    return ""


def _has_waited(pod: Mapping[str, Any], now: datetime) -> bool:
    conditions = {c["type"]: c for c in pod["status"].get("conditions") or ()}
    placed = conditions.get("PodScheduled", {}).get("lastTransitionTime")
    return not placed or now - datetime.fromisoformat(placed) >= timedelta(seconds=FIRST_S)


def _at(event: Mapping[str, Any]) -> str:
    """Return when the event was last reported, as text that sorts by time."""
    series = event.get("series") or {}
    times = (event.get("lastTimestamp"), series.get("lastObservedTime"), event.get("eventTime"))
    return max((str(at)[:19] for at in times if at), default="")
