"""The Pods, with a version for every change, as etcd and the watch cache keep them."""

import copy
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.kube_api import status

Json = dict[str, Any]
Key = tuple[str, str]
Change = Callable[[Json], None]


def stamp(moment: datetime) -> str:
    """Return the time as Kubernetes writes it: whole seconds, UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def now() -> str:
    return stamp(datetime.now(UTC))


@dataclass(slots=True)
class Store:
    """All methods are atomic, and copy their arguments and results.

    When the grace of a deletion is shortened, its timestamp moves: by the difference of the two
    graces if the server `counts_back`, otherwise to the new grace from the present.
    """

    counts_back: bool = True
    version: int = 100
    oldest: int = 100
    _pods: dict[Key, Json] = field(default_factory=dict)
    _events: list[tuple[int, str, Json]] = field(default_factory=list)
    _closed: bool = False
    _changed: threading.Condition = field(
        default_factory=lambda: threading.Condition(threading.RLock())
    )

    def create(self, pod: Json, check: Change, *, dry: bool = False) -> Json:
        """Add the Pod unless `check`, which gets the current state, raises; only check if `dry`."""
        with self._changed:
            key = _key(pod)
            if key in self._pods:
                raise status.already_exists(key[1])
            check(pod)
            pod["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
            return pod if dry else self._write("ADDED", pod)

    def get(self, key: Key) -> Json:
        with self._changed:
            if key not in self._pods:
                raise status.not_found("pods", key[1])
            return copy.deepcopy(self._pods[key])

    def all(self) -> tuple[list[Json], int]:
        with self._changed:
            return copy.deepcopy(list(self._pods.values())), self.version

    def update(self, key: Key, change: Change) -> Json:
        """Apply the change; one that changes nothing makes no new version."""
        with self._changed:
            pod = self.get(key)
            change(pod)
            meta = pod["metadata"]
            if not meta.get("finalizers"):
                meta.pop("finalizers", None)
            if pod == self._pods[key]:
                return pod
            gone = "finalizers" not in meta and meta.get("deletionGracePeriodSeconds") == 0
            return self._write("DELETED" if gone else "MODIFIED", pod)

    def delete(
        self, key: Key, grace_s: int | None, preconditions: Mapping[str, str] | None = None
    ) -> Json:
        """Begin, shorten or complete a deletion, as `registry/rest/delete.go` does."""

        def change(pod: Json) -> None:
            meta = pod["metadata"]
            for name, wanted in (preconditions or {}).items():
                if wanted != meta[name]:
                    why = f"the {name} in the precondition ({wanted}) does not match {meta[name]}"
                    raise status.conflict(key[1], why)
            grace = pod["spec"]["terminationGracePeriodSeconds"] if grace_s is None else grace_s
            ended = pod["status"].get("phase") in ("Succeeded", "Failed")
            if ended or not pod["spec"].get("nodeName"):
                grace = 0
            ends = datetime.now(UTC) + timedelta(seconds=grace)
            if "deletionTimestamp" in meta:
                former = meta["deletionGracePeriodSeconds"]
                if grace >= former:
                    return
                stood = datetime.fromisoformat(meta["deletionTimestamp"])
                back = stood - timedelta(seconds=former - grace)
                ends = back if self.counts_back else min(stood, ends)
            meta["deletionTimestamp"] = stamp(ends)
            meta["deletionGracePeriodSeconds"] = grace

        return self.update(key, change)

    def compact(self) -> None:
        """Discard the history, so that watches from earlier versions get `410 Gone`."""
        with self._changed:
            # An invisible change, because otherwise a watch from now would be too old.
            self.version += 1
            self._events.clear()
            self.oldest = self.version

    def watch(self, version: int, until: float) -> Iterator[tuple[str, Json] | None]:
        """Yield the changes after the version, and None now and then, until the given time.

        Raises ApiError 410 if the version is older than the last compaction.
        """
        while True:
            with self._changed:
                if version < self.oldest:
                    raise status.expired(version, self.oldest)
                found = [event for event in self._events if event[0] > version]
                if not found:
                    if self._closed or time.monotonic() >= until:
                        return
                    self._changed.wait(min(0.2, max(0.0, until - time.monotonic())))
            if not found:
                yield None
            for number, kind, pod in found:
                version = number
                yield kind, pod

    def wait(self, seconds: float) -> None:
        """Return after a change, or after so many seconds."""
        with self._changed:
            if not self._closed:
                self._changed.wait(seconds)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        return self._closed

    def _write(self, kind: str, pod: Json) -> Json:
        self.version += 1
        pod["metadata"]["resourceVersion"] = str(self.version)
        if kind == "DELETED":
            del self._pods[_key(pod)]
        else:
            self._pods[_key(pod)] = copy.deepcopy(pod)
        self._events.append((self.version, kind, copy.deepcopy(pod)))
        self._changed.notify_all()
        return pod


def _key(pod: Json) -> Key:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]
