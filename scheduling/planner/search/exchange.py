"""Small exchanges within one level, each of which lets one more deployment run there.

Whoever was placed by this level may change its cluster, or give its room to two others, or all of
them are packed anew; nobody from above, nobody who was active here already and no room that is held
is touched.
"""

from collections.abc import Sequence

from scheduling.planner.packed import OVERDRAWN
from scheduling.planner.problem import Problem

_EFFORT = 4_000  # pairs looked at
_REPACKED = 3  # kinds that were left out for each of which everything is packed anew


class Exchange:
    """`room` is changed in place; `placed` are the level's own, by cluster; `left` the left out.

    `eligible`, like the lists of the problem, is by index; of one kind all are alike. `sizes`
    measures who is large. `changed` says whether anything came of it.
    """

    def __init__(
        self,
        problem: Problem,
        eligible: Sequence[tuple[int, ...]],
        free: list[int],
        placed: dict[int, list[int]],
        left: list[int],
        sizes: list[int],
    ) -> None:
        self._requests = problem.requests
        self._kinds = problem.kinds
        self._eligible = eligible
        self._sizes = sizes
        self.free = free
        self.placed = placed
        self.effort = 0
        self.changed = False
        self._left: dict[int, list[int]] = {}
        for d in left:
            self._leave(d)

    def run(self) -> None:
        """Exchange until nothing helps any more or the effort is spent; leave no room unused."""
        while self.effort < _EFFORT and (self._shift() or self._split() or self._repack()):
            self.changed = True
            while self._fill():
                pass

    def _leave(self, d: int) -> None:
        self._left.setdefault(self._kinds[d], []).append(d)

    def _take(self, kind: int) -> int:
        d = self._left[kind].pop(0)
        if not self._left[kind]:
            del self._left[kind]
        return d

    def _put(self, d: int, c: int) -> None:
        self.placed.setdefault(c, []).append(d)
        self.free[c] -= self._requests[d]

    def _remove(self, d: int, c: int) -> None:
        self.placed[c].remove(d)
        self.free[c] += self._requests[d]

    def _fill(self) -> bool:
        for kind, members in self._left.items():
            request = self._requests[members[0]]
            for c in self._eligible[members[0]]:
                if not (self.free[c] - request) & OVERDRAWN:
                    self._put(self._take(kind), c)
                    return True
        return False

    def _movable(self) -> dict[int, list[int]]:
        """Return by cluster one of each kind that this level placed there."""
        kinds = self._kinds
        return {
            c: list({kinds[d]: d for d in members}.values()) for c, members in self.placed.items()
        }

    def _shift(self) -> bool:
        """Move one to another cluster, so that one that was left out fits in its place."""
        requests, eligible, free = self._requests, self._eligible, self.free
        if len(free) < 2:
            return False
        movable = self._movable()
        for kind, members in self._left.items():
            request = requests[members[0]]
            for c in eligible[members[0]] if self.effort < _EFFORT else ():
                here = movable.get(c, ())
                self.effort += 1 + len(here)
                spare = free[c] - request
                for s in here:
                    moved = requests[s]
                    if (spare + moved) & OVERDRAWN:
                        continue
                    for other in eligible[s]:
                        if other != c and not (free[other] - moved) & OVERDRAWN:
                            self._remove(s, c)
                            self._put(s, other)
                            self._put(self._take(kind), c)
                            return True
        return False

    def _split(self) -> bool:
        """Give the room of one to two that were left out."""
        requests, free, movable = self._requests, self.free, self._movable()
        kinds = [(kind, members[0]) for kind, members in self._left.items()]
        for i, (one, first) in enumerate(kinds):
            request = requests[first]
            for c in self._eligible[first] if self.effort < _EFFORT else ():
                here = movable.get(c, ())
                self.effort += 1 + len(here)
                for s in here:
                    spare = free[c] + requests[s] - request
                    if spare & OVERDRAWN:
                        continue
                    self.effort += len(kinds) - i
                    for two, second in kinds[i:]:
                        if (spare - requests[second]) & OVERDRAWN:
                            continue
                        if c in self._eligible[second] and (two != one or len(self._left[one]) > 1):
                            self._remove(s, c)
                            self._put(self._take(one), c)
                            self._put(self._take(two), c)
                            self._leave(s)
                            return True
        return False

    def _repack(self) -> bool:
        """Pack the level's own and one that was left out anew, the largest first."""
        if len(self.free) < 2:
            return False
        requests = self._requests
        members = [d for on in self.placed.values() for d in on]
        free = self.free.copy()
        for c, on in self.placed.items():
            free[c] += sum([requests[d] for d in on])
        smallest = sorted(self._left, key=lambda kind: requests[self._left[kind][0]])
        for kind in smallest[:_REPACKED]:
            everybody = [*members, self._left[kind][0]]
            for tight in (True, False):
                if self.effort > _EFFORT:
                    return False
                where = self._packed(everybody, free.copy(), tight=tight)
                if where is not None:
                    self._take(kind)
                    self._replace(where)
                    return True
        return False

    def _packed(self, members: list[int], free: list[int], *, tight: bool) -> dict[int, int] | None:
        """Return a cluster for each of the members; None when not all found one."""
        requests, eligible = self._requests, self._eligible
        where = {}
        self.effort += len(members)
        for d in sorted(members, key=lambda d: (len(eligible[d]) > 1, -self._sizes[d])):
            request = requests[d]
            best, best_left = -1, 0
            for c in eligible[d]:
                left = free[c] - request
                if not left & OVERDRAWN and (best < 0 or (left < best_left) is tight):
                    best, best_left = c, left
            if best < 0:
                return None
            free[best] = best_left
            where[d] = best
        return where

    def _replace(self, where: dict[int, int]) -> None:
        for c, on in self.placed.items():
            self.free[c] += sum([self._requests[d] for d in on])
            on.clear()
        for d, c in where.items():
            self._put(d, c)
