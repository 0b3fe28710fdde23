"""The state of an attempt between two levels: what is placed where, and what is free."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, compress

from scheduling.planner.outcome import Outcome, Reservation, may_use
from scheduling.planner.packed import OVERDRAWN, beyond
from scheduling.planner.problem import NEVER, Problem
from scheduling.planner.search.bitmap import Bitmap
from scheduling.planner.search.index import Amounts, Index
from scheduling.planner.search.preemption import remove_and_restore
from scheduling.planner.search.skyline import Largest

Victims = tuple[list[int], int]
MANY = 64  # nodes from which on they are found by an index
_SUMS = 16  # candidates of a node whose requests are added up at once


@dataclass(frozen=True, slots=True)
class Guide:
    """What an attempt may choose freely: the order within each level, and nodes to prefer.

    `orders[k]` are the ready and drained deployments of level k in the order to place them; without
    `orders`, those that fit are placed in the order of the queue, and no effort is counted. `tight`
    prefers the fullest node, otherwise the emptiest; `exchange` improves each level afterwards;
    `prefer[d]` is a node to try first, or on which to evict d last; before it, of the nodes without
    victims, that with the largest of `weights[d]`. With `sizes`, the largest deployments of a level
    are displaced first, and queue with the others of the level by size. Without, those with the
    least harm are displaced first, and are placed before the others. With `preferred_first`, those
    that prefer a node are placed first, also before the displaced ones.
    """

    orders: tuple[list[int], ...] = ()
    tight: bool = True
    exchange: bool = False
    sizes: list[int] | None = None
    prefer: dict[int, int] = field(default_factory=dict)
    preferred_first: bool = False
    weights: dict[int, list[int]] = field(default_factory=dict)


@dataclass(slots=True)
class State:
    """Lists are indexed by node.

    `eviction_order` has the active deployments, the first to be evicted at the head. `free` is the
    packed capacity less what is placed; `load` is what the deployments that are not due yet are
    expected to keep of it. `expected_victims` are not due yet, but will lose their place, by node;
    `displaced` have lost it, by priority. `reserved` are the reservations by node.
    `counts` and `free_at` are as in `Outcome`, and `effort` is the number of pairs of a deployment
    and a node that have been examined. `changed` are the nodes whose `free` or `load` has changed
    since there are `indexes` or `bitmaps`, each time again.

    The others are caches. `indexes` have with each index the number of changes that it contains.
    `candidates` has by node the deployments that are not due yet and expected to stay, the first to
    be evicted at the end. `sums` has for nodes that have not changed what would be free without
    none of the candidates, the first, the first two and so on.
    `victims_cache` belongs to `victims`; states with the same eviction order have it in common,
    and the only attempt has none.
    """

    problem: Problem
    eviction_order: list[list[int]]
    free: list[int]
    load: list[int]
    victims_cache: dict[object, Victims] | None
    expected_victims: dict[int, frozenset[int]] = field(default_factory=dict)
    where: dict[int, int] = field(default_factory=dict)
    displaced: dict[int, tuple[int, ...]] = field(default_factory=dict)
    reserved: dict[int, Reservation] = field(default_factory=dict)
    counts: list[int] = field(default_factory=list)
    free_at: dict[int, list[int]] = field(default_factory=dict)
    effort: int = 0
    changed: list[int] = field(default_factory=list)
    indexes: dict[tuple[str | int, int], tuple[Index, int]] = field(default_factory=dict)
    candidates: dict[int, list[int]] = field(default_factory=dict)
    bitmaps: dict[int, Bitmap] = field(default_factory=dict)
    sums: dict[int, list[int]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, problem: Problem, prefer: Mapping[int, int] | None = None, *, is_only: bool = False
    ) -> "State":
        """Return the state before the first level of one attempt of several, or of the only one.

        On each node, the deployments that are to keep their place by `prefer` are evicted last.
        """
        order, victims_cache = problem.eviction_order, None if is_only else problem.expected_cache
        if prefer is not None:
            victims_cache = None if is_only else {}
            order = [sorted(v, key=lambda d: prefer.get(d) == c) for c, v in enumerate(order)]
        load = [0] * len(problem.capacities)
        for level in problem.levels:
            for due in level.due:
                load[due.node] += due.total
        return cls(problem, order, problem.capacities.copy(), load, victims_cache)

    def fork(self) -> "State":
        """Return an independent copy, with an effort of 0."""
        return State(
            self.problem,
            self.eviction_order,
            self.free.copy(),
            self.load.copy(),
            self.victims_cache,
            self.expected_victims.copy(),
            self.where.copy(),
            self.displaced.copy(),
            self.reserved.copy(),
            self.counts.copy(),
            self.free_at.copy(),
        )

    def index_of_free(self, nodes: tuple[int, ...]) -> Index:
        """Return the nodes, which must be one of the problem's `pool`, by what is free."""
        free = self.free
        return self._index("free", nodes, lambda c: (free[c], free[c]))

    def index_of_slack(self, nodes: tuple[int, ...]) -> Index:
        """Return the same nodes by what is free less the load."""
        free, load = self.free, self.load
        return self._index("slack", nodes, lambda c: (free[c] - load[c], free[c] - load[c]))

    def index_without(self, priority: int, nodes: tuple[int, ...]) -> Index:
        """Return the same nodes by what is free, for requests that fit once those up to this
        priority are evicted.

        These are the first in the order of eviction, up to a higher priority.
        """
        return self._index(
            priority, nodes, lambda c: (self.free[c], self.free_without(c, priority))
        )

    def _index(
        self, name: str | int, nodes: tuple[int, ...], amounts: Callable[[int], Amounts]
    ) -> Index:
        known = self.indexes.get((name, id(nodes)))
        if known is None:
            index = Index(nodes, amounts)
        elif known[1] == len(self.changed):
            return known[0]
        else:
            index = known[0]
            index.update(set(self.changed[known[1] :]))
        self.indexes[name, id(nodes)] = index, len(self.changed)
        return index

    def bitmap(self, nodes: tuple[int, ...]) -> Bitmap:
        """Return the bitmap of what is free less the load on these nodes."""
        known = self.bitmaps.get(id(nodes))
        if known is None:
            slack = [(c, self.free[c] - self.load[c]) for c in nodes]
            known = self.bitmaps[id(nodes)] = Bitmap(self.problem.scale, slack, len(self.changed))
        elif known.seen < len(self.changed):
            known.follow(self.changed, self.free, self.load)
        return known

    def largest_free(self) -> Largest:
        """Return the largest amounts that are free on open nodes."""
        return Largest(compress(self.free, self.problem.open))

    def usable(self, d: int, c: int) -> int:
        """Return the free capacity of c that d may use, less what is reserved for another."""
        return self.less_reserved(d, c, self.free[c])

    def less_reserved(self, d: int, c: int, free: int) -> int:
        """Return `free` less what d may not use because it is reserved on c for another."""
        problem, other = self.problem, self.reserved.get(c)
        if other is None or may_use(problem, other, d):
            return free
        if problem.deployments[other.deployment].priority < problem.deployments[d].priority:
            return free
        return beyond(free, other.amount)

    def spare(self, c: int) -> int:
        """Return what is free on c beside the active deployments there that are expected to stay.

        Those that are not due yet are expected to stay if they fit next to what is placed. They
        still do when something has been placed in the spare capacity.
        """
        requests, due_at, decided = self.problem.requests, self.problem.due_at, len(self.counts)
        due_later = [v for v in self.eviction_order[c] if due_at[v] > decided]
        all_stay = self.free[c] - sum([requests[v] for v in due_later])
        victims = remove_and_restore(requests, due_later, all_stay)
        return all_stay + sum([requests[v] for v in victims])

    def without_victims(self, d: int) -> Iterator[int]:
        """Yield the nodes on which d fits beside all that are expected to stay."""
        request, free, load = self.problem.requests[d], self.free, self.load
        nodes: Iterable[int] = self.problem.eligible[d]
        if len(self.problem.eligible[d]) > MANY:
            nodes = self.index_of_slack(self.problem.pool[d]).fits(request)
        for c in nodes:
            left = self.usable(d, c) if c in self.reserved else free[c]
            if not (left - load[c] - request) & OVERDRAWN:
                yield c

    def victims(self, request: int, c: int) -> Victims:
        """Return the expected victims of the request on c, and the highest priority among them.

        Deployments are removed in the order of eviction until the request fits; see
        `remove_and_restore`. Many attempts meet the same case, so that results are kept. Without
        victims the priority is -NEVER.
        """
        left = self.free[c] - self.load[c] - request
        if self.victims_cache is None:
            return self._with_highest(self._victims(left, c))
        case = c, left, len(self.counts), self.expected_victims.get(c)
        known = self.victims_cache.get(case)
        if known is None:
            known = self.victims_cache[case] = self._with_highest(self._victims(left, c))
        return known

    def _with_highest(self, victims: list[int]) -> Victims:
        priorities = self.problem.priorities
        return victims, max([priorities[v] for v in victims], default=-NEVER)

    def _victims(self, left: int, c: int) -> list[int]:
        return remove_and_restore(self.problem.requests, reversed(self._candidates(c)), left)

    def sum_up(self, c: int) -> list[int]:
        """Return what is free on c with all candidates, without the first, the first two and so on,
        up to a number.
        """
        requests, slack = self.problem.requests, self.free[c] - self.load[c]
        first = [requests[v] for v in self._candidates(c)[: -_SUMS - 1 : -1]]
        sums = self.sums[c] = list(accumulate(first, initial=slack))
        return sums

    def sum_up_to(self, request: int, c: int) -> int:
        """Continue the sums of c until the request fits; return without how many candidates."""
        requests, candidates, sums = self.problem.requests, self.candidates[c], self.sums[c]
        while (sums[-1] - request) & OVERDRAWN:
            sums.append(sums[-1] + requests[candidates[-len(sums)]])
        return len(sums) - 1

    def _candidates(self, c: int) -> list[int]:
        """Return the deployments on c that are not due yet and expected to stay, the first to be
        evicted at the end.
        """
        known = self.candidates.get(c)
        if known is None:
            due_at, decided = self.problem.due_at, len(self.counts)
            expected = self.expected_victims.get(c, ())
            known = self.candidates[c] = [
                v
                for v in reversed(self.eviction_order[c])
                if due_at[v] > decided and v not in expected
            ]
        return known

    def _expect(self, victims: Collection[int], c: int) -> None:
        """Expect that these candidates lose their place on c."""
        self.expected_victims[c] = self.expected_victims.get(c, frozenset()).union(victims)
        requests, candidates = self.problem.requests, self.candidates.get(c, [])
        self.load[c] -= sum([requests[v] for v in victims])
        left, passed = set(victims), list[int]()
        while left and candidates:
            v = candidates.pop()
            if v in left:
                left.remove(v)
            else:
                passed.append(v)
        candidates += reversed(passed)

    def free_without(self, c: int, priority: int) -> int:
        """Return what is free on c once its victims up to this priority have left."""
        priorities, requests = self.problem.priorities, self.problem.requests
        left = self.free[c] - self.load[c]
        for v in reversed(self._candidates(c)):
            if priorities[v] > priority:
                break
            left += requests[v]
        return left

    def place(self, d: int, c: int, victims: Collection[int] = ()) -> None:
        """Place d on c, which starts it there or returns it to its home; expect the victims."""
        if victims:
            self._expect(victims, c)
        self.free[c] -= self.problem.requests[d]
        self.where[d] = c
        self.record_change(c)

    def unplace(self, d: int) -> None:
        """Undo a placement. The victims that were expected because of it remain expected."""
        c = self.where.pop(d)
        self.free[c] += self.problem.requests[d]
        self.record_change(c)

    def record_change(self, c: int) -> None:
        """Record that the free amount or the load of c has changed."""
        self.sums.pop(c, None)
        if self.indexes or self.bitmaps:
            self.changed.append(c)

    def outcome(self) -> Outcome:
        """Return the result of the attempt after its last level."""
        problem, where = self.problem, self.where
        outcome = Outcome(where, self.counts, self.reserved, self.free_at)
        for level in problem.levels:
            for due in level.due:
                for d in due.members:
                    if where.get(d) != due.node:
                        outcome.evicted += 1
                        outcome.lost += d not in where
                        outcome.loss += problem.loss[d]
        return outcome
