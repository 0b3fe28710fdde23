"""One try at a plan: everything is placed anew on paper, level by level from the highest.

At each level
1. the active ones whose fate is due keep their place, unless those above have taken the room;
2. those that starve are placed, the longest waiting first, and room is held for the rest of them;
3. the others are placed: ready ones, and those that lost their place in step 1 or to a drain.

What lies below a level does not count there, except what none of the level may evict. So nobody
waits for a lower one, and nobody leaves who would fit beside those above and beside those who stay:
the rules hold whatever order and cluster a `Guide` prefers.
"""

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field

from scheduling.core.exchange import Exchange
from scheduling.core.keeping import leavers
from scheduling.core.packed import OVERDRAWN, beyond
from scheduling.core.problem import NEVER, Level, Problem
from scheduling.core.reservation import Reservation, may_use, reserve

_OVERHEAD = 4  # what a placement costs beside looking at clusters


@dataclass(frozen=True, slots=True)
class Guide:
    """What a try may choose freely: the order within each level, and clusters to prefer.

    `orders[k]` are the members of level k, ready or drained, in the order to try them; `tight`
    prefers the fullest cluster, else the emptiest; `exchange` improves each level afterwards;
    `roomy` lets the largest of a level leave rather than those that lose least;
    `prefer[d]` is a cluster to try first.
    """

    orders: tuple[list[int], ...]
    tight: bool = True
    exchange: bool = False
    roomy: bool = False
    prefer: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """Who is where after a try.

    `counts` are the active ones by level, `rooms_at` the rooms by priority as that level left them.
    """

    where: dict[int, int]
    counts: list[int]
    reservations: dict[int, Reservation]
    rooms_at: dict[int, list[int]]
    evicted: int = 0
    lost: int = 0
    loss: int = 0


