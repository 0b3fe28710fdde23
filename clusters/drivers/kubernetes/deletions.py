"""Who asked for a Pod's deletion, and when: what tells an eviction from an ending of its own.

Kubernetes does not keep the time of the request. `deletionTimestamp` is when the grace ends, and it
moves when the grace is shortened, which the node does too once the container has ended: some
servers count back by the difference, others set it to that moment. docs/decisions/ says more.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from clusters.drivers.kubernetes import pods

CLOCKS_S = 1
"""How far the clocks of a node and an API server may differ; their times are whole seconds."""

CONFIRMED_S = 20
"""A node completes the deletion of a Pod so long after the container's end: twice the period in
which kubelets repeat their reports."""


def by_others(pod: Mapping[str, Any]) -> bool:
    """Whether the Pod is being deleted, and not by us."""
    return "deletionTimestamp" in pod["metadata"] and not stopped_by_us(pod)


def stopped_by_us(pod: Mapping[str, Any]) -> bool:
    return pods.STOPPED in _annotations(pod)


def unnoted_request(pod: Mapping[str, Any]) -> datetime | None:
    """Return when others asked for the deletion, as long as the Pod tells it and has no note of it.

    That is until the grace has been shortened to nothing.
    """
    if not by_others(pod) or not _grace(pod) or pods.DELETION_REQUESTED in _annotations(pod):
        return None
    return _counted_back(pod)


def began(pod: Mapping[str, Any]) -> datetime | None:
    """Return from when on an ending is the deletion's doing; None when no time is known.

    When it cannot be decided, it is: to run again what had completed repeats work, to take an
    eviction for completion loses it.
    """
    asked = _counted_back(pod)
    exact = [at for at in (_disrupted_at(pod, asked), _noted(pod)) if at]
    if not exact and asked and _grace(pod):
        exact = [asked]
    if exact:
        return min(exact) - timedelta(seconds=CLOCKS_S)
    if asked is None:
        return None
    own = pod["spec"].get("terminationGracePeriodSeconds") or 0
    return asked - timedelta(seconds=max(own, CONFIRMED_S))


def disrupted(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the condition by which Kubernetes says that it ends the Pod; None if it does not."""
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            found: Mapping[str, Any] = condition
            return found
    return None


def time(text: object) -> datetime | None:
    """Return a time that Kubernetes told, or that anybody wrote into an annotation."""
    try:
        read = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return read.replace(tzinfo=UTC) if read and read.tzinfo is None else read


def _disrupted_at(pod: Mapping[str, Any], asked: datetime | None) -> datetime | None:
    """Return when Kubernetes decided to end the Pod, None when it had been deleted before."""
    since = time((disrupted(pod) or {}).get("lastTransitionTime"))
    return None if since and asked and asked < since else since


def _noted(pod: Mapping[str, Any]) -> datetime | None:
    return time(_annotations(pod).get(pods.DELETION_REQUESTED))


def _counted_back(pod: Mapping[str, Any]) -> datetime | None:
    ends_at = time(pod["metadata"].get("deletionTimestamp"))
    return ends_at - timedelta(seconds=_grace(pod)) if ends_at else None


def _grace(pod: Mapping[str, Any]) -> int:
    return int(pod["metadata"].get("deletionGracePeriodSeconds") or 0)


def _annotations(pod: Mapping[str, Any]) -> Mapping[str, str]:
    return pod["metadata"].get("annotations") or {}
