"""Try several ways down and take the best: every one obeys the rules, so only the harvest counts.

The amount of work is bounded by the size of the problem, never by the clock: the same snapshot
gives the same plan on any machine.
"""

from collections.abc import Iterator
from dataclasses import replace

from scheduling.planner.outcome import Outcome
from scheduling.planner.packed import OVERDRAWN, unpack
from scheduling.planner.policy import Order
from scheduling.planner.problem import Problem
from scheduling.planner.resources import Resources
from scheduling.planner.search.levels import descend, step
from scheduling.planner.search.ordering import Measure, base_orders, measures
from scheduling.planner.search.state import Guide, State

_WORK = 300_000  # pairs of a deployment and a cluster looked at, over all tries
_LARGE = 4_000  # deployments, beyond which one try has to do
Score = tuple[list[int], int, int, int]


def best_outcome(problem: Problem) -> Outcome:
    """Return the best outcome that a bounded amount of work finds.

    1. Place everything in the order of the queue.
    2. Try other measures of size, and the emptiest clusters first, on all levels.
    3. Try them level by level.
    4. Look around the best for a better one, as long as there is one and work is left.
    """
    return Search(problem).run()


def score(outcome: Outcome) -> Score:
    """Return what an outcome costs: the smaller the better, earlier entries count first.

    How many are active on each level from the highest, negated; then those that lose their place,
    those that lose or change it, and the work that is lost.
    """
    return [-count for count in outcome.counts], outcome.lost, outcome.evicted, outcome.loss


