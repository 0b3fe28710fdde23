"""Small exchanges within one level, each of which lets one more deployment run there.

Whoever was placed by this level may change its cluster, or give its room to two others; nobody
from above, nobody who was active here already and no room that is held is touched.
"""

from collections.abc import Callable

from scheduling.core.packed import OVERDRAWN

_EFFORT = 4_000  # pairs looked at


class Exchange:
    """`room` is changed in place; `placed` are the level's own, by cluster; `left` the left out.

    `requests` and `eligible` are those of all deployments, by index; closed clusters take no part.
    """

    def __init__(
        self,
        requests: list[int],
        eligible: Callable[[int], tuple[int, ...]],
        room: list[int],
        placed: dict[int, list[int]],
        left: list[int],
    ) -> None:
        self._requests = requests
        self._eligible = eligible
        self.room = room
        self.placed = placed
        self.effort = 0
        self._left: dict[tuple[int, tuple[int, ...]], list[int]] = {}
        for d in left:
            self._leave(d)

    def run(self) -> None:
        """Exchange until nothing helps any more or the effort is spent; leave no room unused."""
        while self.effort < _EFFORT and (self._shift() or self._split()):
            while self._fill():
                pass

    def _leave(self, d: int) -> None:
        self._left.setdefault((self._requests[d], self._eligible(d)), []).append(d)

    def _take(self, kind: tuple[int, tuple[int, ...]]) -> int:
        d = self._left[kind].pop(0)
        if not self._left[kind]:
            del self._left[kind]
        return d

    def _put(self, d: int, c: int) -> None:
        self.placed.setdefault(c, []).append(d)
        self.room[c] -= self._requests[d]

    def _remove(self, d: int, c: int) -> None:
        self.placed[c].remove(d)
        self.room[c] += self._requests[d]

    def _fill(self) -> bool:
        for kind in self._left:
            request, clusters = kind
            for c in clusters:
                if not (self.room[c] - request) & OVERDRAWN:
                    self._put(self._take(kind), c)
                    return True
        return False

    def _movable(self) -> dict[int, list[int]]:
        """Return by cluster one of each kind that this level placed there."""
        return {
            c: list({(self._requests[d], self._eligible(d)): d for d in members}.values())
            for c, members in self.placed.items()
        }

    def _shift(self) -> bool:
        """Move one to another cluster, so that one that was left out fits in its place."""
        requests, room, movable = self._requests, self.room, self._movable()
        for kind in self._left:
            request, clusters = kind
            for c in clusters if self.effort < _EFFORT else ():
                self.effort += 1 + len(movable.get(c, ()))
                for s in movable.get(c, ()):
                    if (room[c] + requests[s] - request) & OVERDRAWN:
                        continue
                    for other in self._eligible(s):
                        if other != c and not (room[other] - requests[s]) & OVERDRAWN:
                            self._remove(s, c)
                            self._put(s, other)
                            self._put(self._take(kind), c)
                            return True
        return False

    def _split(self) -> bool:
        """Give the room of one to two that were left out."""
        requests, room, movable = self._requests, self.room, self._movable()
        kinds = list(self._left)
        for i, one in enumerate(kinds):
            for c in one[1] if self.effort < _EFFORT else ():
                self.effort += 1 + len(movable.get(c, ()))
                for s in movable.get(c, ()):
                    spare = room[c] + requests[s] - one[0]
                    if spare & OVERDRAWN:
                        continue
                    self.effort += len(kinds) - i
                    for two in kinds[i:]:
                        fits = c in two[1] and not (spare - two[0]) & OVERDRAWN
                        if fits and (two is not one or len(self._left[one]) > 1):
                            self._remove(s, c)
                            self._put(self._take(one), c)
                            self._put(self._take(two), c)
                            self._leave(s)
                            return True
        return False
