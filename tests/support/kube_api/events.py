"""Events, which components report about Pods; equal ones are counted, not repeated."""

import itertools
import threading
from dataclasses import dataclass, field
from typing import Any

from tests.support.kube_api import status
from tests.support.kube_api.store import now

Json = dict[str, Any]

_FIELDS = {"reason": ("reason",), "type": ("type",)} | {
    f"involvedObject.{name}": ("involvedObject", name) for name in ("name", "uid", "kind")
}


@dataclass(slots=True)
class EventLog:
    _events: list[Json] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def record(self, pod: Json, kind: str, reason: str, message: str) -> None:
        meta = pod["metadata"]
        concerned = {"kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
        with self._lock:
            for event in self._events:
                if (event["involvedObject"], event["reason"], event["message"]) == (
                    concerned, reason, message,
                ):  # fmt: skip
                    event["count"] += 1
                    event["lastTimestamp"] = now()
                    return
            name = f"{meta['name']}.{next(self._numbers):016x}"
            self._events.append({
                "metadata": {"name": name, "namespace": meta["namespace"]},
                "involvedObject": concerned, "type": kind, "reason": reason, "message": message,
                "count": 1, "firstTimestamp": now(), "lastTimestamp": now(), "eventTime": None,
            })  # fmt: skip

    def select(self, namespace: str, selector: str) -> list[Json]:
        """Return the events that match the field selector. Raises ApiError 400."""
        terms = [term.partition("=") for term in filter(None, selector.split(","))]
        for name, _, _ in terms:
            if name not in _FIELDS:
                raise status.bad_request(
                    f'Unable to find "/v1, Resource=events" that match field selector "{selector}":'
                    f" field label not supported: {name}"
                )
        with self._lock:
            return [
                dict(event)
                for event in self._events
                if event["metadata"]["namespace"] == namespace
                and all(_value(event, name) == value for name, _, value in terms)
            ]


def _value(event: Json, name: str) -> object:
    value: Any = event
    for part in _FIELDS[name]:
        value = value[part]
    return value
