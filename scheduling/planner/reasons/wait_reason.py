"""Explain why a ready deployment stays pending: a sentence, and on demand a row per cluster."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import nsmallest
from typing import Any, NamedTuple

from scheduling.planner.outcome import Reservation, may_use
from scheduling.planner.packed import OVERDRAWN, beyond, unpack
from scheduling.planner.plan import SCATTERED, SUSPENDED, Clusters
from scheduling.planner.problem import Problem
from scheduling.planner.reasons.obstacle import (
    OVERCOMMITTED,
    failing,
    missing_from_largest,
    not_eligible,
    obstacle,
)
from scheduling.planner.reasons.supply import Supplies, distance
from scheduling.planner.resources import Resources, in_words
from scheduling.planner.snapshot import Deployment

_LISTED = 8  # nodes of one cluster of which the detail has a row


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


class Reason:
    """The explanation of why a deployment waits; deployments that wait for the same have it in
    common.

    What it states is computed when it is first read. `own` is the reservation of the deployment, if
    it has one. `is_shared`: several deployments wait for it.
    """

    __slots__ = (
        "_index", "_is_suspended", "_known", "_may_move", "_move", "_own", "_supplies", "_supply",
        "is_shared",
    )  # fmt: skip

    def __init__(self, supplies: Supplies, d: int, own: Reservation | None) -> None:
        problem = supplies.problem
        self._supplies = supplies
        self._index = d
        self._own = own
        # With preemption suspended, it may only use what all levels leave free.
        self._is_suspended = d in problem.suspended
        level = problem.levels[-1].priority if self._is_suspended else problem.priorities[d]
        self._supply = supplies.at(level, d)
        self._move: dict[str, int] | None = None
        self._known: tuple[str, str] | None = None
        self.is_shared = False
        self._may_move = self._supply.may_scatter(problem.requests[d]) and not (
            own or self._is_suspended
        )

    @property
    def _problem(self) -> Problem:
        return self._supplies.problem

    @property
    def _deployment(self) -> Deployment:
        return self._supplies.problem.deployments[self._index]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reason):
            return NotImplemented
        return self.both == other.both and self.detail == other.detail

    __hash__ = None  # type: ignore[assignment]

    @property
    def code(self) -> str:
        supply = self._supply
        if self._may_move or not supply.nodes or self._own or supply.reservations:
            return self.both[0]
        return SUSPENDED if self._is_suspended else "no_free_capacity"

    def common_code(self) -> str | None:
        """Return the code if it is the same for each request for which the nodes are the same and
        no free capacity is scattered; None if the closest node depends on the request.
        """
        bins, freest = self._problem.bins, self._supply.freest
        free = {c: self._free_on(c) for c in freest}
        for c in sorted(freest):
            capacity = bins[c].capacity
            if all(
                c <= other and capacity == bins[other].capacity and free[other].fits_in(free[c])
                for other in freest
            ):
                return "reserved_for_other" if self._reservation_on(c) else "no_free_capacity"
        return None

    @property
    def reason(self) -> str:
        return self.both[1]

    @property
    def detail(self) -> Mapping[str, Any]:
        return Detail(self)

    @property
    def both(self) -> tuple[str, str]:
        """The code and the sentence. They are kept if several deployments have them in common or
        they took a search for a move: those of very many deployments need much memory.
        """
        if self._known is not None:
            return self._known
        explained = self._explain()
        if self.is_shared or self._may_move:
            self._known = explained
        return explained

    def _explain(self) -> tuple[str, str]:
        deployment, request = self._deployment, self._deployment.request
        if not self._supply.nodes:
            return not_eligible(self._problem, self._index)
        if self._own:
            return self._reserved(self._own)
        closest = self._closest_of_freest()
        missing = request.short_of(self._free_on(closest))
        needs = f"Needs {request.positive} at priority {deployment.priority}."
        sentence = f"{needs} {self._supply.in_words(closest)} is short of {missing}."
        if self._is_suspended and deployment.suspended_until is not None:
            until = f"until {_time(deployment.suspended_until)}"
            why = "because earlier preemptions freed capacity that it never used"
            return SUSPENDED, f"{sentence} Preemption is suspended {until} {why}."
        other = self._reservation_on(closest)
        if other is not None:
            holder = self._problem.deployments[other.deployment].id
            rest = f"Capacity there is reserved for deployment {holder}."
            return "reserved_for_other", f"{sentence} {rest}"
        scattered = self.scattered(closest) if self._may_move else None
        if scattered:
            return SCATTERED, f"{needs} {scattered}{self._remedy(closest)}."
        return "no_free_capacity", sentence

    def scattered(self, closest: int) -> Scatter | None:
        """Return how the free capacity of the closest node's cluster is scattered.

        None if it is not enough in sum either.
        """
        cluster = self._problem.bins[closest].cluster
        total = self._supply.total(cluster.id)
        if (total - self._problem.requests[self._index]) & OVERDRAWN:
            return None
        request, most = self._deployment.request.to_json(), self._supply.most(cluster.id)
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
        nodes = self._supply.of_cluster(cluster.id)
        move = self._supplies.move(self._index, self._supply, nodes)
        if move is None:
            return ""
        v, target = move
        home = bins[self._supplies.outcome.where[v]]
        to = bins[target].node if bins[target].cluster.id == cluster.id else bins[target]
        id_ = self._problem.deployments[v].id
        self._move = {"deployment": id_, "source": home.node.id, "target": bins[target].node.id}
        return f"; moving deployment {id_} from {home.node.label} to {to.label} would make one"

    def _reserved(self, own: Reservation) -> tuple[str, str]:
        label, request = self._problem.bins[own.node].label, self._deployment.request.positive
        sentence = f"Needs {request}. It has waited long, so capacity on {label} is reserved for it"
        if own.until is None:
            return "reserved", f"{sentence}."
        return "reserved", f"{sentence}; enough will be free by {_time(own.until)}."

    def _closest_of_freest(self) -> int:
        supply = self._supply
        if supply.reservations:
            return self._closest_of(supply.freest, 1)[0]
        return supply.closest(self._deployment.request)

    def _closest_of(self, nodes: Sequence[int], number: int) -> list[int]:
        if len(nodes) == 1:
            return [*nodes]
        request, bins = self._deployment.request, self._problem.bins
        return nsmallest(
            number, nodes, key=lambda c: (distance(request, self._free_on(c), bins[c].capacity), c)
        )

    def _reservation_on(self, c: int) -> Reservation | None:
        """Return the reservation on c that this deployment must respect, None if there is none."""
        other = self._supplies.outcome.reservations.get(c)
        if other is None or other == self._own:
            return None
        holder = self._problem.deployments[other.deployment]
        if holder.priority < self._deployment.priority:
            return None
        return None if may_use(self._problem, other, self._index) else other

    def _free_on(self, c: int) -> Resources:
        other = self._reservation_on(c)
        if other is None:
            return self._supply.free_on(c)
        return unpack(beyond(self._supply.free[c], other.amount))

    def all_clusters(self) -> list[dict[str, Any]]:
        """Return a row for each cluster."""
        return [self._row(nodes) for nodes in self._problem.clusters]

    def clusters(self, number: int) -> Clusters:
        """See `Clusters`."""
        wanted, found = self._deployment.requested_cluster, self._supply.clusters
        if wanted is not None:
            found = [nodes for nodes in found if self._problem.bins[nodes[0]].cluster.id == wanted]
        return Clusters([self._figures(nodes).row for nodes in found[:number]], len(found))

    @property
    def move(self) -> dict[str, int]:
        """The move that the sentence proposes; empty if it proposes none."""
        if self._may_move:
            self.both  # noqa: B018 - finds the move
        return self._move or {}

    @property
    def reservation(self) -> dict[str, Any]:
        """The deployment's own reservation; empty if it has none."""
        if self._own is None:
            return {}
        cluster, node = self._problem.bins[self._own.node].place
        return {"cluster": cluster, "node": node, "until": self._own.until}

    def _row(self, nodes: range) -> dict[str, Any]:
        figures, label = self._figures(nodes), self._problem.bins[nodes[0]].cluster.label
        first = {"cluster": figures.row["cluster"], "name": label, "code": figures.row["code"]}
        row = first | {"why": self._why(nodes, figures)} | figures.row
        if len(nodes) > 1:
            here = self._supply.of_cluster(row["cluster"])
            row["nodes"] = [self._node(c) for c in self._closest_of(here, _LISTED)]
        return row

    def _figures(self, nodes: range) -> "_Figures":
        """Return the row of a cluster without its sentences, which take the most time."""
        problem, cluster = self._problem, self._problem.bins[nodes[0]].cluster.id
        here = self._supply.of_cluster(cluster)
        if not here:
            found = obstacle(problem, self._index, nodes) or OVERCOMMITTED
            missing = missing_from_largest(problem, self._index, nodes)
            return _Figures({"cluster": cluster, "code": found[0], "missing": missing}, found[1])
        [closest] = self._closest_of(here, 1)
        missing = self._deployment.request.missing_from(self._free_on(closest))
        code, scatter = "no_free_capacity", None
        if self._reservation_on(closest):
            code = "reserved_for_other"
        elif len(nodes) > 1:
            scatter = self.scattered(closest)
        row = {"cluster": cluster, "code": SCATTERED if scatter else code, "missing": missing}
        if scatter:
            row |= {"free": scatter.free, "largest": scatter.largest}
        return _Figures(row, "", closest, scatter)

    def _why(self, nodes: range, figures: "_Figures") -> str:
        """Return the clause of a cluster's row."""
        if figures.obstacle:
            return figures.obstacle
        why = self._shortfall(figures.closest, figures.row["missing"])
        if len(nodes) == 1:
            return why
        label = self._problem.bins[figures.closest].node.label
        mismatch = failing(self._problem, self._index, nodes)
        parts = (f"the closest of its {len(nodes):,} nodes, {label}: {why}", mismatch)
        return "; ".join(
            [*filter(None, parts), *([str(figures.scatter)] if figures.scatter else [])]
        )

    def _node(self, c: int) -> dict[str, Any]:
        node = self._problem.bins[c].node
        missing = self._deployment.request.missing_from(self._free_on(c))
        why = self._shortfall(c, missing)
        return {"node": node.id, "name": node.label, "why": why, "missing": missing}

    def _shortfall(self, c: int, missing: dict[str, int]) -> str:
        other, free = self._reservation_on(c), self._free_on(c).positive
        text = f"{free} free for this deployment, {in_words(missing)} missing"
        if other:
            holder = self._problem.deployments[other.deployment].id
            text += f"; the rest is reserved for deployment {holder}, which has waited longest"
        return text


