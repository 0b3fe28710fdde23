"""Translate a Pod's status into the observation of its container."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from clusters.drivers.base import Observation, Phase
from clusters.drivers.kubernetes import deletions, failures, pods
from clusters.drivers.kubernetes.deletions import time
from clusters.drivers.kubernetes.failures import Failure

UNSCHEDULABLE_S = 600
"""How long a Pod may wait for a node before its start fails for insufficient capacity."""

REFUSED_S = 15
"""How long a Pod may wait for the node that it is bound to until the node counts as refusing it.

The scheduler may learn only after a moment that the Pods before it have ended, and tries a Pod
again after ten seconds at most.
"""

CONFIRM_S = 60
"""How long after the grace period a node may take to confirm that a Pod has ended."""

_BY_TAINT = {"DeletionByTaintManager", "DeletionByPodGC"}
_BY_KUBELET = "TerminationByKubelet"
_LOST = {"ContainerStatusUnknown", "Unknown", "NodeLost"}
_KILLED = 137


def observation(pod: Mapping[str, Any], now: datetime) -> Observation:
    """Return the Pod's container as it is now."""
    return _Reading.of(pod, now).observation()


def is_unexplained(pod: Mapping[str, Any], seen: Observation) -> bool:
    """Whether the Pod is on a node and its status does not explain why it has not started."""
    placed = bool(pod.get("spec", {}).get("nodeName"))
    return seen.phase is Phase.PREPARING and placed and not seen.message