class Descent:
    """The state of one try between levels; all lists are indexed by cluster.

    `room` is the packed capacity minus what is placed for good, `load` what is still undecided and
    expected to stay, `lowest` the priority of the last level that started something there;
    `undecided` are those who may lose their place later on. `effort` counts the work done.
    """

    def __init__(self, problem: Problem, guide: Guide) -> None:
        self.problem = problem
        self.guide = guide
        self.room = problem.rooms.copy()
        self.load = [0] * len(self.room)
        self.lowest = [NEVER] * len(self.room)
        self.undecided: list[set[int]] = [set() for _ in self.room]
        self.protected: list[list[int]] = [[] for _ in self.room]
        self.where: dict[int, int] = {}
        self.on: list[list[int]] = [[] for _ in self.room]
        self.effort = 0
        self.counts: list[int] = []
        self.rooms_at: dict[int, list[int]] = {}
        self.displaced: dict[int, list[int]] = {}
        self.reserved: dict[int, Reservation] = {}
        for level in problem.levels:
            for c, members in level.due.items():
                self.undecided[c].update(members)
                self.load[c] += sum(problem.requests[d] for d in members)

    def fork(self, guide: Guide) -> "Descent":
        """Return a copy of this state that goes on by another guide."""
        fork = copy(self)
        fork.guide = guide
        fork.room, fork.load, fork.lowest = self.room.copy(), self.load.copy(), self.lowest.copy()
        fork.undecided = [members.copy() for members in self.undecided]
        fork.protected = [members.copy() for members in self.protected]
        fork.on = [members.copy() for members in self.on]
        fork.where, fork.reserved = self.where.copy(), self.reserved.copy()
        fork.displaced = {p: members.copy() for p, members in self.displaced.items()}
        fork.effort = 0
        fork.counts, fork.rooms_at = self.counts.copy(), self.rooms_at.copy()
        return fork

    def step(self) -> None:
        """Place the next level."""
        k = len(self.counts)
        level = self.problem.levels[k]
        self.effort += len(level.members) + len(self.room)
        self._settle(level)
        self._start(level, level.starved, starved=True)
        left = self._start(level, self._queue(k, level), starved=False)
        if left and self.guide.exchange:
            self._exchange(level, left)
        where = self.where
        self.counts.append(sum([d in where for d in level.members]))
        self.rooms_at[level.priority] = self.room.copy()

    def run(self, beat: list[int] | None = None) -> bool:
        """Place the levels that are left; False as soon as they are sure to hold fewer than `beat`,
        which counts by level.
        """
        while len(self.counts) < len(self.problem.levels):
            self.step()
            if beat and self.counts < beat[: len(self.counts)]:
                return False
        return True

    def outcome(self) -> Outcome:
        problem, where = self.problem, self.where
        outcome = Outcome(where, self.counts, self.reserved, self.rooms_at)
        for level in problem.levels:
            for c, members in level.due.items():
                for d in members:
                    if where.get(d) != c:
                        outcome.evicted += 1
                        outcome.lost += d not in where
                        outcome.loss += problem.loss[d]
        return outcome

    # -- those who are active ---------------------------------------------------------------------

    def _settle(self, level: Level) -> None:
        """Decide who of the active ones that are due keeps its place."""
        requests = self.problem.requests
        for c, members in level.due.items():
            undecided = self.undecided[c]
            for d in members:
                if d in undecided:
                    undecided.remove(d)
                    self.load[c] -= requests[d]
            left = self.room[c] - sum(requests[d] for d in members)
            if left & OVERDRAWN:
                self._choose(c, members, level.priority)
            else:
                self.room[c] = left
                for d in members:
                    self._keep(d, c, level.priority)

    def _keep(self, d: int, c: int, priority: int) -> None:
        self.where[d] = c
        self.on[c].append(d)
        if self.problem.deployments[d].priority < priority:
            self.protected[c].append(d)

    def _choose(self, c: int, due: list[int], level: int) -> None:
        """Keep as many as fit, the highest first; the others lose their place.

        Lower ones that were protected from nobody who started here so far give way again to
        higher ones that are due now.
        """
        deployments, requests = self.problem.deployments, self.problem.requests
        priority_of = {d: deployments[d].priority for d in due}
        for d in self.protected[c].copy():
            if self.problem.threshold[d] <= self.lowest[c]:
                self.protected[c].remove(d)
                del self.where[d]
                self.on[c].remove(d)
                self.room[c] += requests[d]
                priority_of[d] = deployments[d].priority
        for priority in sorted(set(priority_of.values()), reverse=True):
            group = sorted(d for d, p in priority_of.items() if p == priority)
            leave = leavers(self.problem, group, self.room[c], lambda d: self._cost(d, c))
            for d in group:
                if d in leave:
                    self.displaced.setdefault(priority, []).append(d)
                else:
                    self.room[c] -= requests[d]
                    self._keep(d, c, level)

    def _cost(self, d: int, c: int) -> tuple[int, int]:
        """Return the harm of d's leaving c: stranded or not, then the work that is lost."""
        if self.guide.roomy:
            return 0, -self.problem.shares[d]
        return not self._elsewhere(d, c), self.problem.loss[d]

    def _elsewhere(self, d: int, c: int) -> bool:
        """Say whether d, on c, would find free room on another cluster as things stand."""
        request = self.problem.requests[d]
        return any(
            o != c and not (self._usable(d, o) - self.load[o] - request) & OVERDRAWN
            for o in self.problem.eligible[d]
        )

    # -- those who start ---------------------------------------------------------------------------

    def _queue(self, k: int, level: Level) -> list[int]:
        displaced = self.displaced.get(level.priority)
        if not displaced:
            return self.guide.orders[k]
        shares = self.problem.shares
        return sorted(displaced, key=lambda d: (shares[d], d)) + self.guide.orders[k]

    def _start(self, level: Level, queue: Iterable[int], *, starved: bool) -> list[int]:
        """Place in order what fits, and return the rest.

        The shapes that failed are remembered: room only shrinks meanwhile.
        """
        problem = self.problem
        requests, deployments, reserved = problem.requests, problem.deployments, self.reserved
        failed: set[tuple[int | None, ...]] = set()
        left = []
        for d in queue:
            deployment = deployments[d]
            shape: tuple[int | None, ...] = (requests[d], deployment.requested_cluster)
            if reserved:
                shape += (deployment.max_runtime_s, problem.threshold_once_started(d))
            if shape not in failed:
                self.effort += _OVERHEAD + len(problem.eligible[d])
                c = self._pick(d)
                if c is not None:
                    self._place(d, c, level.priority)
                    continue
                failed.add(shape)
            left.append(d)
            if starved and len(reserved) < len(self.room):
                held = reserve(problem, self.room, self.on, d, reserved)
                if held:
                    reserved[held.cluster] = held
        return left

    def _exchange(self, level: Level, left: list[int]) -> None:
        """Let the level's own starters make room for more of the level."""
        problem, reserved = self.problem, self.reserved
        fixed = set(level.starved)
        placed = {}
        for c in range(len(self.room)):
            if c not in reserved:
                placed[c] = [
                    d for d in self.on[c] if self._started_at(d, c, level) and d not in fixed
                ]
        before = {d: c for c, members in placed.items() for d in members}

        def eligible(d: int) -> tuple[int, ...]:
            return tuple(c for c in problem.eligible[d] if c not in reserved)

        exchange = Exchange(
            problem.requests,
            eligible if reserved else problem.eligible.__getitem__,
            self.room.copy(),
            placed,
            left,
        )
        exchange.run()
        self.effort += exchange.effort
        after = {d: c for c, members in placed.items() for d in members}
        for d, c in before.items():
            if after.get(d) != c:
                self.on[c].remove(d)
                del self.where[d]
                self.room[c] += problem.requests[d]
        for d, c in after.items():
            if before.get(d) != c:
                self._place(d, c, level.priority)

    def _started_at(self, d: int, c: int, level: Level) -> bool:
        return self.problem.home[d] != c and self.problem.deployments[d].priority == level.priority

    def _usable(self, d: int, c: int) -> int:
        """Return the room of c that d may use: what is held for others is not for it."""
        held = self.reserved.get(c)
        if held is None or may_use(self.problem, held, d):
            return self.room[c]
        return beyond(self.room[c], held.amount)

    def _pick(self, d: int) -> int | None:
        """Return the cluster for d: without an eviction if possible, else with the least harm."""
        request, room, load = self.problem.requests[d], self.room, self.load
        fits: list[int] = []
        free: list[int] = []
        for c in self.problem.eligible[d]:
            usable = self._usable(d, c) if c in self.reserved else room[c]
            if not (usable - request) & OVERDRAWN:
                fits.append(c)
                if not (usable - load[c] - request) & OVERDRAWN:
                    free.append(c)
        if not fits:
            return None
        wish = self.guide.prefer.get(d)
        if wish is not None and wish in fits:
            return wish
        if self.problem.home[d] in fits:
            return self.problem.home[d]
        if free:
            choose = min if self.guide.tight else max
            return choose(free, key=lambda c: (room[c] - load[c], -c))
        if len(fits) == 1:
            return fits[0]
        return min(fits, key=lambda c: (self._harm(d, c), c))

    def _harm(self, d: int, c: int) -> tuple[int, int, int]:
        victims = self._victims(d, c)
        deployments, loss = self.problem.deployments, self.problem.loss
        worst = max((deployments[v].priority for v in victims), default=-NEVER)
        return worst, len(victims), sum(loss[v] for v in victims)

    def _victims(self, d: int, c: int) -> list[int]:
        """Return whom d would displace on c: the lowest until it fits, less those put back."""
        deployments, requests, loss = (
            self.problem.deployments,
            self.problem.requests,
            self.problem.loss,
        )
        left = self.room[c] - self.load[c] - requests[d]
        removed = []
        for v in sorted(self.undecided[c], key=lambda v: (deployments[v].priority, loss[v], -v)):
            if not left & OVERDRAWN:
                break
            removed.append(v)
            left += requests[v]
        kept = set()
        for v in reversed(removed):
            if not (left - requests[v]) & OVERDRAWN:
                left -= requests[v]
                kept.add(v)
        return [v for v in removed if v not in kept]

    def _place(self, d: int, c: int, priority: int) -> None:
        request = self.problem.requests[d]
        if self.undecided[c] and (self.room[c] - self.load[c] - request) & OVERDRAWN:
            for v in self._victims(d, c):
                self.undecided[c].remove(v)
                self.load[c] -= self.problem.requests[v]
        self.room[c] -= request
        self.where[d] = c
        self.on[c].append(d)
        if self.problem.home[d] != c:
            self.lowest[c] = priority
