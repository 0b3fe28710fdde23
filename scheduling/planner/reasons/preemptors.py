"""Assign each victim to the preemptor that needs it."""

from collections import defaultdict, deque

from scheduling.planner.packed import OVERDRAWN, unpack
from scheduling.planner.problem import Problem
from scheduling.planner.resources import NOTHING, Resources

_TRIES = 8  # preemptors for which a victim is tried; bounds the work


class Assignment:
    """The assignment of a cluster's victims to the deployments that start there, all by index.

    The deployments that start are served from the highest priority down. Each takes from the free
    capacity, and if that is not enough, victims that it may evict: those that have the most of the
    missing dimensions come first, then those that the fewest others may evict, then the smallest. A
    victim that is not needed any more when the deployment fits is put back. A deployment for which
    preemption is suspended takes what the preemptors before it leave. The number of steps is linear
    in the number of victims and starting deployments.
    """

    def __init__(
        self, problem: Problem, c: int, starting: list[int], staying: list[int], victims: list[int]
    ) -> None:
        self._problem = problem
        self._free = problem.capacities[c] - sum(
            [problem.requests[d] for d in (*staying, *victims)]
        )
        self._starting = sorted(starting, key=self._turn)
        self._queues: dict[int, deque[int]] = defaultdict(deque)
        self._tries: dict[int, int] = defaultdict(int)
        in_order = sorted(victims, key=lambda v: (-problem.threshold[v], problem.shares[v], v))
        self._rank = {v: rank for rank, v in enumerate(in_order)}
        self._dimensions = {v: _positive(problem.deployments[v].request) for v in victims}
        for v in in_order:
            self._queues[self._dimensions[v]].append(v)
        self._preemptors: dict[int, int] = {}

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
        threshold = self._problem.threshold
        for queue in self._queues.values():
            while queue and (following is None or threshold[queue[0]] > following):
                self._take(queue, s)

    def _take(self, queue: deque[int], s: int) -> int:
        v = queue.popleft()
        self._preemptors[v] = s
        self._free += self._problem.requests[v]
        return v

    def _cover(self, s: int) -> None:
        """Assign victims to s until nothing is missing, and put back those that are not needed."""
        taken = []
        while self._free & OVERDRAWN:
            missing = _positive(NOTHING - unpack(self._free))
            found = [
                (-(dimensions & missing).bit_count(), self._rank[queue[0]], queue)
                for dimensions, queue in self._queues.items()
                if queue and dimensions & missing
            ]
            if not found:
                return
            taken.append(self._take(min(found)[-1], s))
        for v in reversed(taken[:-1]):
            left = self._free - self._problem.requests[v]
            if not left & OVERDRAWN and self._tries[v] < _TRIES:
                self._tries[v] += 1
                self._free = left
                del self._preemptors[v]
                self._queues[self._dimensions[v]].appendleft(v)


def _positive(vector: Resources) -> int:
    """Return the dimensions in which the vector is positive, one bit for each."""
    return (vector.cpu_milli > 0) | (vector.ram_mib > 0) << 1 | (vector.gpu > 0) << 2
