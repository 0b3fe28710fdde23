"""Make several attempts and take the best. All of them obey the rules.

The amount of work is bounded by counting, not by a clock, so that the same snapshot gives the same
plan on every machine.
"""

from collections.abc import Iterator
from dataclasses import replace

from scheduling.planner.outcome import Outcome
from scheduling.planner.packed import OVERDRAWN
from scheduling.planner.policy import Order
from scheduling.planner.problem import Problem
from scheduling.planner.search.coverage import closest
from scheduling.planner.search.levels import place_level, place_levels
from scheduling.planner.search.node_choice import reduce_fragmentation
from scheduling.planner.search.ordering import Measure, base_orders, measures
from scheduling.planner.search.preference import Preferences
from scheduling.planner.search.relocation import Relocation
from scheduling.planner.search.skyline import Largest
from scheduling.planner.search.state import MANY, Guide, State
from scheduling.planner.shortlist import is_large

_WORK = 300_000  # pairs of a deployment and a node to examine in all attempts on few nodes
_LEAST_WORK = 100_000  # on many nodes, on which an attempt takes longer and gains less
_FEW = 8
_RELOCATION_WORK = 60_000  # the same to let victims keep their place
Score = tuple[list[int], int, int, int]


def best_outcome(problem: Problem) -> Outcome:
    """Return the best outcome that a bounded amount of work finds.

    1. Place everything in the order of the queue.
    2. Try other measures of size, and the emptiest nodes first, on all levels.
    3. Try them on one level at a time, with half of the work that is left.
    4. Change single deployments of the best attempt, as long as that helps and work is left.
    5. Start several deployments of a level on one node, and go on with step 4 if that helps.
    6. Let victims of the best attempt keep their place by changing the nodes of deployments that
       start.
    7. Change the nodes of deployments that start so that free GPUs stay usable.
    """
    return Search(problem).run()


def score(outcome: Outcome) -> Score:
    """Return a tuple that orders outcomes, the best first.

    It has the negated number of active deployments on each level from the highest, the number of
    evicted deployments, the number of evicted or moved deployments, and the lost work.
    """
    return [-count for count in outcome.counts], outcome.lost, outcome.evicted, outcome.loss


