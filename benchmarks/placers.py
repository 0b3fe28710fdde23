"""Policies that place one request after the other on nodes, for the bench `fragmentation`.

Each is a function from the nodes, the requests in the order of their arrival, and a random
generator, to whether each request is placed. Nothing that is placed ends or moves, so that a
request that does not fit when it arrives never fits.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from heapq import heapify, heappop, heappush
from random import Random

from benchmarks.cases import POLICY
from scheduling.planner.pipeline import make_plan
from scheduling.planner.problem import prepare
from scheduling.planner.resources import DIMENSIONS, NOTHING, Resources
from scheduling.planner.search.node_choice import NodeChoice
from scheduling.planner.search.ordering import base_orders
from scheduling.planner.search.retention import retain
from scheduling.planner.search.state import Guide, State
from scheduling.planner.snapshot import Cluster, Deployment, Node, Snapshot

Placer = Callable[[Sequence[Node], Sequence[Resources], Random], Iterator[bool]]
Score = Callable[["Spot", Resources], float]

_NOW = 1_000_000
_WINDOW = 100  # requests for which the planner's problem is prepared at a time


@dataclass(frozen=True, slots=True)
class Spot:
    """What nodes that are alike have free, and their capacity."""

    free: Resources
    capacity: Resources


class Spots:
    """The nodes by their spot, so that a policy judges nodes that are alike once."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._nodes: dict[Spot, list[int]] = {}
        for number, node in enumerate(nodes):
            self._nodes.setdefault(Spot(node.capacity, node.capacity), []).append(number)
        for numbers in self._nodes.values():
            heapify(numbers)

    def fitting(self, request: Resources) -> dict[Spot, list[int]]:
        """Return the spots that the request fits, and the numbers of their nodes, a heap each."""
        return {s: nodes for s, nodes in self._nodes.items() if request.fits_in(s.free)}

    def place(self, request: Resources, spot: Spot) -> None:
        """Place the request on the first node of the spot."""
        node = heappop(self._nodes[spot])
        if not self._nodes[spot]:
            del self._nodes[spot]
        left = replace(spot, free=spot.free - request)
        heappush(self._nodes.setdefault(left, []), node)


def at_random(
    nodes: Sequence[Node], requests: Sequence[Resources], random: Random
) -> Iterator[bool]:
    """Place each request on any node that it fits, with the same probability for each."""
    spots = Spots(nodes)
    for request in requests:
        options = spots.fitting(request)
        if options:
            weights = [len(alike) for alike in options.values()]
            spots.place(request, random.choices(list(options), weights)[0])
        yield bool(options)


def lowest(score: Score) -> Placer:
    """Return a policy that takes the node with the lowest score; of equal ones, the first."""

    def placer(nodes: Sequence[Node], requests: Sequence[Resources], _: Random) -> Iterator[bool]:
        spots = Spots(nodes)
        for request in requests:
            options = spots.fitting(request)
            if options:
                best = min(options, key=lambda s: (score(s, request), options[s][0]))
                spots.place(request, best)
            yield bool(options)

    return placer


def best_fit(largest: Resources) -> Placer:
    """Return best fit: the node that has least left, as a sum of parts of the largest node."""
    return lowest(lambda spot, request: _sum_of_parts(spot.free - request, largest))


def dot_product(largest: Resources) -> Placer:
    """Return the policy that takes the smallest dot product of the free amounts and the request.

    Both are in parts of the largest node. The FGD paper compares with it in this form.
    """

    def score(spot: Spot, request: Resources) -> float:
        return sum(a * b for a, b in zip(_parts(spot.free, largest), _parts(request, largest),
                                         strict=True))  # fmt: skip

    return lowest(score)


def gpu_packing(spot: Spot, request: Resources) -> float:
    """Score a node for GPU packing: nodes with allocated GPUs first, then the smallest idle ones.

    Requests without GPUs go to the first node that they fit, because the policy does not rank them.
    """
    idle = spot.free.gpu == spot.capacity.gpu
    return spot.capacity.gpu if request.gpu and idle else 0


