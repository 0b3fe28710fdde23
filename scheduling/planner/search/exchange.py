"""Small exchanges within one level, each of which lets one more deployment run there.

A deployment that this level placed may move to another node or be replaced by two others, or all
of them are packed again. Deployments of higher levels, active deployments that keep their place,
and reserved nodes are not affected.
"""

from collections.abc import Sequence
from itertools import compress

from scheduling.planner.packed import OVERDRAWN
from scheduling.planner.problem import Problem

_EFFORT = 4_000  # pairs of a deployment and a node, or of two deployments, to examine
_REPACKED = 3  # kinds of unplaced deployments for each of which the level is packed again


class Exchange:
    """The exchanges of one level.

    `free` (packed, by node) and `placed` (the deployments that the level placed, by node) are
    changed in place; `unplaced` are the deployments of the level that did not fit. `eligible` and
    `sizes` are indexed by deployment. `changed` is True if an exchange was found.
    """

    def __init__(
        self,
        problem: Problem,
        eligible: Sequence[Sequence[int]],
        free: list[int],
        placed: dict[int, list[int]],
        unplaced: list[int],
        sizes: list[int],
    ) -> None:
        self._open = problem.open
        self._requests = problem.requests
        self._kinds = problem.kinds
        self._eligible = eligible
        self._sizes = sizes
        self.free = free
        self.placed = placed
        self.effort = 0
        self.changed = False
        self._unplaced: dict[int, list[int]] = {}
        for d in unplaced:
            self._enqueue(d)

    def run(self) -> None:
        """Exchange until no exchange helps or the effort is spent, and fill what becomes free."""
        while self.effort < _EFFORT and (
            self._move_one() or self._replace_by_two() or self._repack()
        ):
            self.changed = True
            while self._fill():
                pass

    def _enqueue(self, d: int) -> None:
        self._unplaced.setdefault(self._kinds[d], []).append(d)

    def _dequeue(self, kind: int) -> int:
        d = self._unplaced[kind].pop(0)
        if not self._unplaced[kind]:
            del self._unplaced[kind]
        return d

    def _place(self, d: int, c: int) -> None:
        self.placed.setdefault(c, []).append(d)
        self.free[c] -= self._requests[d]

    def _remove(self, d: int, c: int) -> None:
        self.placed[c].remove(d)
        self.free[c] += self._requests[d]

    def _fill(self) -> bool:
        for kind, members in self._unplaced.items():
            request = self._requests[members[0]]
            for c in self._eligible[members[0]]:
                if not (self.free[c] - request) & OVERDRAWN:
                    self._place(self._dequeue(kind), c)
                    return True
        return False

    def _movable(self) -> dict[int, list[int]]:
        """Return one deployment of each kind that this level placed on each node."""
        kinds = self._kinds
        return {
            c: list({kinds[d]: d for d in members}.values()) for c, members in self.placed.items()
        }

    def _move_one(self) -> bool:
        """Move one deployment to another node, so that an unplaced one fits in its place."""
        requests, eligible, free = self._requests, self._eligible, self.free
        if len(free) < 2:
            return False
        movable = self._movable()
        for kind, members in self._unplaced.items():
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
                            self._place(s, other)
                            self._place(self._dequeue(kind), c)
                            return True
        return False

    def _replace_by_two(self) -> bool:
        """Replace one deployment by two unplaced ones."""
        requests, free, movable = self._requests, self.free, self._movable()
        kinds = [(kind, members[0]) for kind, members in self._unplaced.items()]
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
                        if c in self._eligible[second] and (
                            two != one or len(self._unplaced[one]) > 1
                        ):
                            self._remove(s, c)
                            self._place(self._dequeue(one), c)
                            self._place(self._dequeue(two), c)
                            self._enqueue(s)
                            return True
        return False

    def _repack(self) -> bool:
        """Pack what this level placed and one unplaced deployment again, the largest first."""
        if len(self.free) < 2:
            return False
        requests = self._requests
        total = sum(compress(self.free, self._open))
        smallest = sorted(self._unplaced, key=lambda kind: requests[self._unplaced[kind][0]])
        possible = [
            kind
            for kind in smallest[:_REPACKED]
            if not (total - requests[self._unplaced[kind][0]]) & OVERDRAWN
        ]
        if not possible:
            return False
        placed = [d for members in self.placed.values() for d in members]
        free = self.free.copy()
        for c, members in self.placed.items():
            free[c] += sum([requests[d] for d in members])
        for kind in possible:
            candidates = [*placed, self._unplaced[kind][0]]
            for tight in (True, False):
                if self.effort > _EFFORT:
                    return False
                where = self._pack(candidates, free.copy(), tight=tight)
                if where is not None:
                    self._dequeue(kind)
                    self._apply(where)
                    return True
        return False

    def _pack(self, members: list[int], free: list[int], *, tight: bool) -> dict[int, int] | None:
        """Return a node for each of the members; None if they do not all fit."""
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

    def _apply(self, where: dict[int, int]) -> None:
        for c, members in self.placed.items():
            self.free[c] += sum([self._requests[d] for d in members])
            members.clear()
        for d, c in where.items():
            self._place(d, c)
