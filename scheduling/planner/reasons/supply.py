"""What is free for the deployments of one level on the nodes that they are eligible for."""

from functools import cached_property
from heapq import nsmallest

from scheduling.planner.outcome import Outcome
from scheduling.planner.packed import OVERDRAWN, unpack
from scheduling.planner.problem import Problem
from scheduling.planner.resources import DIMENSIONS

_COMPARED = 4  # nodes of which a sentence names the closest
_PAIRS = 20_000  # pairs of a deployment and a node to examine for one plan


class Supply:
    """The free capacity, packed, on `nodes`, as `free`; many deployments share it."""

    def __init__(self, problem: Problem, free: list[int], nodes: tuple[int, ...]) -> None:
        self._problem = problem
        self.free = free
        self.nodes = nodes
        self._largest: dict[tuple[int, tuple[str, ...]], dict[str, int]] = {}

    @cached_property
    def freest(self) -> list[int]:
        """A few nodes with the most free capacity, GPU before RAM before CPU."""
        if len(self.nodes) <= _COMPARED:
            return list(self.nodes)
        return nsmallest(_COMPARED, self.nodes, key=lambda c: (-self.free[c], c))

    @cached_property
    def unit(self) -> str:
        """What the nodes are called: those that are alone in their clusters are `clusters`."""
        return "clusters" if all(self._problem.bins[c].is_only for c in self.nodes) else "nodes"

    @cached_property
    def by_cluster(self) -> dict[int, list[int]]:
        """The nodes by the id of their cluster."""
        found: dict[int, list[int]] = {}
        for c in self.nodes:
            found.setdefault(self._problem.bins[c].cluster.id, []).append(c)
        return found

    @cached_property
    def totals(self) -> dict[int, int]:
        """The sum of what is free, packed, by the id of the cluster."""
        return {
            cluster: sum([self.free[c] for c in nodes])
            for cluster, nodes in self.by_cluster.items()
        }

    @cached_property
    def most(self) -> dict[int, dict[str, int]]:
        """The most of each dimension that is free on one node, by the id of the cluster."""
        return {
            cluster: {
                name: max(amounts)
                for name, amounts in zip(
                    DIMENSIONS,
                    zip(*[unpack(self.free[c]).to_json().values() for c in nodes], strict=True),
                    strict=True,
                )
            }
            for cluster, nodes in self.by_cluster.items()
        }

    def largest(self, cluster: int, names: tuple[str, ...]) -> dict[str, int]:
        """Return what is free on the node of the cluster that has the most of these dimensions, GPU
        before RAM before CPU.
        """
        known = self._largest.get((cluster, names))
        if known is None:
            rows = [unpack(self.free[c]).to_json() for c in self.by_cluster[cluster]]
            known = max(rows, key=lambda row: [row[name] for name in reversed(names)])
            self._largest[cluster, names] = known
        return known


class Supplies:
    """The supply of each level and set of nodes, and moves that would make a large block free.

    A move is of an active deployment that stays on its node. The number of pairs that are examined
    for a plan is bounded.
    """

    def __init__(self, problem: Problem, outcome: Outcome, staying: dict[int, list[int]]) -> None:
        self._problem = problem
        self._outcome = outcome
        self._staying = staying
        self._known: dict[tuple[int, int], Supply] = {}
        self._pairs_left = _PAIRS

    def at(self, priority: int, nodes: tuple[int, ...]) -> Supply:
        """Return what is free on the nodes after the level of this priority was placed."""
        key = priority, id(nodes)
        known = self._known.get(key)
        if known is None:
            free = self._outcome.free_at.get(priority, self._problem.capacities)
            known = self._known[key] = Supply(self._problem, free, nodes)
        return known

    def move(self, d: int, supply: Supply, nodes: list[int]) -> tuple[int, int] | None:
        """Return a deployment of d's priority or a lower one and the node to which it could move so
        that d fits in its place; the smallest deployment. None if no such move was found.
        """
        problem, priority = self._problem, self._problem.deployments[d].priority
        options = []
        for c in nodes:
            short = supply.free[c] - problem.requests[d]
            for v in self._staying.get(c, ()):
                self._pairs_left -= 1
                fits = not (short + problem.requests[v]) & OVERDRAWN
                deployment = problem.deployments[v]
                if fits and deployment.priority <= priority and deployment.preemptible:
                    options.append((problem.shares[v], v, c))
            if self._pairs_left < 0:
                return None
        for _, v, c in sorted(options):
            target = self._target(v, c)
            if target is not None:
                return v, target
        return None

    def _target(self, v: int, home: int) -> int | None:
        """Return a node with enough free capacity, beside all active deployments, for v."""
        problem, reserved = self._problem, self._outcome.reservations
        free = self._outcome.free_at[problem.levels[-1].priority]
        for c in problem.eligible[v]:
            self._pairs_left -= 1
            if self._pairs_left < 0:
                return None
            if c != home and c not in reserved and not (free[c] - problem.requests[v]) & OVERDRAWN:
                return c
        return None
