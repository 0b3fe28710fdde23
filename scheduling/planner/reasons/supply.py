"""What is free for the deployments of one level on the nodes that they are eligible for."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from itertools import islice

from scheduling.planner.outcome import Outcome
from scheduling.planner.packed import OVERDRAWN, most, unpack
from scheduling.planner.problem import Problem
from scheduling.planner.resources import DIMENSIONS, Resources

_COMPARED = 4  # nodes of which a sentence names the closest
_PAIRS = 20_000  # pairs of a deployment and a node to examine for all reasons of a plan ...
_LEAST_PAIRS = 20  # ... but at least this many for each


class Supply:
    """The free capacity, packed, on `nodes`, as `free`; many deployments share it.

    `ranked` are these and other nodes, those with the most free capacity first, `ranges` has all
    nodes of each cluster by its id, and `shared` are the nodes that are not alone in their cluster.
    """

    def __init__(
        self,
        problem: Problem,
        outcome: Outcome,
        free: list[int],
        nodes: Sequence[int],
        ranked: Sequence[int],
        ranges: Mapping[int, range],
        shared: Sequence[int],
    ) -> None:
        self._problem = problem
        self._reservations = outcome.reservations
        self.free = free
        self.nodes = nodes
        self._ranked = ranked
        self._ranges = ranges
        self._shared = shared
        self._largest: dict[tuple[int, tuple[str, ...]], dict[str, int]] = {}
        self._in_words: dict[int, str] = {}
        self._free: dict[int, Resources] = {}
        self._of_cluster: dict[int, list[int]] = {}
        self._totals: dict[int, int] = {}
        self._most: dict[int, dict[str, int]] = {}

    @cached_property
    def freest(self) -> list[int]:
        """A few nodes with the most free capacity, GPU before RAM before CPU."""
        if len(self.nodes) <= _COMPARED:
            return list(self.nodes)
        return list(islice((c for c in self._ranked if c in self.nodes), _COMPARED))

    @cached_property
    def reservations(self) -> list[int]:
        """Those of the freest nodes on which capacity is reserved."""
        return [c for c in self.freest if c in self._reservations]

    def closest(self, request: Resources) -> int:
        """Return the closest of the freest nodes by `distance`, regardless of reservations."""
        cpu, ram, gpu = request.cpu_milli, request.ram_mib, request.gpu
        closest, least = self.freest[0], 1 << 62
        for c, free_cpu, free_ram, free_gpu, all_cpu, all_ram, all_gpu in self._amounts:
            missing = (cpu - free_cpu) * 10**6 // all_cpu
            missing = max(missing, (ram - free_ram) * 10**6 // all_ram)
            missing = max(missing, (gpu - free_gpu) * 10**6 // all_gpu)
            if missing < least:
                closest, least = c, missing
        return closest

    @cached_property
    def _amounts(self) -> list[tuple[int, ...]]:
        """What is free of each dimension on the freest nodes, and what they have, by node."""
        found = []
        for c in sorted(self.freest):
            free, capacity = self.free_on(c).to_json(), self._problem.bins[c].capacity.to_json()
            found.append((c, *free.values(), *[max(amount, 1) for amount in capacity.values()]))
        return found

    def free_on(self, c: int) -> Resources:
        known = self._free.get(c)
        if known is None:
            known = self._free[c] = unpack(self.free[c])
        return known

    def in_words(self, c: int) -> str:
        """Return the node as the closest of those that could run a deployment."""
        known = self._in_words.get(c)
        if known is None:
            label, number, unit = self._problem.bins[c].label, len(self.nodes), self.unit
            known = f"The only {unit.removesuffix('s')} that could run it, {label},"
            if number > 1:
                none = f"None of the {number:,} {unit} that could run it has enough free capacity"
                known = f"{none}; the closest, {label},"
            self._in_words[c] = known
        return known

    def may_scatter(self, request: int) -> bool:
        """Return whether the sum of what is free on a cluster of the freest nodes is enough."""
        if (self._bound - request) & OVERDRAWN:
            return False
        return any(not (total - request) & OVERDRAWN for total in self._totals_of_freest)

    @cached_property
    def _bound(self) -> int:
        """The most of each dimension that is free on one cluster of the freest nodes."""
        return most([total for total in self._totals_of_freest if not total & OVERDRAWN])

    @cached_property
    def _totals_of_freest(self) -> set[int]:
        bins = self._problem.bins
        return {self.total(cluster) for cluster in {bins[c].cluster.id for c in self.freest}}

    @cached_property
    def unit(self) -> str:
        """What the nodes are called: those that are alone in their clusters are `clusters`."""
        return "nodes" if any(c in self.nodes for c in self._shared) else "clusters"

    def of_cluster(self, cluster: int) -> list[int]:
        """Return the nodes of the cluster with this id."""
        known = self._of_cluster.get(cluster)
        if known is None:
            known = [c for c in self._ranges[cluster] if c in self.nodes]
            self._of_cluster[cluster] = known
        return known

    @cached_property
    def clusters(self) -> list[range]:
        """All nodes of each cluster; the clusters that have some of `nodes` come first."""
        ids = sorted(self._ranges, key=lambda cluster: not self.of_cluster(cluster))
        return [self._ranges[cluster] for cluster in ids]

    def total(self, cluster: int) -> int:
        """Return the sum of what is free on the cluster with this id, packed."""
        known = self._totals.get(cluster)
        if known is None:
            known = self._totals[cluster] = sum([self.free[c] for c in self.of_cluster(cluster)])
        return known

    def most(self, cluster: int) -> dict[str, int]:
        """Return the most of each dimension that is free on one node of the cluster."""
        known = self._most.get(cluster)
        if known is None:
            rows = [unpack(self.free[c]).to_json() for c in self.of_cluster(cluster)]
            known = {name: max([row[name] for row in rows]) for name in DIMENSIONS}
            self._most[cluster] = known
        return known

    def largest(self, cluster: int, names: tuple[str, ...]) -> dict[str, int]:
        """Return what is free on the node of the cluster that has the most of these dimensions, GPU
        before RAM before CPU.
        """
        known = self._largest.get((cluster, names))
        if known is None:
            rows = [unpack(self.free[c]).to_json() for c in self.of_cluster(cluster)]
            known = max(rows, key=lambda row: [row[name] for name in reversed(names)])
            self._largest[cluster, names] = known
        return known


class Supplies:
    """The supply of each level and set of nodes, and moves that would make a large block free.

    A move is of an active deployment that stays on its node. The number of pairs that are examined
    for each reason is bounded, so that a reason does not depend on which others are read.
    """

    def __init__(
        self, problem: Problem, outcome: Outcome, staying: dict[int, list[int]], reasons: int
    ) -> None:
        self.problem = problem
        self.outcome = outcome
        self._staying = staying
        self._known: dict[tuple[int, int], Supply] = {}
        self._ranked_pools: dict[tuple[int, int], list[int]] = {}
        bins = problem.bins
        self._ranges = {bins[nodes[0]].cluster.id: nodes for nodes in problem.clusters}
        self._shared = [c for c, bin_ in enumerate(bins) if not bin_.is_only]
        self._pairs = max(_PAIRS // max(reasons, 1), _LEAST_PAIRS)
        self._pairs_left = 0

    def at(self, priority: int, d: int) -> Supply:
        """Return what is free for d on its eligible nodes after this level was placed."""
        problem, nodes = self.problem, self.problem.eligible[d]
        known = self._known.get((priority, id(nodes)))
        if known is None:
            free = self.outcome.free_at.get(priority, problem.capacities)
            ranked = self._ranked(priority, free, problem.pool[d])
            known = Supply(problem, self.outcome, free, nodes, ranked, self._ranges, self._shared)
            self._known[priority, id(nodes)] = known
        return known

    def _ranked(self, priority: int, free: list[int], pool: tuple[int, ...]) -> list[int]:
        """Return the nodes of the pool, those with the most free capacity first."""
        known = self._ranked_pools.get((priority, id(pool)))
        if known is None:
            known = sorted(pool, key=lambda c: (-free[c], c))
            self._ranked_pools[priority, id(pool)] = known
        return known

    def basis(self, priority: int) -> bytes | None:
        """Return a digest of what `WaitReasons.basis` describes."""
        if any(r.until is not None for r in self.outcome.reservations.values()):
            return None  # whether a deployment ends before that depends on the time
        return _digest((self._nodes, self._reserved, self.outcome.free_at.get(priority)))

    @cached_property
    def _reserved(self) -> list[tuple[int | None, ...]]:
        """What is reserved, by node, and what decides on who may use it."""
        rows: list[tuple[int | None, ...]] = []
        for c, reservation in sorted(self.outcome.reservations.items()):
            holder = self.problem.deployments[reservation.deployment]
            rows.append((c, holder.id, holder.priority, reservation.amount, reservation.refuses))
        return rows

    @cached_property
    def _nodes(self) -> bytes:
        """A digest of which nodes there are, whatever is allocated on them."""
        rows = [
            (bin_.cluster.id, bin_.label, bin_.capacity, sorted(bin_.node.labels.items()),
             bin_.state, bin_.closed_as_a_whole, is_open)
            for bin_, is_open in zip(self.problem.bins, self.problem.open, strict=True)
        ]  # fmt: skip
        return _digest(rows)

    def move(self, d: int, supply: Supply, nodes: list[int]) -> tuple[int, int] | None:
        """Return a deployment of d's priority or a lower one and the node to which it could move so
        that d fits in its place; the smallest deployment. None if no such move was found.
        """
        problem, priority = self.problem, self.problem.deployments[d].priority
        options = []
        self._pairs_left = self._pairs
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
        problem, reserved = self.problem, self.outcome.reservations
        free = self.outcome.free_at[problem.levels[-1].priority]
        for c in problem.eligible[v]:
            self._pairs_left -= 1
            if self._pairs_left < 0:
                return None
            if c != home and c not in reserved and not (free[c] - problem.requests[v]) & OVERDRAWN:
                return c
        return None


def distance(request: Resources, free: Resources, capacity: Resources) -> int:
    """Return the largest share of the node's capacity that is missing, in millionths."""
    return max(
        (request.cpu_milli - free.cpu_milli) * 10**6 // max(capacity.cpu_milli, 1),
        (request.ram_mib - free.ram_mib) * 10**6 // max(capacity.ram_mib, 1),
        (request.gpu - free.gpu) * 10**6 // max(capacity.gpu, 1),
    )


def _digest(values: object) -> bytes:
    """Return a digest that equal plain values have in common."""
    return blake2b(repr(values).encode(), digest_size=16).digest()