def covered(request: Resources, free: Resources) -> int:
    """Return the share of the request that there is room for in every dimension, in thousandths."""
    share = 1000
    if request.cpu_milli:
        share = min(share, free.cpu_milli * 1000 // request.cpu_milli)
    if request.ram_mib:
        share = min(share, free.ram_mib * 1000 // request.ram_mib)
    if request.gpu:
        share = min(share, free.gpu * 1000 // request.gpu)
    return share


class Search:
    """`_before[k]` is the best try's state before level k, where others can branch off."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._work = _WORK
        self._searches = (
            problem.snapshot.policy.order == Order.MOST
            and len(problem.requests) < _LARGE
            and any(len(level.ready) + len(level.drained) for level in problem.levels)
        )
        self._guide = Guide(base_orders(problem), exchange=self._searches)
        first = State.of(problem)
        self._before = [first.fork()]
        self._seen: set[object] = set()
        descend(first, self._guide)
        self._where = first.where
        self._best = first.outcome()

    def run(self) -> Outcome:
        if self._searches and not self._is_optimal():
            self._hope = self._promise(self._best)
            self._branch(self._guide, 0)
            sizes = measures(self._problem)
            for measure in sizes:
                for tight in (True, False):
                    self._try(replace(self._guide, orders=measure.orders, tight=tight))
            self._try(replace(self._guide, sizes=self._problem.shares))
            self._level_by_level(sizes)
            while self._look_around():
                pass
        return self._best

    def _is_optimal(self) -> bool:
        """Say whether it is plain that no other try can do better: nobody leaves, and whoever waits
        would not fit even if nobody of its level or above started.
        """
        if self._best.evicted:
            return False
        problem, where = self._problem, self._best.where
        started = [0] * len(problem.capacities)
        for level in problem.levels:
            for d in (*level.starved, *level.ready, *level.drained):
                if d in where:
                    started[where[d]] += problem.requests[d]
            free = self._best.free_at[level.priority]
            for d in level.ready:
                if d not in where and any(
                    not (free[c] + started[c] - problem.requests[d]) & OVERDRAWN
                    for c in problem.eligible[d]
                ):
                    return False
        return True

    def _try(self, guide: Guide, level: int = 0) -> bool:
        """Go down by the guide from a level of the best try; True when that made a better one."""
        if self._work <= 0:
            return False
        state = self._before[level].fork()
        finished = self._is_news(state, guide) and descend(state, guide, self._best.counts)
        self._work -= state.effort + len(state.where)
        if not finished:
            return False
        outcome = state.outcome()
        better = score(outcome) < score(self._best)
        promise = self._promise(outcome)
        if better:
            self._best = outcome
        elif promise <= self._hope:
            return False
        self._hope = promise
        self._branch(guide, level)
        return True

    def _is_news(self, state: State, guide: Guide) -> bool:
        """Place one level; False if that level was left in the same way before."""
        step(state, guide)
        way = len(state.counts), guide.tight, bool(guide.prefer), id(guide.sizes)
        seen = (*way, *state.free, *state.load)
        if seen in self._seen:
            return False
        self._seen.add(seen)
        return True

    def _branch(self, guide: Guide, level: int) -> None:
        """Make the guide's way down, the same as before above the level, the one to vary."""
        self._guide = guide
        self._seen.clear()
        again = self._before[level].fork()
        del self._before[level:]
        for _ in self._problem.levels[level:]:
            self._before.append(again.fork())
            step(again, guide)
        self._where = again.where

    def _promise(self, outcome: Outcome) -> tuple[list[int], int]:
        """Return how many are active by level, and how close one more of the first full level is:
        the share of its request that the best cluster could give it, in thousandths.
        """
        problem, where = self._problem, outcome.where
        for level in problem.levels:
            left = {problem.kinds[d]: d for d in level.ready if d not in where}
            if left:
                free = [unpack(packed) for packed in outcome.free_at[level.priority]]
                close = 0
                for d in left.values():
                    request = problem.deployments[d].request
                    for c in problem.eligible[d]:
                        close = max(close, covered(request, free[c]))
                if close:
                    return outcome.counts, close
        return outcome.counts, 0

    def _level_by_level(self, sizes: list[Measure]) -> None:
        for k, level in enumerate(self._problem.levels):
            if len(level.ready) + len(level.drained) > 1:
                for measure in self._different(k, sizes):
                    for tight in (True, False):
                        guide = self._reordered(k, measure.orders[k], tight=tight)
                        self._try(guide, k)
                        self._try(replace(guide, sizes=measure.sizes), k)

    def _different(self, k: int, sizes: list[Measure]) -> Iterator[Measure]:
        """Yield the measures, of those that order level k alike but for names one."""
        kinds, seen = self._problem.kinds, set()
        for measure in sizes:
            alike = tuple([kinds[d] for d in measure.orders[k]])
            if alike not in seen:
                seen.add(alike)
                yield measure

    def _reordered(
        self, k: int, order: list[int], prefer: dict[int, int] | None = None, *, tight: bool = True
    ) -> Guide:
        orders = (*self._guide.orders[:k], order, *self._guide.orders[k + 1 :])
        return replace(self._guide, orders=orders, tight=tight, prefer=prefer or {})

    def _look_around(self) -> bool:
        """Change the lot of one deployment, while everybody else would rather stay put.

        True when that gave a better plan. From the lowest level that is full upwards: those left
        out first, then those that start.
        """
        where, home = self._where, self._problem.home
        starters = {d: c for d, c in where.items() if home[d] != c}
        levels = self._problem.levels
        full = [k for k, level in enumerate(levels) if any(d not in where for d in level.ready)]
        for k in range(full[0] if full else -1, -1, -1):
            rest = self._guide.orders[k]
            for d, c in self._changes(k, starters):
                others = [o for o in rest if o != d]
                order = [*others, d] if c is None else [d, *others]
                prefer = starters if c is None else {**starters, d: c}
                if self._try(self._reordered(k, order, prefer, tight=self._guide.tight), k):
                    return True
                if self._work <= 0:
                    return False
        return False

    def _changes(self, k: int, starters: dict[int, int]) -> Iterator[tuple[int, int | None]]:
        """Yield whom of level k to place first and where, or None: last; one of each kind."""
        problem = self._problem
        seen: set[tuple[int, tuple[int, ...], int | None, int | None]] = set()
        for d in sorted(self._guide.orders[k], key=lambda d: d in starters):
            now = starters.get(d)
            places: list[int | None] = [*problem.eligible[d]]
            if now is not None:
                places.append(None)
            for c in places:
                change = (problem.requests[d], problem.eligible[d], now, c)
                if c != now and change not in seen:
                    seen.add(change)
                    yield d, c
