"""Find out whether and when another client requested a Pod's deletion, to distinguish an eviction
from a container that ended of its own accord.

Kubernetes does not store the time of the request. `deletionTimestamp` is the end of the grace
period, and it moves when the grace is shortened, which the node also does once the container has
ended: some servers subtract the difference, others set it to the present time. See decision 0012.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from clusters.drivers.kubernetes import pods

CLOCKS_S = 1
"""Tolerated difference between the clocks of a node and an API server, which have whole seconds."""

CONFIRMED_S = 20
"""A node completes the deletion of a Pod within this time after the container's end: twice the
period at which kubelets repeat their reports."""


def by_others(pod: Mapping[str, Any]) -> bool:
    """Whether the Pod is being deleted by another client than the hypervisor."""
    return "deletionTimestamp" in pod["metadata"] and not by_hypervisor(pod)


def by_hypervisor(pod: Mapping[str, Any]) -> bool:
    """Whether the hypervisor has stopped the Pod."""
    return pods.STOPPED in _annotations(pod)


def unrecorded_request(pod: Mapping[str, Any]) -> datetime | None:
    """Return when another client requested the deletion, if the Pod has no record of it yet.

    None once the grace has been shortened to zero, because the time is then unknown.
    """
    if not by_others(pod) or not _grace(pod) or pods.DELETION_REQUESTED in _annotations(pod):
        return None
    return _counted_back(pod)


def began(pod: Mapping[str, Any]) -> datetime | None:
    """Return the time from which on an ending was caused by the deletion; None if it is unknown.

    In doubt the time is early, so that the ending counts as an eviction: running a completed
    deployment again only repeats work, but taking an eviction for completion loses work.
    """
    asked = _counted_back(pod)
    exact = [at for at in (_disrupted_at(pod, asked), _recorded(pod)) if at]
    if not exact and asked and _grace(pod):
        exact = [asked]
    if exact:
        return min(exact) - timedelta(seconds=CLOCKS_S)
    if asked is None:
        return None
    own = pod["spec"].get("terminationGracePeriodSeconds") or 0
    return asked - timedelta(seconds=max(own, CONFIRMED_S))


def disrupted(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the condition with which Kubernetes announces that it ends the Pod, or None."""
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            found: Mapping[str, Any] = condition
            return found
    return None


def time(text: object) -> datetime | None:
    """Return a time from Kubernetes or from an annotation; None for any other text."""
    try:
        parsed = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return parsed.replace(tzinfo=UTC) if parsed and parsed.tzinfo is None else parsed


def _disrupted_at(pod: Mapping[str, Any], asked: datetime | None) -> datetime | None:
    """Return when Kubernetes decided to end the Pod, None if its deletion was requested before."""
    since = time((disrupted(pod) or {}).get("lastTransitionTime"))
    return None if since and asked and asked < since else since


def _recorded(pod: Mapping[str, Any]) -> datetime | None:
    return time(_annotations(pod).get(pods.DELETION_REQUESTED))


def _counted_back(pod: Mapping[str, Any]) -> datetime | None:
    ends_at = time(pod["metadata"].get("deletionTimestamp"))
    return ends_at - timedelta(seconds=_grace(pod)) if ends_at else None


def _grace(pod: Mapping[str, Any]) -> int:
    return int(pod["metadata"].get("deletionGracePeriodSeconds") or 0)


def _annotations(pod: Mapping[str, Any]) -> Mapping[str, str]:
    return pod["metadata"].get("annotations") or {}
