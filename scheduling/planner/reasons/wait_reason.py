"""Why a ready deployment stays pending, in words and, on demand, cluster by cluster."""

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


class Shortage(Mapping[str, Any]):
    """The detail of a hold. The row of each cluster is worked out only when somebody looks.

    Keys: `clusters`, rows of `cluster`, `name`, `code`, `why` and `missing`; for one that room is
    held for also `reservation`, of `cluster` and `until` (seconds, or None when nobody can tell).
    """

    def __init__(self, problem: Problem, outcome: Outcome, d: int, own: Reservation | None) -> None:
        self._problem = problem
        self._outcome = outcome
        self._own = own
        self._index = d
        self._deployment = problem.deployments[d]
        self._eligible = problem.eligible[d]
        self._is_set_aside = problem.snapshot.is_set_aside(self._deployment)
        self._rooms = outcome.rooms_at.get(self._deployment.priority, problem.rooms)
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
            code, why = "overcommitted", "it has less capacity than is allocated there"
        else:
            missing = self._deployment.request.missing_from(self._room(c))
            code = "held_for_reservation" if self._held(c) else "no_room"
            why = self._lacks(c, missing)
        return {
            "cluster": cluster.id,
            "name": cluster.label,
            "code": code,
            "why": why,
            "missing": missing,
        }

    def _lacks(self, c: int, missing: dict[str, int]) -> str:
        held = self._held(c)
        free = amount(self._room(c))
        lacks = f"of what it may use {free} is left, it lacks {_amounts(missing)}"
        if held:
            waiting = self._problem.deployments[held.deployment]
            lacks += f"; room is held for deployment {waiting.id}, which has waited longest"
        return lacks

    def _obstacle(self, cluster: Cluster) -> tuple[str, str] | None:
        wanted = self._deployment.requested_cluster
        missing = self._deployment.request.missing_from(cluster.capacity)
        if wanted not in (None, cluster.id):
            return "other_cluster", "it asks for another cluster"
        if missing:
            return "exceeds_capacity", f"even empty it is too small by {_amounts(missing)}"
        if cluster.state != ClusterState.ACTIVE:
            return f"cluster_{cluster.state}", _STATES[cluster.state]
        return None

    def _verdict(self) -> tuple[str, str]:
        request = amount(self._deployment.request)
        if not self._eligible:
            return self._nowhere(request)
        if self._own:
            return self._reserved(request, self._own)
        nearest = min(self._roomiest(), key=lambda c: (self._distance(c), c))
        missing = self._deployment.request.missing_from(self._room(nearest))
        label = self._problem.clusters[nearest].label
        where = label if len(self._eligible) == 1 else f"the nearest, {label},"
        sentence = (
            f"Needs {request} {self._standing()}; of "
            f"{_count(len(self._eligible), 'cluster')} that could hold it none has the room, "
            f"{where} lacks {_amounts(missing)}."
        )
        if self._is_set_aside:
            return "thrash", sentence
        held = self._held(nearest)
        if held is None:
            return "no_room", sentence
        waiting = self._problem.deployments[held.deployment].id
        return "held_for_reservation", f"{sentence} Room there is held for deployment {waiting}."

    def _standing(self) -> str:
        if not self._is_set_aside:
            return f"at priority {self._deployment.priority}"
        return (
            "of what all others leave, as room was made for it again and again for nothing"
            f"{_until(self._deployment.set_aside_until)}"
        )

    def _reserved(self, request: str, own: Reservation) -> tuple[str, str]:
        label = self._problem.clusters[own.cluster].label
        until = _until(own.until)
        return (
            "reserved",
            f"Needs {request}. Has waited long: room on {label} is held for it{until}.",
        )

    def _nowhere(self, request: str) -> tuple[str, str]:
        wanted = self._deployment.requested_cluster
        clusters = self._problem.clusters
        among = [c for c in clusters if wanted in (None, c.id)]
        if not among:
            if wanted is None:
                return "no_cluster", f"Needs {request}; there is no cluster."
            return "requested_cluster_gone", f"Asks for cluster {wanted}, which does not exist."
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
        return code, f"Needs {request}; what could hold it is {why}: {labels}."

    def _roomiest(self) -> list[int]:
        """Return some of the eligible clusters: those with most room, in GPU before RAM."""
        if len(self._eligible) <= _COMPARED:
            return list(self._eligible)
        return nsmallest(_COMPARED, self._eligible, key=lambda c: (-self._rooms[c], c))

    def _distance(self, c: int) -> int:
        """Return the largest share of the cluster's capacity that is missing, in millionths."""
        request, room = self._deployment.request, self._room(c)
        capacity = self._problem.clusters[c].capacity
        return max(
            (request.cpu_milli - room.cpu_milli) * 10**6 // max(capacity.cpu_milli, 1),
            (request.ram_mib - room.ram_mib) * 10**6 // max(capacity.ram_mib, 1),
            (request.gpu - room.gpu) * 10**6 // max(capacity.gpu, 1),
        )

    def _held(self, c: int) -> Reservation | None:
        """Return the reservation on c that this deployment has to respect, if any."""
        held = self._outcome.reservations.get(c)
        if held is None or held == self._own:
            return None
        holder = self._problem.deployments[held.deployment]
        if holder.priority < self._deployment.priority:
            return None
        return None if may_use(self._problem, held, self._index) else held

    def _room(self, c: int) -> Resources:
        held = self._held(c)
        return unpack(beyond(self._rooms[c], held.amount) if held else self._rooms[c])


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
