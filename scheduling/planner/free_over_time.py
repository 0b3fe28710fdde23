"""What is free on each node from now on, as one deployment after the other ends."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

from scheduling.planner.packed import OVERDRAWN

NOTHING_EVICTABLE = -1
"""The sight of a deployment that may evict nothing."""


class Occupant(NamedTuple):
    """A deployment on a node. It counts in the views from number `view` on."""

    id: int
    node: int
    request: int
    view: int


class FreeOverTime:
    """The free capacity of each node, packed, for deployments that may evict more or less.

    The *sight* of a deployment is the priority as which it evicts others. A view is that of all
    with the same sight: what they may evict does not count there. `free` has for each view, the
    highest sight first, what is free on each node; it is negative where what counts does not fit
    together. `endless` has, by node, the occupants whose ends are unknown.
    """

    def __init__(self, capacities: Sequence[int], sights: Iterable[int]) -> None:
        self._views = sorted({-sight for sight in sights})
        self._first_views: dict[int, int] = {}
        self.free = [list(capacities) for _ in self._views]
        self._ended: defaultdict[int, list[Occupant]] = defaultdict(list)
        self.endless: defaultdict[int, list[Occupant]] = defaultdict(list)
        self._coming: list[tuple[int, int, int, Occupant | None]] = []

    def view_of(self, sight: int) -> int:
        """Return the number of the view of deployments with this sight."""
        return self._views.index(-sight)

    def occupant(self, id_: int, node: int, request: int, threshold: int) -> Occupant:
        """Return a deployment that this and higher priorities may evict, as an occupant."""
        view = self._first_views.get(threshold)
        if view is None:
            view = self._first_views[threshold] = bisect_right(self._views, -threshold)
        return Occupant(id_, node, request, view)

    def needed(self, view: int, node: int, request: int) -> list[int]:
        """Return the ids of those that have ended without which a request would not fit now.

        There may be several such sets; this one has the last ends, in order.
        """
        spare, found = self.free[view][node] - request, []
        for occupant in self._ended[node]:
            if occupant.view <= view:
                if (spare - occupant.request) & OVERDRAWN:
                    found.append(occupant.id)
                else:
                    spare -= occupant.request
        return found

    def place(self, occupant: Occupant, end: int | None) -> None:
        """Place an occupant until it ends; None if nobody knows when."""
        for view in self.free[occupant.view :]:
            view[occupant.node] -= occupant.request
        self._expect(occupant, end)

    def place_all(self, occupants: Sequence[tuple[Occupant, int | None]]) -> None:
        """Place many at once, each with its end."""
        added = [[0] * len(free) for free in self.free]
        for occupant, end in occupants:
            if occupant.view < len(added):
                added[occupant.view][occupant.node] += occupant.request
            self._expect(occupant, end)
        taken = [0] * len(self.free[0]) if self.free else []
        for free, more in zip(self.free, added, strict=True):
            taken = [a + b for a, b in zip(taken, more, strict=True)]
            free[:] = [a - b for a, b in zip(free, taken, strict=True)]

    def wake(self, node: int, at: int) -> None:
        """Let the node count as changed at a time."""
        heappush(self._coming, (at, -1, node, None))

    @property
    def next_change(self) -> int | None:
        """The time of the next change, None if there is none."""
        return self._coming[0][0] if self._coming else None

    def advance(self) -> list[int]:
        """Let all end that end next; return the nodes that changed, in order."""
        now, nodes = self.next_change, set[int]()
        while self._coming and self._coming[0][0] == now:
            _, _, node, occupant = heappop(self._coming)
            nodes.add(node)
            if occupant is not None:
                self._ended[node].append(occupant)
                for view in self.free[occupant.view :]:
                    view[node] += occupant.request
        return sorted(nodes)

    def _expect(self, occupant: Occupant, end: int | None) -> None:
        if end is None:
            self.endless[occupant.node].append(occupant)
        else:
            heappush(self._coming, (end, occupant.id, occupant.node, occupant))