def fgd(typical: Mapping[Resources, int]) -> Placer:
    """Return fragmentation gradient descent: the node whose fragmentation grows least.

    `typical` is the target workload: how often each request occurs. See `fragmentation`; Weng et
    al., Beware of Fragmentation, USENIX ATC '23, section 4.
    """

    @cache
    def of(free: Resources) -> int:
        return fragmentation(free, typical)

    return lowest(lambda spot, request: of(spot.free - request) - of(spot.free))


def fragmentation(free: Resources, typical: Mapping[Resources, int]) -> int:
    """Return the fragmentation of a node by Weng et al., section 3, with whole GPUs.

    It is the expected number of free GPUs that a request of the target workload cannot use, times
    the number of its requests: all that are free if the request does not fit or requests no GPU,
    otherwise none.
    """
    unusable = sum(n for r, n in typical.items() if not r.gpu or not r.fits_in(free))
    return free.gpu * unusable


def planner_one_by_one(
    nodes: Sequence[Node], requests: Sequence[Resources], _: Random
) -> Iterator[bool]:
    """Place each request as the planner places a single pending deployment.

    The planner's problem, and with it the estimate of what is requested, is prepared once for a
    window of requests, which are placed in the order of their arrival, because a plan for each of
    them would take hours.
    """
    active: list[Deployment] = []
    for window in _windows(requests, _WINDOW):
        snapshot = _snapshot(nodes, active, window)
        problem = prepare(snapshot)
        state = State.of(problem)
        retain(state, problem.levels[0], Guide(base_orders(problem)))
        index = {row.id: d for d, row in enumerate(problem.deployments)}
        choice = NodeChoice(problem, state.free.copy())
        for row in window:
            d = index[row.id]
            c = choice.best(d)
            if c is not None:
                choice.change(c, -problem.requests[d])
                active.append(_placed(row, problem.bins[c].node.id))
            yield c is not None


def planner_in_batches(size: int) -> Placer:
    """Return the whole planner, which plans this number of requests at a time."""

    def placer(nodes: Sequence[Node], requests: Sequence[Resources], _: Random) -> Iterator[bool]:
        active: list[Deployment] = []
        for batch in _windows(requests, size):
            plan = make_plan(_snapshot(nodes, active, batch))
            if plan.evictions or plan.moves:
                raise AssertionError("a plan evicts or moves a deployment for an equal one")
            chosen = {row.deployment: row.node for row in plan.placements}
            active += [_placed(row, chosen[row.id]) for row in batch if row.id in chosen]
            yield from (row.id in chosen for row in batch)

    return placer


def placers(requests: Sequence[Resources], nodes: Sequence[Node], batch: int) -> dict[str, Placer]:
    """Return the policies by name. The target workload of FGD is that of these requests."""
    largest = Resources(*(max(getattr(n.capacity, name) for n in nodes) for name in DIMENSIONS))
    return {
        "random": at_random,
        "best fit": best_fit(largest),
        "dot product": dot_product(largest),
        "GPU packing": lowest(gpu_packing),
        "FGD": fgd(Counter(requests)),
        "this planner, one by one": planner_one_by_one,
        f"this planner, {batch} at a time": planner_in_batches(batch),
    }


def _parts(amounts: Resources, whole: Resources) -> Iterator[float]:
    for name in DIMENSIONS:
        yield getattr(amounts, name) / max(getattr(whole, name), 1)


def _sum_of_parts(amounts: Resources, whole: Resources) -> float:
    return sum(_parts(amounts, whole))


def _windows(requests: Sequence[Resources], size: int) -> Iterator[list[Deployment]]:
    """Yield the requests as pending deployments of one priority, this number at a time."""
    rows = [Deployment(n, 1, request, n) for n, request in enumerate(requests, start=1)]
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _placed(row: Deployment, node: int) -> Deployment:
    return replace(row, cluster=1, node=node, placed_at=_NOW)


def _snapshot(
    nodes: Sequence[Node], active: Sequence[Deployment], pending: Sequence[Deployment]
) -> Snapshot:
    capacity = sum((node.capacity for node in nodes), NOTHING)
    cluster = Cluster(1, capacity, nodes=tuple(nodes))
    return Snapshot(_NOW, POLICY, (cluster,), (*active, *pending))
