"""The driver of clusters that are Kubernetes."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from uuid import UUID

import structlog
from django.conf import settings
from django.utils import timezone

from clusters.drivers.base import Cause, ContainerSpec, DriverError, Observation, Phase, Probe
from clusters.drivers.kubernetes import access, deletions, logs, markers, pods, probing, states
from clusters.drivers.kubernetes.api import Api, Json
from clusters.drivers.kubernetes.errors import Refused
from clusters.drivers.kubernetes.events import PodEvents
from clusters.drivers.kubernetes.states import observation
from clusters.models import Connection
from clusters.secrets import CannotDecrypt

WATCH_S = 240
"""A watch is renewed after so long; what it missed then shows in the list that it begins with."""

log = structlog.get_logger(__name__)


class KubernetesDriver:
    """One Pod a run. All that it knows is in Kubernetes: any process may take the next step."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._selector = pods.selector(connection.uid)
        self._known: dict[str, Observation] = {}
        self._events = PodEvents()

    @cached_property
    def _api(self) -> Api:
        if not self._connection.namespace:
            raise DriverError(
                "Give the connection a `namespace`: the one in Kubernetes to run in.",
                retriable=False,
                cause=Cause.UNREACHABLE,
            )
        try:
            credentials = self._connection.open_credentials()
        except CannotDecrypt as error:
            raise DriverError(str(error), retriable=True, cause=Cause.UNREACHABLE) from error
        reached = access.read(self._connection.endpoint, credentials)
        return Api(reached, self._connection.namespace)

    def probe(self) -> Probe:
        return probing.probe(self._api, self._connection)

    def start(self, spec: ContainerSpec, now: datetime) -> None:
        manifest = pods.manifest(
            self._connection.uid, spec, grace_seconds=settings.STOP_GRACE_SECONDS
        )
        try:
            self._api.create_pod(manifest)
        except Refused as error:
            if error.reason != "AlreadyExists":
                raise

    def stop(self, uid: UUID, grace_seconds: int, now: datetime) -> None:
        # Marked first: who finds it deleted without the mark knows that it was not our doing.
        pod = self._api.patch_pod(self._name(uid), pods.mark_stopped())
        if pod is not None:
            # Never 0: Kubernetes would not wait for the node to say that nothing of it runs.
            self._delete(pod, max(grace_seconds, 1))

    def observe(self, now: datetime) -> list[Observation]:
        pods_here = self._list()[0]
        seen = [observation(pod, now) for pod in pods_here]
        unsaid = {
            pod["metadata"]["uid"]: pod
            for pod, observed in zip(pods_here, seen, strict=True)
            if states.is_wordless(pod, observed)
        }
        said = self._events.latest(self._api, unsaid, now)
        return [
            replace(observed, message=said.get(pod["metadata"]["uid"], observed.message))
            for pod, observed in zip(pods_here, seen, strict=True)
        ]

    def logs(self, uid: UUID, *, tail: int | None = None, follow: bool = False) -> Iterator[bytes]:
        try:
            response = self._api.open_log(self._name(uid), pods.CONTAINER, tail=tail, follow=follow)
        except Refused as error:
            # 404: there is no Pod. 400: its container has not started, so it wrote nothing.
            if error.status in (400, 404):
                return iter(())
            raise
        return logs.followed(response) if follow else logs.whole(response)

    def remove(self, uid: UUID) -> None:
        name = self._name(uid)
        pod = self._api.read_pod(name)
        if pod is None or observation(pod, timezone.now()).phase is not Phase.EXITED:
            return
        self._api.patch_pod(name, pods.release())
        # Without a grace: nothing of it runs, and a Pod that failed before it had a container
        # would wait for its node.
        self._delete(pod, grace_seconds=0)

    def markers(self) -> frozenset[UUID] | None:
        return markers.present(self._api, self._connection.uid)

    def mark(self, marker: UUID, *, instead_of: Collection[UUID]) -> None:
        markers.put(self._api, self._connection.uid, marker, instead_of)

    def watch(self) -> Iterator[None]:
        # What was known when the last watch ended is kept, so that only real changes are told.
        listed, version = self._list()
        known, self._known = self._known, {pod["metadata"]["uid"]: _seen(pod) for pod in listed}
        if known != self._known:
            yield
        for event in self._api.watch_pods(self._selector, version, WATCH_S):
            if event["type"] == "ERROR":
                # Most often 410: the version is too old to watch from. The next watch lists anew.
                log.info("watch_refused", endpoint=self._connection.endpoint, said=event["object"])
                return
            if self._is_news(event):
                yield

    def _list(self) -> tuple[list[Json], str]:
        listed, version = self._api.list_pods(self._selector)
        ours = [pod for pod in listed if pods.is_ours(self._connection.uid, pod)]
        for pod in ours:
            self._note_deletion(pod)
        return ours, version

    def _note_deletion(self, pod: Json) -> None:
        """Write on the Pod when somebody else asked for its deletion: it will not keep that."""
        requested_at = deletions.unnoted_request(pod)
        if requested_at is None:
            return
        name = pod["metadata"]["name"]
        try:
            self._api.patch_pod(name, pods.note_deletion(requested_at))
        except DriverError as error:
            # The Pod's own times decide then.
            log.info("deletion_not_noted", endpoint=self._connection.endpoint, pod=name, why=error)

    def _is_news(self, event: Json) -> bool:
        if not pods.is_ours(self._connection.uid, event["object"]):
            return False
        self._note_deletion(event["object"])
        uid = event["object"]["metadata"]["uid"]
        before = self._known.pop(uid, None)
        if event["type"] != "DELETED":
            self._known[uid] = _seen(event["object"])
        return before != self._known.get(uid)

    def _name(self, uid: UUID) -> str:
        return pods.name_of(self._connection.uid, uid)

    def _delete(self, pod: Json, grace_seconds: int) -> None:
        meta = pod["metadata"]
        self._api.delete_pod(meta["name"], uid=meta["uid"], grace_seconds=grace_seconds)


def _seen(pod: Json) -> Observation:
    return observation(pod, timezone.now())