@dataclass(frozen=True, slots=True)
class _Reading:
    """The relevant fields of a Pod; `state` is the container's, empty before there is one."""

    now: datetime
    pod: Mapping[str, Any]
    meta: Mapping[str, Any]
    spec: Mapping[str, Any]
    status: Mapping[str, Any]
    conditions: Mapping[str, Mapping[str, Any]]
    state: Mapping[str, Any]

    @classmethod
    def of(cls, pod: Mapping[str, Any], now: datetime) -> "_Reading":
        status = pod.get("status", {})
        containers = {c["name"]: c.get("state", {}) for c in status.get("containerStatuses") or ()}
        return cls(
            now=now,
            pod=pod,
            meta=pod["metadata"],
            spec=pod.get("spec", {}),
            status=status,
            conditions={c["type"]: c for c in status.get("conditions") or ()},
            state=containers.get(pods.CONTAINER, {}),
        )

    def observation(self) -> Observation:
        if terminated := self.state.get("terminated"):
            return self._terminated(terminated)
        if self.status.get("phase") in ("Succeeded", "Failed"):
            return self._observed(Phase.EXITED, self._disruption() or self._rejection())
        if "running" in self.state:
            started_at = time(self.state["running"].get("startedAt"))
            return self._observed(Phase.RUNNING, self._silence(), started_at=started_at)
        if self._is_confirmed_gone():
            return self._observed(Phase.EXITED, self._disruption())
        return self._preparing()

    def _terminated(self, terminated: Mapping[str, Any]) -> Observation:
        code, reason = int(terminated["exitCode"]), terminated.get("reason", "")
        failure = (
            failures.not_started(reason, terminated.get("message", ""))
            or (failures.OUT_OF_MEMORY if reason == "OOMKilled" and code else None)
            or self._disruption(time(terminated.get("finishedAt")))
            or (failures.NODE_LOST_TRACK if reason in _LOST else None)
            or self._by_exit_code(code)
        )
        survived = reason == "OOMKilled" and code == 0
        return self._observed(
            Phase.EXITED,
            failure,
            message=failures.PROCESS_OUT_OF_MEMORY if survived else "",
            exit_code=code,
            started_at=time(terminated.get("startedAt")),
            exited_at=time(terminated.get("finishedAt")),
        )

    def _preparing(self) -> Observation:
        waiting = self.state.get("waiting")
        if silence := self._silence():
            return self._observed(Phase.PREPARING, silence)
        if waiting:
            since = time(self.status.get("startTime"))
            waited_s = (self.now - since).total_seconds() if since else 0.0
            failure = failures.waiting(
                waiting.get("reason", ""), waiting.get("message", ""), waited_s
            )
        else:
            failure = self._unscheduled()
        if failure and failure.final:
            return self._observed(Phase.EXITED, failure)
        message = failure.message if failure else ""
        return self._observed(Phase.PREPARING, None, message=message)

    def _unscheduled(self) -> Failure | None:
        condition = self.conditions.get("PodScheduled", {})
        if condition.get("status") != "False":
            return None
        since = time(condition.get("lastTransitionTime")) or self.now
        waited, detail = self.now - since, condition.get("message", "")
        if node := pods.planned_node(self.spec):
            return failures.refused(node, detail, final=waited >= timedelta(seconds=REFUSED_S))
        too_long = waited >= timedelta(seconds=UNSCHEDULABLE_S)
        return failures.unscheduled(detail, final=too_long)

    def _disruption(self, ended_at: datetime | None = None) -> Failure | None:
        """Return why Kubernetes or another client ended the container.

        None if it had ended of its own accord before its deletion was requested.
        """
        condition = deletions.disrupted(self.pod) or {}
        reason, by_node = condition.get("reason", ""), self.status.get("reason", "")
        detail = self.status.get("message") or condition.get("message", "")
        # The node's own report takes precedence, because the node knew what was running.
        if by_node in failures.EVICTIONS or reason == _BY_KUBELET:
            return failures.evicted(reason or by_node, detail)
        began = deletions.began(self.pod)
        if ended_at and began and ended_at < began:
            return None
        if reason in _BY_TAINT or by_node in _LOST:
            return failures.node_lost(detail)
        if reason:
            return failures.evicted(reason, detail)
        return failures.DELETED if deletions.by_others(self.pod) else None

    def _rejection(self) -> Failure | None:
        """Return why the node rejected the Pod before it had a container."""
        if self._stopped():
            return None
        return failures.rejected(self.status.get("reason", ""), self.status.get("message", ""))

    def _by_exit_code(self, code: int) -> Failure | None:
        """Return the failure that the exit code means for shells and container runtimes."""
        if code == _KILLED:
            return failures.KILLED if self._stopped() else failures.KILLED_BY_OTHERS
        return failures.BAD_COMMANDS.get(code)

    def _stopped(self) -> bool:
        """Whether the hypervisor has stopped the Pod."""
        return deletions.by_hypervisor(self.pod)

    def _silence(self) -> Failure | None:
        """Return the failure for a node that no longer reports on the container, or None."""
        deleted_at = time(self.meta.get("deletionTimestamp"))
        overdue = deleted_at and self.now - deleted_at > timedelta(seconds=CONFIRM_S)
        lost = self.status.get("phase") == "Unknown" or self.status.get("reason") in _LOST
        if overdue or lost or self._is_marked_not_ready():
            return failures.node_silent(self.spec.get("nodeName", ""))
        return None

    def _is_marked_not_ready(self) -> bool:
        """Whether Kubernetes has marked the Pod because its node is NotReady.

        Kubernetes then sets `Ready` to False and leaves the rest as last reported. A node itself
        always reports `Ready` and `ContainersReady` alike, unless there are readiness gates.
        """
        ready, containers = (
            self.conditions.get(name, {}).get("status") for name in ("Ready", "ContainersReady")
        )
        return (ready, containers) == ("False", "True") and not self.spec.get("readinessGates")

    def _is_confirmed_gone(self) -> bool:
        """Whether the Pod was deleted and nothing of it runs: it had no node, or its node has
        confirmed the end."""
        if "deletionTimestamp" not in self.meta:
            return False
        return not self.spec.get("nodeName") or not self.meta.get("deletionGracePeriodSeconds")

    def _observed(
        self, phase: Phase, failure: Failure | None, *, message: str = "", **known: Any
    ) -> Observation:
        return Observation(
            phase=phase,
            cause=failure.cause if failure else None,
            message=failure.message if failure else message,
            lacks=failure.lacks if failure else (),
            **pods.about(self.meta, self.spec),
            **known,
        )
