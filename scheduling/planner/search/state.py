"""A plan in the making: who is where, and what is left, between one level and the next."""

from collections.abc import Collection
from dataclasses import dataclass, field

from scheduling.planner.outcome import Outcome, Reservation, may_use
from scheduling.planner.packed import OVERDRAWN, beyond
from scheduling.planner.problem import NEVER, Problem


@dataclass(frozen=True, slots=True)
class Guide:
    """What a try may choose freely: the order within each level, and clusters to prefer.

    `orders[k]` are the members of level k, ready or drained, in the order to try them; `tight`
    prefers the fullest cluster, else the emptiest; `exchange` improves each level afterwards;
    `prefer[d]` is a cluster to try first. `sizes[d]` is a measure by which the largest of a level
    leave first, and those who left queue with the others; without one, those leave who lose least,
    and are the first to be placed again.
    """

    orders: tuple[list[int], ...]
    tight: bool = True
    exchange: bool = False
    sizes: list[int] | None = None
    prefer: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class State:
    """Lists are indexed by cluster.

    `room` is the packed capacity minus what is placed for good, `load` what is still undecided and
    expected to stay, `lowest` the priority of the last level that started something there. `gone`
    are those who are expected to lose their place later on, `displaced` by priority those who did;
    `guarded` keep their place by cluster, although they are lower than a level that was placed.
    `effort` counts the work done.
    """

    problem: Problem
    free: list[int]
    load: list[int]
    lowest: list[int]
    gone: set[int] = field(default_factory=set)
    where: dict[int, int] = field(default_factory=dict)
    displaced: dict[int, tuple[int, ...]] = field(default_factory=dict)
    guarded: dict[int, tuple[int, ...]] = field(default_factory=dict)
    reserved: dict[int, Reservation] = field(default_factory=dict)
    counts: list[int] = field(default_factory=list)
    free_at: dict[int, list[int]] = field(default_factory=dict)
    effort: int = 0

    @classmethod
    def of(cls, problem: Problem) -> "State":
        """Return the state before the first level."""
        load = [0] * len(problem.capacities)
        for level in problem.levels:
            for due in level.due:
                load[due.cluster] += due.total
        return cls(problem, problem.capacities.copy(), load, [NEVER] * len(load))

    def fork(self) -> "State":
        """Return a copy that can go on by itself; its effort begins at 0."""
        return State(
            self.problem,
            self.free.copy(),
            self.load.copy(),
            self.lowest.copy(),
            self.gone.copy(),
            self.where.copy(),
            self.displaced.copy(),
            self.guarded.copy(),
            self.reserved.copy(),
            self.counts.copy(),
            self.free_at.copy(),
        )

    def usable(self, d: int, c: int) -> int:
        """Return the free capacity of c that d may use, without what is reserved for others."""
        other = self.reserved.get(c)
        if other is None or may_use(self.problem, other, d):
            return self.free[c]
        return beyond(self.free[c], other.amount)

    def has_elsewhere(self, d: int, c: int) -> bool:
        """Say whether d, which is on c, would fit on another cluster as things stand."""
        request, load = self.problem.requests[d], self.load
        for o in self.problem.eligible[d]:
            if o != c and not (self.usable(d, o) - load[o] - request) & OVERDRAWN:
                return True
        return False

    def victims(self, request: int, c: int) -> list[int]:
        """Return whom the request would displace on c: the lowest until it fits, less those put
        back.
        """
        problem, gone, decided = self.problem, self.gone, len(self.counts)
        requests, due_at = problem.requests, problem.due_at
        left = self.free[c] - self.load[c] - request
        removed = []
        for v in problem.cheapest[c]:
            if not left & OVERDRAWN:
                break
            if v not in gone and due_at[v] > decided:
                removed.append(v)
                left += requests[v]
        kept = set()
        for v in reversed(removed):
            if not (left - requests[v]) & OVERDRAWN:
                left -= requests[v]
                kept.add(v)
        return [v for v in removed if v not in kept] if kept else removed

    def place(self, d: int, c: int, priority: int, victims: Collection[int] = ()) -> None:
        """Let d start on c, or return to it, at the cost of `victims`."""
        requests = self.problem.requests
        for v in victims:
            self.gone.add(v)
            self.load[c] -= requests[v]
        self.free[c] -= requests[d]
        self.where[d] = c
        if self.problem.home[d] != c:
            self.lowest[c] = priority

    def unplace(self, d: int) -> None:
        """Take back a placement; who was displaced for it stays so."""
        self.free[self.where.pop(d)] += self.problem.requests[d]

    def outcome(self) -> Outcome:
        """Return what the try comes to."""
        problem, where = self.problem, self.where
        outcome = Outcome(where, self.counts, self.reserved, self.free_at)
        for level in problem.levels:
            for due in level.due:
                for d in due.members:
                    if where.get(d) != due.cluster:
                        outcome.evicted += 1
                        outcome.lost += d not in where
                        outcome.loss += problem.loss[d]
        return outcome
