"""Explain why a ready deployment stays pending: a sentence, and on demand a row per cluster."""

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

_COMPARED = 4  # clusters of which the sentence names the closest


class Detail(Mapping[str, Any]):
    """The detail of a wait reason, computed when it is first read.

    Keys: `clusters`, rows with `cluster`, `name`, `code`, `why` and `missing`; and for the holder
    of a reservation also `reservation`, with `cluster` and `until`, the time at which enough will
    be free at the latest (seconds since the epoch, None when it is unknown).
    """

    def __init__(self, problem: Problem, outcome: Outcome, d: int, own: Reservation | None) -> None:
        self._problem = problem
        self._outcome = outcome
        self._own = own
        self._index = d
        self._deployment = problem.deployments[d]
        self._eligible = problem.eligible[d]
        suspended = d in problem.suspended
        self._suspended_until = self._deployment.suspended_until if suspended else None
        # With preemption suspended, it may only use what all levels leave free.
        level = problem.levels[-1].priority if suspended else self._deployment.priority
        self._free = outcome.free_at.get(level, problem.capacities)
        self.code, self.reason = self._explain()

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
            code, why = "overcommitted", "more is allocated there than the cluster has"
        else:
            missing = self._deployment.request.missing_from(self._free_on(c))
            code = "reserved_for_other" if self._reservation_on(c) else "no_free_capacity"
            why = self._shortfall(c, missing)
        return {
            "cluster": cluster.id,
            "name": cluster.label,
            "code": code,
            "why": why,
            "missing": missing,
        }

    def _shortfall(self, c: int, missing: dict[str, int]) -> str:
        other = self._reservation_on(c)
        free = amount(self._free_on(c))
        text = f"{free} free for this deployment, {in_words(missing)} missing"
        if other:
            holder = self._problem.deployments[other.deployment].id
            text += f"; the rest is reserved for deployment {holder}, which has waited longest"
        return text

    def _obstacle(self, cluster: Cluster) -> tuple[str, str] | None:
        wanted = self._deployment.requested_cluster
        missing = self._deployment.request.missing_from(cluster.capacity)
        if wanted not in (None, cluster.id):
            return "other_cluster", "the deployment requests another cluster"
        if missing:
            return "exceeds_capacity", f"the cluster is too small by {in_words(missing)}"
        if cluster.state != ClusterState.ACTIVE:
            return f"cluster_{cluster.state}", _STATES[cluster.state]
        return None

    def _explain(self) -> tuple[str, str]:
        request = amount(self._deployment.request)
        if not self._eligible:
            return self._not_eligible(request)
        if self._own:
            return self._reserved(request, self._own)
        closest = min(self._freest(), key=lambda c: (self._distance(c), c))
        missing = self._deployment.request.missing_from(self._free_on(closest))
        sentence = (
            f"Needs {request} at priority {self._deployment.priority}."
            f" {self._closest(closest)} is short of {in_words(missing)}."
        )
        if self._suspended_until is not None:
            until = f"until {_time(self._suspended_until)}"
            why = "because earlier preemptions freed capacity that it never used"
            return "preemption_suspended", f"{sentence} Preemption is suspended {until} {why}."
        other = self._reservation_on(closest)
        if other is None:
            return "no_free_capacity", sentence
        holder = self._problem.deployments[other.deployment].id
        return (
            "reserved_for_other",
            f"{sentence} Capacity there is reserved for deployment {holder}.",
        )

    def _closest(self, c: int) -> str:
        label = self._problem.clusters[c].label
        if len(self._eligible) == 1:
            return f"The only cluster that could run it, {label},"
        number = len(self._eligible)
        none = f"None of the {number} clusters that could run it has enough free capacity"
        return f"{none}; the closest, {label},"

    def _reserved(self, request: str, own: Reservation) -> tuple[str, str]:
        label = self._problem.clusters[own.cluster].label
        sentence = f"Needs {request}. It has waited long, so capacity on {label} is reserved for it"
        if own.until is None:
            return "reserved", f"{sentence}."
        return "reserved", f"{sentence}; enough will be free by {_time(own.until)}."

    def _not_eligible(self, request: str) -> tuple[str, str]:
        wanted = self._deployment.requested_cluster
        clusters = self._problem.clusters
        among = [c for c in clusters if wanted in (None, c.id)]
        if not among:
            if wanted is None:
                return "no_cluster", f"Needs {request}, but the organization has no cluster."
            return "requested_cluster_gone", f"Requests cluster {wanted}, which does not exist."
        reasons = [self._obstacle(c) or ("overcommitted", "is overcommitted") for c in among]
        codes = {code for code, _ in reasons}
        codes = codes - {"exceeds_capacity"} or codes
        code = min(codes)
        if code == "exceeds_capacity":
            which = among[0].label if len(among) == 1 else f"any of the {len(among)} clusters"
            return code, f"Needs {request}, which exceeds the capacity of {which}."
        labels = ", ".join(
            c.label for c, (k, _) in zip(among, reasons, strict=True) if k != "exceeds_capacity"
        )
        why = _CLOSED.get(code, "overcommitted") if len(codes) == 1 else "closed to new deployments"
        return code, f"Needs {request}, but the clusters that could run it are {why}: {labels}."

    def _freest(self) -> list[int]:
        """Return a few eligible clusters with the most free capacity, GPU before RAM before CPU."""
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
        """Return the reservation on c that this deployment must respect, None if there is none."""
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
    "cluster_lost": "out of contact or unclaimed",
}

_STATES = {
    ClusterState.CORDONED: "the cluster is cordoned",
    ClusterState.DRAINING: "the cluster is draining",
    ClusterState.LOST: "the cluster is out of contact or its engine is unclaimed",
}


def amount(vector: Resources) -> str:
    """Return the vector as text, such as `4 CPU, 16 GiB RAM`, without zero dimensions."""
    return in_words({name: value for name, value in vector.to_json().items() if value > 0})


def _time(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"
