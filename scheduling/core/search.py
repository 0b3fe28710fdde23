"""Try several ways down and take the best: every one obeys the rules, so only the harvest counts.

The amount of work is bounded by the size of the problem, never by the clock: the same snapshot
gives the same plan on any machine.
"""

from collections.abc import Iterator
from dataclasses import replace

from scheduling.core.descent import Descent, Guide, Outcome
from scheduling.core.ordering import base_order
from scheduling.core.packed import unpack
from scheduling.core.policy import Order
from scheduling.core.problem import Problem

_WORK = 20_000
_TRIES = 200
_LARGE = 4_000
Orders = tuple[list[int], ...]
Score = tuple[list[int], int, int, int]


def best_outcome(problem: Problem) -> Outcome:
    """Return the best of a bounded number of tries; the first is in the plain queue's order."""
    return Search(problem).run()


def score(outcome: Outcome) -> Score:
    """Return what an outcome costs: the smaller the better, earlier entries count first.

    How many are active on each level from the highest, negated; then those that lose their place,
    those that lose or change it, and the work that is lost.
    """
    return [-count for count in outcome.counts], outcome.lost, outcome.evicted, outcome.loss


class Search:
    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._tries = max(1, min(_TRIES, _WORK // max(len(problem.requests), 1)))
        members = [level.ready + level.drained for level in problem.levels]
        fifo = problem.snapshot.policy.order == Order.FIFO
        exchange = not fifo and len(problem.requests) < _LARGE
        self._guide = Guide(tuple(base_order(problem, m) for m in members), exchange=exchange)
        self._best = Descent(problem, self._guide).outcome()
        self._tries -= 1
        self._rank = {level.priority: k for k, level in enumerate(problem.levels)}
        self._only_order = fifo or not any(members)

    def run(self) -> Outcome:
        if self._only_order:
            return self._best
        variants = list(self._orders())
        for orders in variants:
            for tight in (True, False):
                self._try(replace(self._guide, orders=orders, tight=tight))
        for roomy in (True, False):
            self._try(replace(self._guide, roomy=roomy))
        self._level_by_level(variants)
        while self._tries and self._nearby():
            pass
        return self._best

    def _nearby(self) -> bool:
        """Look around the best plan for a better one: True when found.

        One goes first on its level, on a cluster of its own; everybody else would rather be where
        the best plan has them.
        """
        problem, where = self._problem, self._best.where
        starters = {d: c for d, c in where.items() if problem.home[d] != c}
        for d, c in self._steps(starters):
            orders = list(self._guide.orders)
            k = self._rank[problem.deployments[d].priority]
            orders[k] = [d, *(o for o in orders[k] if o != d)]
            guide = replace(self._guide, orders=tuple(orders), prefer={**starters, d: c})
            if self._try(guide):
                return True
            if not self._tries:
                break
        return False

    def _steps(self, starters: dict[int, int]) -> Iterator[tuple[int, int]]:
        """Yield those to put first and where: one of each kind and cluster, from the lowest level
        that is full upwards; those left out before those that start.
        """
        problem = self._problem
        full = [k for k, l in enumerate(problem.levels) if any(d not in starters for d in l.ready)]
        if not full:
            return
        for k in range(full[0], -1, -1):
            seen = set()
            members = sorted(self._guide.orders[k], key=lambda d: d in starters)
            for d in members:
                for c in problem.eligible[d]:
                    step = (problem.requests[d], problem.eligible[d], starters.get(d), c)
                    if c != starters.get(d) and step not in seen:
                        seen.add(step)
                        yield d, c

    def _try(self, guide: Guide) -> bool:
        if not self._tries:
            return False
        self._tries -= 1
        outcome = Descent(self._problem, guide).run(beat=self._best.counts)
        if outcome is None or score(outcome) >= score(self._best):
            return False
        self._best, self._guide = outcome, guide
        return True

    def _orders(self) -> Iterator[Orders]:
        """Yield orders of what may start on each level, the plain one first."""
        plain = self._guide.orders
        yield plain
        vectors = [unpack(request) for request in self._problem.requests]
        cpu, ram, gpu = self._problem.weights
        for a, b, g in ((1, 1, 1), (0, 0, 1), (1, 0, 0), (0, 1, 0)):
            size = [v.cpu_milli * cpu * a + v.ram_mib * ram * b + v.gpu * gpu * g for v in vectors]
            yield tuple(sorted(order, key=size.__getitem__) for order in plain)

    def _level_by_level(self, variants: list[Orders]) -> None:
        """Try each order on each level alone, from the highest down."""
        for k in range(len(self._problem.levels)):
            if len(self._guide.orders[k]) > 1:
                for orders in variants:
                    mixed = (*self._guide.orders[:k], orders[k], *self._guide.orders[k + 1 :])
                    if mixed != self._guide.orders:
                        self._try(replace(self._guide, orders=mixed))
