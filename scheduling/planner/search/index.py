"""Find the nodes on which a request fits without a look at all of them.

An index has the nodes of one set in the order of what is free there, GPU before RAM before CPU, as
packed amounts compare. A request fits only on nodes that do not come before it.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping, Sequence

from scheduling.planner.packed import OVERDRAWN


class Index:
    """The nodes of a set by an amount, packed, of each."""

    def __init__(self, nodes: Sequence[int], amounts: Sequence[int] | Mapping[int, int]) -> None:
        self._amounts = {c: amounts[c] for c in nodes}
        self._order = sorted([(amount, c) for c, amount in self._amounts.items()])

    def update(self, c: int, amount: int) -> None:
        known = self._amounts.get(c)
        if known is not None and known != amount:
            del self._order[bisect_left(self._order, (known, c))]
            self._amounts[c] = amount
            insort(self._order, (amount, c))

    def fits(self, request: int) -> Iterator[int]:
        """Yield the nodes whose amount is not below the request, the smallest amount first."""
        order = self._order
        for at in range(bisect_left(order, (request, -1)), len(order)):
            amount, c = order[at]
            if not (amount - request) & OVERDRAWN:
                yield c

    def first_fits(self, request: int) -> Iterator[int]:
        """Yield of the same nodes the first of each amount."""
        order = self._order
        at = bisect_left(order, (request, -1))
        while at < len(order):
            amount, c = order[at]
            if not (amount - request) & OVERDRAWN:
                yield c
            at = bisect_left(order, (amount + 1, -1), at)

    def fits_from_largest(self, request: int) -> Iterator[int]:
        """Yield the same nodes, the largest amount first; of equal amounts the lowest id first."""
        order = self._order
        end, first = len(order), bisect_left(order, (request, -1))
        while end > first:
            amount = order[end - 1][0]
            start = bisect_left(order, (amount, -1))
            if not (amount - request) & OVERDRAWN:
                yield from [c for _, c in order[start:end]]
            end = start


class Indexes:
    """Of one set of nodes, an index by what is free, and one by what is free less the load.

    There are others for what would be free without some victims. `seen` is the number of changes
    of an attempt that the indexes contain.
    """

    def __init__(
        self, nodes: Sequence[int], free: Sequence[int], load: Sequence[int], seen: int
    ) -> None:
        self.free = Index(nodes, free)
        self.slack = Index(nodes, [left - later for left, later in zip(free, load, strict=True)])
        self._nodes = nodes
        self._seen = seen
        self._without: dict[int, tuple[Index, int]] = {}

    def follow(self, changed: Sequence[int], free: Sequence[int], load: Sequence[int]) -> None:
        """Take over the changes that are new in the list of all nodes that have changed."""
        for c in set(changed[self._seen :]):
            self.free.update(c, free[c])
            self.slack.update(c, free[c] - load[c])
        self._seen = len(changed)

    def without(self, priority: int, changed: Sequence[int], amount: Callable[[int], int]) -> Index:
        """Return the index by what is free once the victims up to this priority have left.

        `amount` returns this for a node, and `changed` is as for `follow`.
        """
        if priority in self._without:
            index, seen = self._without[priority]
            for c in set(changed[seen:]):
                index.update(c, amount(c))
        else:
            index = Index(self._nodes, {c: amount(c) for c in self._nodes})
        self._without[priority] = index, len(changed)
        return index
