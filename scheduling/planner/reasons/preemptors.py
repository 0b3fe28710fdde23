"""Assign each victim to the preemptor that needs it."""

from collections import defaultdict
from heapq import heappop, heappush

from scheduling.planner.packed import OVERDRAWN, unpack
from scheduling.planner.problem import Problem
from scheduling.planner.resources import NOTHING, Resources

_TRIES = 8  # how often a victim is tried and put back before the others of its threshold come first
Entry = tuple[int, int, int, int]


class Assignment:
    """The assignment of a cluster's victims to the deployments that start there, all by index.

    The deployments that start are served from the highest priority down. Each takes from the free
    capacity, and if that is not enough, victims that it may evict: those that have the most of the
    missing dimensions come first, then those that the fewest others may evict, then the smallest. A
    victim that is not needed any more when the deployment fits is put back. One that was put back
    again and again comes after the others that as many may evict, so that large preemptors do not
    try all small victims each time. A deployment for which preemption is suspended takes what the
    preemptors before it leave.
    """

    def __init__(
        self, problem: Problem, c: int, starting: list[int], staying: list[int], victims: list[int]
    ) -> None:
        self._problem = problem
        self._free = problem.capacities[c] - sum(
            [problem.requests[d] for d in (*staying, *victims)]
        )
        self._starting = sorted(starting, key=self._turn)
        self._queues: dict[int, list[Entry]] = defaultdict(list)  # heaps, by dimensions
        self._tries: dict[int, int] = defaultdict(int)
        self._preemptors: dict[int, int] = {}
        for v in victims:
            self._enqueue(v)

    def preemptors(self) -> dict[int, int]:
        """Return the preemptor of each victim. It may evict the victim."""
        problem, preemptor = self._problem, None
        for s in self._starting:
            if s not in problem.suspended:
                if preemptor is not None:
                    self._cover(preemptor)
                    self._assign_rest(preemptor, problem.deployments[s].priority)
                preemptor = s
            self._free -= problem.requests[s]
        if preemptor is not None:
            self._cover(preemptor)
            self._assign_rest(preemptor)
        return self._preemptors

    def _turn(self, d: int) -> tuple[int, bool, int]:
        return -self._problem.deployments[d].priority, d in self._problem.suspended, d

    def _assign_rest(self, s: int, following: int | None = None) -> None:
        """Assign to s the victims that deployments of the following priority may not evict.

        None: there is no following preemptor.
        """
        for queue in self._queues.values():
            while queue and (following is None or -queue[0][0] > following):
                self._take(queue, s)

    def _enqueue(self, v: int) -> None:
        problem = self._problem
        queue = self._queues[_positive(problem.deployments[v].request)]
        rounds = self._tries[v] // _TRIES
        heappush(queue, (-problem.threshold[v], rounds, problem.shares[v], v))

    def _take(self, queue: list[Entry], s: int) -> int:
        v = heappop(queue)[-1]
        self._preemptors[v] = s
        self._free += self._problem.requests[v]
        return v

    def _cover(self, s: int) -> None:
        """Assign victims to s until nothing is missing, and put back those that are not needed."""
        taken = []
        while self._free & OVERDRAWN:
            missing = _positive(NOTHING - unpack(self._free))
            found = [
                (-(dimensions & missing).bit_count(), queue[0], queue)
                for dimensions, queue in self._queues.items()
                if queue and dimensions & missing
            ]
            if not found:
                return
            taken.append(self._take(min(found)[-1], s))
        for v in reversed(taken[:-1]):
            left = self._free - self._problem.requests[v]
            if not left & OVERDRAWN:
                self._tries[v] += 1
                self._free = left
                del self._preemptors[v]
                self._enqueue(v)


def _positive(vector: Resources) -> int:
    """Return the dimensions in which the vector is positive, one bit for each."""
    return (vector.cpu_milli > 0) | (vector.ram_mib > 0) << 1 | (vector.gpu > 0) << 2
