"""Decide from the engine's events whether a container ended of its own accord.

An engine that stops, or restarts after a crash, ends its containers with signals (unless it has
`live-restore`), and their exit codes look like normal ones. The engine keeps its latest events only
in memory. An ending without an event therefore happened while the engine was stopping, down or
starting.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum, auto
from typing import Any

from docker import APIClient

from clusters.drivers.docker.client import TIMEOUT_S
from clusters.drivers.docker.times import timestamp

_KEPT = 256
"""How many events an engine keeps, of all kinds (moby, daemon/events: eventsLimit)."""

_ENDING_SIGNALS = ("9", "15")
_ABNORMAL = (137, 255)
"""Exit codes of a container that died with its machine or its shim process."""


class Ending(Enum):
    ITS_OWN = auto()
    STOPPED_BY_OTHERS = auto()
    WITH_THE_ENGINE = auto()


class EngineEvents:
    """The events that an engine has in memory."""

    def __init__(self, events: Sequence[Mapping[str, Any]], *, live_restore: bool) -> None:
        self._live_restore = live_restore
        self._died = {e["id"] for e in events if e.get("Action") == "die"}
        self._stopped = {e["id"] for e in events if _is_stop(e)}
        self._since = events[0]["time"] if len(events) >= _KEPT else 0

    @classmethod
    def of(cls, engine: APIClient) -> "EngineEvents":
        info = engine.info()
        # Up to the engine's current time, because it would wait for events up to a later time.
        events = recorded(engine, until=timestamp(info["SystemTime"]))
        return cls(events, live_restore=bool(info.get("LiveRestoreEnabled")))

    def ending(self, container: str, exit_code: int, ended_at: datetime | None) -> Ending:
        if container in self._stopped:
            return Ending.STOPPED_BY_OTHERS
        forgotten = ended_at is None or ended_at.timestamp() <= self._since
        if container in self._died or forgotten:
            return Ending.ITS_OWN
        if self._live_restore and exit_code not in _ABNORMAL:
            return Ending.ITS_OWN
        return Ending.WITH_THE_ENGINE


def _is_stop(event: Mapping[str, Any]) -> bool:
    """Whether the event is a stop; other signals may only make a program reload its files."""
    if event.get("Action") == "kill":
        return event["Actor"]["Attributes"].get("signal") in _ENDING_SIGNALS
    return event.get("Action") == "stop"


def recorded(engine: APIClient, *, until: float) -> list[dict[str, Any]]:
    """Return the events that the engine still has, up to a time in seconds, oldest first.

    The client's own method is not used, because it has no timeout.
    """
    answer = engine.get(
        f"{engine.base_url}/v{engine.api_version}/events",
        params={"since": "1", "until": f"{until:.6f}"},
        timeout=TIMEOUT_S,
    )
    answer.raise_for_status()
    return [json.loads(line) for line in answer.text.splitlines() if line]
