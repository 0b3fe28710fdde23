"""Whether a container came to its end by itself: only the engine's events tell.

An engine that stops, or that starts again after a crash, ends its containers with signals (unless
it has `live-restore`), and the exit code looks like their own. But it keeps its last events in
memory only: an ending that the present engine has not seen happened while it went down, was down or
came up.
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
"""Exit codes of a container that died with its machine or its shim."""


class Fate(Enum):
    ITS_OWN = auto()
    STOPPED_BY_OTHERS = auto()
    ENDED_WITH_THE_ENGINE = auto()


class Witness:
    """What the engine remembers at one time."""

    def __init__(self, events: Sequence[Mapping[str, Any]], *, live_restore: bool) -> None:
        self._live_restore = live_restore
        self._died = {e["id"] for e in events if e.get("Action") == "die"}
        self._stopped = {e["id"] for e in events if _asks_for_an_end(e)}
        self._since = events[0]["time"] if len(events) >= _KEPT else 0

    @classmethod
    def of(cls, engine: APIClient) -> "Witness":
        info = engine.info()
        # Until the engine's own present: later, and it would wait for what is still to come.
        events = recorded(engine, until=timestamp(info["SystemTime"]))
        return cls(events, live_restore=bool(info.get("LiveRestoreEnabled")))

    def fate(self, container: str, exit_code: int, ended_at: datetime | None) -> Fate:
        if container in self._stopped:
            return Fate.STOPPED_BY_OTHERS
        forgotten = ended_at is None or ended_at.timestamp() <= self._since
        if container in self._died or forgotten:
            return Fate.ITS_OWN
        if self._live_restore and exit_code not in _ABNORMAL:
            return Fate.ITS_OWN
        return Fate.ENDED_WITH_THE_ENGINE


def _asks_for_an_end(event: Mapping[str, Any]) -> bool:
    """Whether somebody stopped it: other signals may only have it read its files again."""
    if event.get("Action") == "kill":
        return event["Actor"]["Attributes"].get("signal") in _ENDING_SIGNALS
    return event.get("Action") == "stop"


def recorded(engine: APIClient, *, until: float) -> list[dict[str, Any]]:
    """Return the events that the engine still has, up to a time in seconds, oldest first.

    Not by the client's own method: that one waits without any limit.
    """
    answer = engine.get(
        f"{engine.base_url}/v{engine.api_version}/events",
        params={"since": "1", "until": f"{until:.6f}"},
        timeout=TIMEOUT_S,
    )
    answer.raise_for_status()
    return [json.loads(line) for line in answer.text.splitlines() if line]
