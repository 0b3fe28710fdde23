"""Why a ready deployment stays pending: one sentence and, on demand, a row for each cluster."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from heapq import nsmallest
from typing import Any

from scheduling.planner.outcome import Outcome, Reservation, may_use
from scheduling.planner.packed import beyond, unpack
from scheduling.planner.problem import Problem
from scheduling.planner.resources import Resources, in_words
from scheduling.planner.snapshot import Cluster, ClusterState

_COMPARED = 4


class Detail(Mapping[str, Any]):
    """The detail of a wait reason. The row of each cluster is computed when it is first read.

    Keys: `clusters`, rows of `cluster`, `name`, `code`, `why` and `missing`; for a
    deployment that has a reservation also `reservation`, of `cluster` and `until` (seconds, None
    when it is unknown).
    """

    def __init__(self, problem: Problem, outcome: Outcome, d: int, own: Reservation | None) -> None:
        self._problem = problem
        self._outcome = outcome
        self._own = own
        self._index = d
        self._deployment = problem.deployments[d]
        self._eligible = problem.eligible[d]
        self._is_suspended = problem.snapshot.is_suspended(self._deployment)
        self._free = outcome.free_at.get(self._deployment.priority, problem.capacities)
        self.code, self.reason = self._verdict()

    def __getitem__(self, key: str) -> Any:
        return self._detail[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._detail)

    def __len__(self) -> int:
        return len(self._detail)

    @cached_property
    def _detail(self) -> dict[str, Any]:
        detail: dict[str, Any] = {
            "clusters": [self._row(c) for c in range(len(self._problem.clusters))]
        }
        if self._own:
            cluster = self._problem.clusters[self._own.cluster]
            detail["reservation"] = {"cluster": cluster.id, "until": self._own.until}
        return detail

    def _row(self, c: int) -> dict[str, Any]:
        cluster = self._problem.clusters[c]
        obstacle = self._obstacle(cluster)
        missing = self._deployment.request.missing_from(cluster.capacity)
        if obstacle:
            code, why = obstacle
        elif c not in self._eligible:
            code, why = "overcommitted", "more is allocated there than it has"
        else:
            missing = self._deployment.request.missing_from(self._free_on(c))
            code = "reserved_for_other" if self._reservation_on(c) else "no_free_capacity"
            why = self._lacks(c, missing)
        return {
            "cluster": cluster.id,
            "name": cluster.label,
            "code": code,
            "why": why,
            "missing": missing,
        }

    def _lacks(self, c: int, missing: dict[str, int]) -> str:
        other = self._reservation_on(c)
        free = amount(self._free_on(c))
        lacks = f"{free} is free for this deployment, {_amounts(missing)} missing"
        if other:
            waiting = self._problem.deployments[other.deployment]
            lacks += f"; the rest is reserved for deployment {waiting.id}, which has waited longest"
        return lacks

    def _obstacle(self, cluster: Cluster) -> tuple[str, str] | None:
        wanted = self._deployment.requested_cluster
        missing = self._deployment.request.missing_from(cluster.capacity)
        if wanted not in (None, cluster.id):
            return "other_cluster", "the deployment requests another cluster"
        if missing:
            return "exceeds_capacity", f"it is too small by {_amounts(missing)}, even when empty"
        if cluster.state != ClusterState.ACTIVE:
            return f"cluster_{cluster.state}", _STATES[cluster.state]
        return None

    def _verdict(self) -> tuple[str, str]:
        request = amount(self._deployment.request)
        if not self._eligible:
            return self._nowhere(request)
        if self._own:
            return self._reserved(request, self._own)
        nearest = min(self._freest(), key=lambda c: (self._distance(c), c))
        missing = self._deployment.request.missing_from(self._free_on(nearest))
        label = self._problem.clusters[nearest].label
        where = label if len(self._eligible) == 1 else f"the nearest, {label},"
        sentence = (
            f"Needs {request} {self._standing()}; of {_count(len(self._eligible), 'cluster')} that"
            f" could run it none has enough free capacity, {where} lacks {_amounts(missing)}."
        )
        if self._is_suspended:
            return "preemption_suspended", sentence
        other = self._reservation_on(nearest)
        if other is None:
            return "no_free_capacity", sentence
        waiting = self._problem.deployments[other.deployment].id
        return (
            "reserved_for_other",
            f"{sentence} Capacity there is reserved for deployment {waiting}.",
        )

    def _standing(self) -> str:
        at = f"at priority {self._deployment.priority}"
        if not self._is_suspended:
            return at
        until = _until(self._deployment.suspended_until)
        return f"{at}, with preemption suspended{until} because earlier ones were in vain"

    def _reserved(self, request: str, own: Reservation) -> tuple[str, str]:
        label = self._problem.clusters[own.cluster].label
        until = _until(own.until)
        return (
            "reserved",
            f"Needs {request}. It has waited long: capacity on {label} is reserved for it{until}.",
        )

    def _nowhere(self, request: str) -> tuple[str, str]:
        wanted = self._deployment.requested_cluster
        clusters = self._problem.clusters
        among = [c for c in clusters if wanted in (None, c.id)]
        if not among:
            if wanted is None:
                return "no_cluster", f"Needs {request}; there is no cluster."
            return "requested_cluster_gone", f"Requests cluster {wanted}, which does not exist."
        reasons = [self._obstacle(c) or ("overcommitted", "is overcommitted") for c in among]
        codes = {code for code, _ in reasons}
        codes = codes - {"exceeds_capacity"} or codes
        code = min(codes)
        if code == "exceeds_capacity":
            which = among[0].label if len(among) == 1 else f"any of {len(among)} clusters"
            return code, f"Needs {request}, which is more than the capacity of {which}."
        labels = ", ".join(
            c.label for c, (k, _) in zip(among, reasons, strict=True) if k != "exceeds_capacity"
        )
        why = _CLOSED.get(code, "overcommitted") if len(codes) == 1 else "closed to new deployments"
        return code, f"Needs {request}; the clusters that could run it are {why}: {labels}."

    def _freest(self) -> list[int]:
        """Return a few eligible clusters: those with most free capacity, GPU before RAM."""
        if len(self._eligible) <= _COMPARED:
            return list(self._eligible)
        return nsmallest(_COMPARED, self._eligible, key=lambda c: (-self._free[c], c))

    def _distance(self, c: int) -> int:
        """Return the largest share of the cluster's capacity that is missing, in millionths."""
        request, free = self._deployment.request, self._free_on(c)
        capacity = self._problem.clusters[c].capacity
        return max(
            (request.cpu_milli - free.cpu_milli) * 10**6 // max(capacity.cpu_milli, 1),
            (request.ram_mib - free.ram_mib) * 10**6 // max(capacity.ram_mib, 1),
            (request.gpu - free.gpu) * 10**6 // max(capacity.gpu, 1),
        )

    def _reservation_on(self, c: int) -> Reservation | None:
        """Return the reservation on c that this deployment must respect, if there is one."""
        other = self._outcome.reservations.get(c)
        if other is None or other == self._own:
            return None
        holder = self._problem.deployments[other.deployment]
        if holder.priority < self._deployment.priority:
            return None
        return None if may_use(self._problem, other, self._index) else other

    def _free_on(self, c: int) -> Resources:
        other = self._reservation_on(c)
        return unpack(beyond(self._free[c], other.amount) if other else self._free[c])


_CLOSED = {
    "cluster_cordoned": "cordoned",
    "cluster_draining": "draining",
    "cluster_lost": "without contact or unclaimed",
}

_STATES = {
    ClusterState.CORDONED: "the cluster is cordoned",
    ClusterState.DRAINING: "the cluster is draining",
    ClusterState.LOST: "there is no contact with the cluster, or its engine is unclaimed",
}


def amount(vector: Resources) -> str:
    """Return the vector in words, without the dimensions that are zero."""
    return _amounts({name: value for name, value in vector.to_json().items() if value > 0})


def _amounts(amounts: dict[str, int]) -> str:
    return ", ".join(in_words(name, value) for name, value in amounts.items()) or "nothing"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _until(moment: int | None) -> str:
    if moment is None:
        return ""
    return f" until {datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"
