"""The Kubernetes driver."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from uuid import UUID

import structlog
from django.conf import settings
from django.utils import timezone

from clusters.drivers.base import (
    Cause,
    ContainerSpec,
    DriverError,
    NodeReport,
    Observation,
    Phase,
    Probe,
)
from clusters.drivers.kubernetes import (
    access,
    deletions,
    logs,
    markers,
    pod_secrets,
    pods,
    probing,
    states,
)
from clusters.drivers.kubernetes.api import Api, Json
from clusters.drivers.kubernetes.errors import Refused
from clusters.drivers.kubernetes.events import PodEvents
from clusters.drivers.kubernetes.following import WATCH_S
from clusters.drivers.kubernetes.states import observation
from clusters.drivers.kubernetes.supply import Supply
from clusters.drivers.kubernetes.taints import Toleration
from clusters.drivers.starts import StartsInThreads
from clusters.models import Connection
from clusters.wakeups import request_at_once
from hypervisor.base.secrets import CannotDecrypt

log = structlog.get_logger(__name__)


class KubernetesDriver(StartsInThreads):
    """One Pod per run. All state is in Kubernetes, so that any process can take the next step."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._selector = pods.selector(connection.uid)
        self._known: dict[str, Observation] = {}
        self._events = PodEvents()

    @cached_property
    def _api(self) -> Api:
        if not self._connection.namespace:
            raise DriverError(
                "The connection has no namespace: connect the cluster again with the `namespace`"
                " in which its Pods run.",
                retriable=False,
                cause=Cause.UNREACHABLE,
            )
        try:
            credentials = self._connection.open_credentials()
        except CannotDecrypt as error:
            raise DriverError(str(error), retriable=True, cause=Cause.UNREACHABLE) from error
        reached = access.read(self._connection.endpoint, credentials)
        return Api(reached, self._connection.namespace)

    @cached_property
    def _supply(self) -> Supply:
        wakeup = self._connection.wakeup
        try:
            return Supply(self._api, self._connection, lambda: request_at_once(wakeup))
        except ValueError as error:
            raise DriverError(str(error), retriable=False, cause=Cause.INVALID_SPEC) from error

    def probe(self) -> Probe:
        return probing.probe(self._api, self._connection, self._supply)

    def nodes(self) -> list[NodeReport] | None:
        return self._supply.nodes()

    def warnings(self) -> list[str]:
        return self._supply.warnings()

    def start(self, spec: ContainerSpec, now: datetime) -> None:
        names = pod_secrets.new_names(self._connection.uid, spec)
        manifest = pods.manifest(
            self._connection.uid,
            spec,
            grace_seconds=settings.STOP_GRACE_SECONDS,
            tolerations=[Toleration.read(text) for text in self._connection.tolerations],
            secrets=names,
        )
        try:
            pod = self._api.create_pod(manifest)
        except Refused as error:
            if error.reason != "AlreadyExists":
                raise
            return
        if names:
            pod_secrets.release(self._api, pod, names, spec)

    def stop(self, uid: UUID, grace_seconds: int, now: datetime) -> None:
        # Marked first, because a deletion without the mark counts as another client's.
        pod = self._api.patch_pod(self._name(uid), pods.mark_stopped())
        if pod is not None:
            # Never 0, because Kubernetes would then not wait until the node confirms the end.
            self._delete(pod, max(grace_seconds, 1))

    def observe(self, now: datetime) -> list[Observation]:
        listed = pod_secrets.without_interrupted(self._api, self._list()[0])
        observations = [observation(pod, now) for pod in listed]
        unexplained = {
            pod["metadata"]["uid"]: pod
            for pod, observed in zip(listed, observations, strict=True)
            if states.is_unexplained(pod, observed)
        }
        messages = self._events.latest(self._api, unexplained, now)
        return [
            replace(observed, message=messages.get(pod["metadata"]["uid"], observed.message))
            for pod, observed in zip(listed, observations, strict=True)
        ]

    def logs(self, uid: UUID, *, tail: int | None = None, follow: bool = False) -> Iterator[bytes]:
        try:
            response = self._api.open_log(self._name(uid), pods.CONTAINER, tail=tail, follow=follow)
        except Refused as error:
            # 404: there is no Pod. 400: its container has not started, so there is no output.
            if error.status in (400, 404):
                return iter(())
            raise
        return logs.followed(response) if follow else logs.whole(response)

    def remove(self, uid: UUID) -> None:
        name = self._name(uid)
        pod = self._api.read_pod(name)
        if pod is None or observation(pod, timezone.now()).phase is not Phase.EXITED:
            return
        self._api.patch_pod(name, pods.without_finalizer())
        # Without a grace, because nothing of it runs. With one, a Pod that failed before it had a
        # container would wait for its node.
        self._delete(pod, grace_seconds=0)

    def markers(self) -> frozenset[UUID] | None:
        return markers.present(self._api, self._connection.uid)

    def mark(self, marker: UUID, *, instead_of: Collection[UUID]) -> None:
        markers.put(self._api, self._connection.uid, marker, instead_of)

    def watch(self) -> Iterator[None]:
        self._supply.keep_up()
        # The state at the end of the last watch is kept, so that only real changes are reported.
        listed, version = self._list()
        known, self._known = self._known, {pod["metadata"]["uid"]: _seen(pod) for pod in listed}
        if known != self._known:
            yield
        for event in self._api.watch_pods(self._selector, version, WATCH_S):
            if event["type"] == "ERROR":
                # Usually 410: the version is too old to watch from. The next watch lists again.
                log.info("watch_refused", endpoint=self._connection.endpoint, why=event["object"])
                return
            if self._is_news(event):
                yield

    def _list(self) -> tuple[list[Json], str]:
        listed, version = self._api.list_pods(self._selector)
        own = [pod for pod in listed if pods.belongs_to(self._connection.uid, pod)]
        for pod in own:
            self._record_deletion(pod)
        return own, version

    def _record_deletion(self, pod: Json) -> None:
        """Record in the Pod when another client requested its deletion; Kubernetes does not."""
        requested_at = deletions.unrecorded_request(pod)
        if requested_at is None:
            return
        name = pod["metadata"]["name"]
        try:
            self._api.patch_pod(name, pods.with_deletion_requested(requested_at))
        except DriverError as error:
            # The Pod's own times are used instead.
            endpoint = self._connection.endpoint
            log.info("deletion_not_recorded", endpoint=endpoint, pod=name, why=error)

    def _is_news(self, event: Json) -> bool:
        if not pods.belongs_to(self._connection.uid, event["object"]):
            return False
        self._record_deletion(event["object"])
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