def _work(nodes: int) -> int:
    """Return how many pairs of a deployment and a node to examine, less on more nodes."""
    return max(_WORK * _FEW**2 // max(nodes, _FEW) ** 2, _LEAST_WORK)


def _parts(number: int) -> list[int]:
    """Return the number, one less, and three, two and one quarters of it, as far as positive."""
    parts = {number, number - 1, number * 3 // 4, number // 2, number // 4}
    return sorted((part for part in parts if part > 0), reverse=True)


class Search:
    """A search that varies one attempt, the basis.

    A variation becomes the basis when it is better than the best outcome or closer to a better one.
    `_guide` and `_where` are the guide and the placements of the basis. `_before[k]` is its state
    before level k, from which a variation of that level continues. `_seen` has the results of
    variations.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._work_left = _work(len(problem.bins))
        self._relocation_left = _RELOCATION_WORK
        self._is_large = is_large(problem.snapshot)
        self._searches = (
            problem.snapshot.policy.order == Order.MOST
            and not self._is_large
            and any(len(level.ready) + len(level.drained) for level in problem.levels)
        )
        orders = () if self._is_large else base_orders(problem)
        self._guide = Guide(orders, exchange=self._searches)
        first = State.of(problem, is_only=self._is_large)
        self._before = [first.fork()]
        self._seen: set[object] = set()
        place_levels(first, self._guide)
        self._where = first.where
        self._best, self._best_guide = first.outcome(), self._guide

    def run(self) -> Outcome:
        if self._searches and not self._is_optimal():
            self._best_potential = self._potential(self._best)
            self._adopt(self._guide, 0)
            sizes = []
            for measure in measures(self._problem):
                if self._work_left <= 0:
                    break
                sizes.append(measure)
                for tight in (True, False):
                    self._attempt(replace(self._guide, orders=measure.orders, tight=tight))
            self._attempt(replace(self._guide, sizes=self._problem.shares))
            self._level_by_level(sizes)
            while self._improve() or self._concentrate():
                pass
        while self._best.evicted and not self._is_large and self._relocate():
            pass
        self._satisfy_preferences()
        reduce_fragmentation(self._problem, self._best)
        return self._best

    def _is_optimal(self) -> bool:
        """Return whether certainly no attempt is better: no deployment is evicted or moved, and no
        waiting one would fit even if no deployment of its level or above started.
        """
        if self._best.evicted:
            return False
        problem, where = self._problem, self._best.where
        started = [0] * len(problem.capacities)
        for level in problem.levels:
            for d in (*level.ready, *level.drained, *level.suspended):
                if d in where:
                    started[where[d]] += problem.requests[d]
            free = self._best.free_at[level.priority]
            without = [left + gone for left, gone in zip(free, started, strict=True)]
            waiting = [d for d in level.ready if d not in where]
            for d in Largest(without).fitting(waiting, problem.requests):
                request = problem.requests[d]
                if any(not (without[c] - request) & OVERDRAWN for c in problem.eligible[d]):
                    return False
        return True

    def _attempt(self, guide: Guide, level: int = 0) -> bool:
        """Vary the basis from a level down; return whether the result is the new basis."""
        if self._work_left <= 0:
            return False
        state = self._before[level].fork()
        finished = self._is_new(state, guide) and place_levels(state, guide, self._best.counts)
        self._work_left -= state.effort + len(state.where)
        if not finished:
            return False
        outcome = state.outcome()
        better = score(outcome) < score(self._best)
        potential = self._potential(outcome)
        if better:
            self._best, self._best_guide = outcome, guide
        elif potential <= self._best_potential:
            return False
        self._best_potential = potential
        self._adopt(guide, level)
        return True

    def _is_new(self, state: State, guide: Guide) -> bool:
        """Place one level; return False if an earlier variation had the same result."""
        place_level(state, guide)
        choices = len(state.counts), guide.tight, bool(guide.prefer), id(guide.sizes)
        result = (*choices, *state.free, *state.load)
        if result in self._seen:
            return False
        self._seen.add(result)
        return True

    def _adopt(self, guide: Guide, level: int) -> None:
        """Make this guide, which differs from the basis from a level down, the new basis."""
        self._guide = guide
        self._seen.clear()
        state = self._before[level].fork()
        del self._before[level:]
        for _ in self._problem.levels[level:]:
            self._before.append(state.fork())
            place_level(state, guide)
        self._where = state.where

    def _potential(self, outcome: Outcome) -> tuple[list[int], int]:
        """Return the number of active deployments by level, and how close another one of the first
        full level is to fitting: the largest share of a request that one node has free, in
        thousandths.
        """
        problem, where = self._problem, outcome.where
        for level in problem.levels:
            waiting = {problem.kinds[d]: d for d in level.ready if d not in where}
            if waiting:
                best = closest(problem, waiting.values(), outcome.free_at[level.priority])
                if best:
                    return outcome.counts, best
        return outcome.counts, 0

    def _level_by_level(self, sizes: list[Measure]) -> None:
        """Vary one level at a time with half of the work that is left; single changes need some."""
        enough = self._work_left // 2
        for k, level in enumerate(self._problem.levels):
            if len(level.ready) + len(level.drained) > 1:
                for measure in self._distinct(k, sizes):
                    for tight in (True, False):
                        if self._work_left <= enough:
                            return
                        guide = self._reordered(k, measure.orders[k], tight=tight)
                        self._attempt(replace(guide, sizes=measure.sizes), k)

    def _distinct(self, k: int, sizes: list[Measure]) -> Iterator[Measure]:
        """Yield the measures that put the kinds of level k in different orders."""
        kinds, seen = self._problem.kinds, set()
        for measure in sizes:
            kinds_in_order = tuple([kinds[d] for d in measure.orders[k]])
            if kinds_in_order not in seen:
                seen.add(kinds_in_order)
                yield measure

    def _reordered(
        self, k: int, order: list[int], prefer: dict[int, int] | None = None, *, tight: bool = True
    ) -> Guide:
        orders = (*self._guide.orders[:k], order, *self._guide.orders[k + 1 :])
        return replace(self._guide, orders=orders, tight=tight, prefer=prefer or {})

    def _improve(self) -> bool:
        """Change the placement of one deployment while the others prefer their nodes.

        Start at the highest level with a waiting deployment and go up; on each level try the
        waiting deployments first, then those that start. Return whether a change gave a new basis.
        """
        where, home = self._where, self._problem.home
        starts = {d: c for d, c in where.items() if home[d] != c}
        for k in range(self._first_full(), -1, -1):
            rest = self._guide.orders[k]
            for d, c in self._changes(k, starts):
                others = [o for o in rest if o != d]
                order = [*others, d] if c is None else [d, *others]
                prefer = starts if c is None else {**starts, d: c}
                if self._attempt(self._reordered(k, order, prefer, tight=self._guide.tight), k):
                    return True
                if self._work_left <= 0:
                    return False
        return False

    def _concentrate(self) -> bool:
        """Start several deployments of one level on one node: all that fit there or a part of them.

        Then one large victim may leave in place of many small ones, which a change of a single
        deployment does not show. Return whether that gave a new basis.
        """
        eligible, nodes = self._problem.eligible, range(len(self._problem.bins))
        for k in range(self._first_full() + 1 if len(nodes) <= MANY else 0):
            order, load = self._guide.orders[k], self._before[k].load
            for c in nodes:
                starts = [d for d in order if d in self._where and c in eligible[d]]
                for number in _parts(len(starts)) if load[c] else ():
                    prefer = dict.fromkeys(starts[:number], c)
                    if self._attempt(self._reordered(k, order, prefer, tight=self._guide.tight), k):
                        return True
                    if self._work_left <= 0:
                        return False
        return False

    def _first_full(self) -> int:
        """Return the highest level of which a deployment waits in the basis; -1 if none does."""
        levels, where = enumerate(self._problem.levels), self._where
        return next((k for k, level in levels if any(d not in where for d in level.ready)), -1)

    def _relocate(self) -> bool:
        """Let a victim keep its place; return whether that leads to a better outcome."""
        problem, best, again = self._problem, self._best, self._best_again()
        relocation = Relocation(problem, best, self._relocation_left)
        for changed in relocation.changes():
            guide = replace(again, prefer=again.prefer | changed)
            state = State.of(problem, guide.prefer)
            place_levels(state, guide)
            outcome = state.outcome()
            relocation.effort_left -= state.effort + len(state.where)
            if score(outcome) < score(best):
                self._best, self._best_guide = outcome, guide
                break
        self._relocation_left = relocation.effort_left
        return self._best is not best

    def _best_again(self) -> Guide:
        """Return a guide to the best outcome: what runs prefers its node, and goes first."""
        guide = replace(self._best_guide, tight=True, prefer=self._best.where)
        return replace(guide, preferred_first=self._searches)

    def _satisfy_preferences(self) -> None:
        """Take outcomes that are as good and satisfy more of what the deployments prefer."""
        preferences = Preferences(self._problem)
        for wanting in preferences.trials(self._best.where):
            best, weights = self._best, preferences.weights
            guide = replace(self._best_again(), weights={d: weights[d] for d in wanting})
            state = State.of(self._problem, guide.prefer, is_only=self._is_large)
            place_levels(state, guide, best.counts)
            outcome = state.outcome()
            equal = score(outcome) == score(best) and outcome.where.keys() == best.where.keys()
            if equal and preferences.satisfied(outcome.where) > preferences.satisfied(best.where):
                self._best = outcome
            if len(wanting) > 1 and (self._best is outcome or self._is_large):
                return

    def _changes(self, k: int, starts: dict[int, int]) -> Iterator[tuple[int, int | None]]:
        """Yield a deployment of level k to place first and its node, or None to place it last.

        Changes that have the same effect are yielded once.
        """
        problem = self._problem
        seen: set[tuple[int, int | None, int | None]] = set()
        for d in sorted(self._guide.orders[k], key=lambda d: d in starts):
            now = starts.get(d)
            places: list[int | None] = [*problem.eligible[d]]
            if now is not None:
                places.append(None)
            for c in places:
                change = (problem.kinds[d], now, c)
                if c != now and change not in seen:
                    seen.add(change)
                    yield d, c