class _Figures(NamedTuple):
    """A cluster's row without its sentences, and what the sentence is about: an obstacle, or the
    closest of the eligible nodes and how the free capacity is scattered.
    """

    row: dict[str, Any]
    obstacle: str
    closest: int = -1
    scatter: Scatter | None = None


class Detail(Mapping[str, Any]):
    """The detail of a wait reason.

    Keys: `clusters`, rows with `cluster`, `name`, `code`, `why` and `missing`, and `nodes` if the
    cluster has several: the closest of those that could run the deployment, with `node`, `name`,
    `why` and `missing`. For the holder of a reservation also `reservation`, with `cluster`, `node`
    and `until`, the time at which enough will be free at the latest (seconds since the epoch, None
    when it is unknown). If free capacity is scattered, the row of that cluster also has `free`, the
    sum, and `largest`, the most on one node; `move` is the move that would mend it, if one was
    found, with `deployment` and the nodes `source` and `target`.
    """

    def __init__(self, reason: Reason) -> None:
        self._reason = reason
        self._rest = {"reservation": reason.reservation, "move": reason.move}

    def __getitem__(self, key: str) -> Any:
        if key == "clusters":
            return self._reason.all_clusters()
        if not self._rest.get(key):
            raise KeyError(key)
        return self._rest[key]

    def __contains__(self, key: object) -> bool:
        return key in self._keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys())

    def __len__(self) -> int:
        return len(self._keys())

    def _keys(self) -> list[str]:
        return ["clusters", *[key for key, value in self._rest.items() if value]]


def _time(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"
