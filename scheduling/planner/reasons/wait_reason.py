"""Explain why a ready deployment stays pending: a sentence, and on demand a row per cluster."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from heapq import nsmallest
from typing import Any

from scheduling.planner.outcome import Outcome, Reservation, may_use
from scheduling.planner.packed import OVERDRAWN, beyond, unpack
from scheduling.planner.problem import Problem
from scheduling.planner.reasons.obstacle import closed, failing, missing_from_largest, obstacle
from scheduling.planner.reasons.supply import Supplies
from scheduling.planner.resources import Resources, in_words
from scheduling.planner.snapshot import ClusterState

_LISTED = 8  # nodes of one cluster of which the detail has a row
_NAMED = 8  # closed clusters or nodes that a sentence names


@dataclass(frozen=True, slots=True)
class Scatter:
    """Capacity that is free in sum on a cluster, but not on one of its nodes, by dimension.

    Only the dimensions of which no node has enough, or all that are requested if each has its node.
    """

    cluster: str
    free: dict[str, int]
    needed: dict[str, int]
    largest: dict[str, int]

    def __str__(self) -> str:
        return (
            f"{in_words(self.free)} are free for it on {self.cluster}, but no node has"
            f" {in_words(self.needed)}: the largest free block is {in_words(self.largest)}"
        )


class Detail(Mapping[str, Any]):
    """The detail of a wait reason, computed when it is first read.

    Keys: `clusters`, rows with `cluster`, `name`, `code`, `why` and `missing`, and `nodes` if the
    cluster has several: the closest of those that could run the deployment, with `node`, `name`,
    `why` and `missing`. For the holder of a reservation also `reservation`, with `cluster`, `node`
    and `until`, the time at which enough will be free at the latest (seconds since the epoch, None
    when it is unknown). If free capacity is scattered, the row of that cluster also has `free`, the
    sum, and `largest`, the most on one node; `move` is the move that would mend it, if one was
    found, with `deployment` and the nodes `source` and `target`.
    """

    def __init__(
        self,
        problem: Problem,
        outcome: Outcome,
        d: int,
        own: Reservation | None,
        supplies: Supplies,
    ) -> None:
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
        self._supplies = supplies
        self._supply = supplies.at(level, self._eligible)
        self._move: dict[str, int] = {}
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
            "clusters": [self._row(nodes) for nodes in self._problem.clusters]
        }
        if self._own:
            cluster, node = self._problem.bins[self._own.node].place
            until = self._own.until
            detail["reservation"] = {"cluster": cluster, "node": node, "until": until}
        if self._move:
            detail["move"] = self._move
        return detail

    def _row(self, nodes: range) -> dict[str, Any]:
        problem, cluster = self._problem, self._problem.bins[nodes[0]].cluster
        here = self._supply.by_cluster.get(cluster.id, [])
        scatter = None
        if here:
            code, why, missing, scatter = self._short(nodes, here)
        else:
            code, why = obstacle(problem, self._index, nodes) or _OVERCOMMITTED
            missing = missing_from_largest(problem, self._index, nodes)
        row: dict[str, Any] = {
            "cluster": cluster.id,
            "name": cluster.label,
            "code": code,
            "why": why,
            "missing": missing,
        }
        if scatter:
            row |= {"free": scatter.free, "largest": scatter.largest}
        if len(nodes) > 1:
            row["nodes"] = [self._node(c) for c in self._closest_of(here, _LISTED)]
        return row

    def _short(
        self, nodes: range, here: list[int]
    ) -> tuple[str, str, dict[str, int], Scatter | None]:
        """Return the code, the clause, what is missing on the closest of the eligible nodes, and
        how the free capacity is scattered.
        """
        [closest] = self._closest_of(here, 1)
        missing = self._deployment.request.missing_from(self._free_on(closest))
        why = self._shortfall(closest, missing)
        code = "reserved_for_other" if self._reservation_on(closest) else "no_free_capacity"
        if len(nodes) > 1:
            label = self._problem.bins[closest].node.label
            why = f"{label}, the closest of its {len(nodes)} nodes: {why}"
            mismatch = failing(self._problem, self._index, nodes)
            why += f"; {mismatch}" if mismatch else ""
            scattered = self._scattered(closest)
            if scattered and code == "no_free_capacity":
                return "scattered", f"{why}; {scattered}", missing, scattered
        return code, why, missing, None

    def _node(self, c: int) -> dict[str, Any]:
        node = self._problem.bins[c].node
        missing = self._deployment.request.missing_from(self._free_on(c))
        why = self._shortfall(c, missing)
        return {"node": node.id, "name": node.label, "why": why, "missing": missing}

    def _shortfall(self, c: int, missing: dict[str, int]) -> str:
        other = self._reservation_on(c)
        free = amount(self._free_on(c))
        text = f"{free} free for this deployment, {in_words(missing)} missing"
        if other:
            holder = self._problem.deployments[other.deployment].id
            text += f"; the rest is reserved for deployment {holder}, which has waited longest"
        return text

    def _explain(self) -> tuple[str, str]:
        request = amount(self._deployment.request)
        if not self._eligible:
            return self._not_eligible(request)
        if self._own:
            return self._reserved(request, self._own)
        [closest] = self._closest_of(self._supply.freest, 1)
        missing = self._deployment.request.missing_from(self._free_on(closest))
        needs = f"Needs {request} at priority {self._deployment.priority}."
        sentence = f"{needs} {self._closest(closest)} is short of {in_words(missing)}."
        if self._suspended_until is not None:
            until = f"until {_time(self._suspended_until)}"
            why = "because earlier preemptions freed capacity that it never used"
            return "preemption_suspended", f"{sentence} Preemption is suspended {until} {why}."
        other = self._reservation_on(closest)
        if other is not None:
            holder = self._problem.deployments[other.deployment].id
            rest = f"Capacity there is reserved for deployment {holder}."
            return "reserved_for_other", f"{sentence} {rest}"
        scattered = self._scattered(closest)
        if scattered:
            return "scattered", f"{needs} {scattered}{self._remedy(closest)}."
        return "no_free_capacity", sentence

    def _closest(self, c: int) -> str:
        label, number, unit = self._problem.bins[c].label, len(self._eligible), self._supply.unit
        if number == 1:
            return f"The only {unit.removesuffix('s')} that could run it, {label},"
        none = f"None of the {number} {unit} that could run it has enough free capacity"
        return f"{none}; the closest, {label},"

    def _scattered(self, closest: int) -> Scatter | None:
        """Return how the free capacity of the closest node's cluster is scattered.

        None if it is not enough in sum either.
        """
        cluster = self._problem.bins[closest].cluster
        total = self._supply.totals[cluster.id]
        if (total - self._problem.requests[self._index]) & OVERDRAWN:
            return None
        request, most = self._deployment.request.to_json(), self._supply.most[cluster.id]
        short = tuple(name for name, wanted in request.items() if most[name] < wanted)
        if short:
            block = self._supply.largest(cluster.id, short)
        else:
            block = self._free_on(closest).to_json()
            short = tuple(name for name, wanted in request.items() if wanted)
        free, needed, largest = (
            {name: amounts[name] for name in short}
            for amounts in (unpack(total).to_json(), request, block)
        )
        return Scatter(cluster.label, free, needed, largest)

    def _remedy(self, closest: int) -> str:
        """Return a clause about the move of one deployment that would make a free block."""
        bins, cluster = self._problem.bins, self._problem.bins[closest].cluster
        nodes = self._supply.by_cluster[cluster.id]
        move = self._supplies.move(self._index, self._supply, nodes)
        if move is None:
            return ""
        v, target = move
        home = bins[self._outcome.where[v]]
        to = bins[target].node if bins[target].cluster.id == cluster.id else bins[target]
        id_ = self._problem.deployments[v].id
        self._move = {"deployment": id_, "source": home.node.id, "target": bins[target].node.id}
        return f"; moving deployment {id_} from {home.node.label} to {to.label} would make one"

    def _reserved(self, request: str, own: Reservation) -> tuple[str, str]:
        label = self._problem.bins[own.node].label
        sentence = f"Needs {request}. It has waited long, so capacity on {label} is reserved for it"
        if own.until is None:
            return "reserved", f"{sentence}."
        return "reserved", f"{sentence}; enough will be free by {_time(own.until)}."

    def _not_eligible(self, request: str) -> tuple[str, str]:
        problem, wanted = self._problem, self._deployment.requested_cluster
        among = [
            nodes
            for nodes in problem.clusters
            if wanted in (None, problem.bins[nodes[0]].cluster.id)
        ]
        if not among:
            if wanted is None:
                return "no_cluster", f"Needs {request}, but the organization has no cluster."
            return "requested_cluster_gone", f"Requests cluster {wanted}, which does not exist."
        found = [obstacle(problem, self._index, nodes) or _OVERCOMMITTED for nodes in among]
        codes = {code for code, _ in found}
        for useless in _USELESS:
            codes = codes - {useless} or codes
        code = min(codes)
        if code == "exceeds_capacity":
            return code, f"Needs {request}, which exceeds the capacity of {self._all_of(among)}."
        if code == "no_matching_node":
            labels = " and ".join(map(str, self._deployment.require))
            which = f"Needs {request} on a node where {labels}"
            return code, f"{which}, but no node that is large enough satisfies this."
        useful = [
            nodes for nodes, (each, _) in zip(among, found, strict=True) if each not in _USELESS
        ]
        return code, f"Needs {request}, but {self._all_closed(useful)}."

    def _all_closed(self, useful: Sequence[range]) -> str:
        """Return a clause about clusters or nodes that could run it, but are all closed."""
        problem = self._problem
        places = [bin_ for nodes in useful for bin_ in closed(problem, self._index, nodes)]
        wholes = [bin_.closed_as_a_whole for bin_ in places]
        unit = "clusters" if all(wholes) else "clusters and nodes" if any(wholes) else "nodes"
        states = {bin_.state for bin_ in places}
        why = _CLOSED[states.pop()] if len(states) == 1 else "closed to new deployments"
        labels = [
            bin_.cluster.label if whole else bin_.label
            for bin_, whole in zip(places, wholes, strict=True)
        ]
        more = f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else ""
        return f"the {unit} that could run it are {why}: {', '.join(labels[:_NAMED])}{more}"

    def _all_of(self, among: Sequence[range]) -> str:
        """Return what the clusters are called together."""
        nodes = sum(map(len, among))
        if nodes > len(among):
            return f"any of the {nodes} nodes"
        if nodes > 1:
            return f"any of the {nodes} clusters"
        return self._problem.bins[among[0][0]].label

    def _closest_of(self, nodes: Sequence[int], number: int) -> list[int]:
        return nsmallest(number, nodes, key=lambda c: (self._distance(c), c))

    def _distance(self, c: int) -> int:
        """Return the largest share of the node's capacity that is missing, in millionths."""
        request, free = self._deployment.request, self._free_on(c)
        capacity = self._problem.bins[c].capacity
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
        other, free = self._reservation_on(c), self._supply.free[c]
        return unpack(beyond(free, other.amount) if other else free)


_OVERCOMMITTED = "overcommitted", "more is allocated there than the cluster has"
_USELESS = "exceeds_capacity", "no_matching_node"

_CLOSED = {
    ClusterState.ACTIVE: "overcommitted",
    ClusterState.CORDONED: "cordoned",
    ClusterState.DRAINING: "draining",
    ClusterState.LOST: "out of contact or unclaimed",
}


def amount(vector: Resources) -> str:
    """Return the vector as text, such as `4 CPU, 16 GiB RAM`, without zero dimensions."""
    return in_words({name: value for name, value in vector.to_json().items() if value > 0})


def _time(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"
