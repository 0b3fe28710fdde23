"""Find the nodes on which a request fits without a look at all of them.

An index has the nodes of one set in the order of what is free there, GPU before RAM before CPU, as
packed amounts compare. A request fits only on nodes that do not come before it.

The order is kept in blocks, so that a change moves few entries, and each block has the most of each
dimension that one of its nodes has. A block whose maxima are less than the request is skipped
(Moerkotte, *Small Materialized Aggregates*, VLDB '98). The nodes of a block have similar amounts of
GPU and RAM, so that few others are read in vain.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping, Sequence

from scheduling.planner.packed import OVERDRAWN, most

_BLOCK = 32  # nodes of a block when it is new; it is divided at twice as many
Entry = tuple[int, int]


class Index:
    """The nodes of a set by an amount, packed, of each, which `amounts` has.

    `_lasts` has the last entry of each block, `_maxima` its maxima; those of the blocks in `_stale`
    may be too high, because a node has left.
    """

    def __init__(self, nodes: Sequence[int], amounts: Sequence[int] | Mapping[int, int]) -> None:
        self.amounts = {c: amounts[c] for c in nodes}
        order = sorted([(amount, c) for c, amount in self.amounts.items()])
        self._blocks = [order[at : at + _BLOCK] for at in range(0, len(order), _BLOCK)]
        self._lasts = [block[-1] for block in self._blocks]
        self._maxima = [_maxima(block) for block in self._blocks]
        self._stale = [False] * len(self._blocks)

    def update(self, c: int, amount: int) -> None:
        known = self.amounts.get(c)
        if known is not None and known != amount:
            self.amounts[c] = amount
            self._remove((known, c))
            self._insert((amount, c))

    def fits(self, request: int) -> Iterator[int]:
        """Yield the nodes whose amount is not below the request, the smallest amount first."""
        for at in range(bisect_left(self._lasts, (request, -1)), len(self._blocks)):
            yield from [c for _, c in self._fitting(at, request)]

    def first_fits(self, request: int) -> Iterator[int]:
        """Yield of the same nodes the first of each amount."""
        before = -1
        for at in range(bisect_left(self._lasts, (request, -1)), len(self._blocks)):
            if self._lasts[at][0] != before:
                for amount, c in self._fitting(at, request):
                    if amount != before:
                        before = amount
                        yield c

    def fits_from_largest(self, request: int) -> Iterator[int]:
        """Yield the same nodes, the largest amount first; of equal amounts the lowest id first."""
        equal: list[Entry] = []
        first = bisect_left(self._lasts, (request, -1))
        for at in range(len(self._blocks) - 1, first - 1, -1):
            for entry in reversed(self._fitting(at, request)):
                if equal and equal[0][0] != entry[0]:
                    yield from [c for _, c in reversed(equal)]
                    equal = []
                equal.append(entry)
        yield from [c for _, c in reversed(equal)]

    def _fitting(self, at: int, request: int) -> list[Entry]:
        """Return the entries of a block that are not below the request."""
        if (self._maxima[at] - request) & OVERDRAWN:
            return []
        found = [entry for entry in self._blocks[at] if not (entry[0] - request) & OVERDRAWN]
        if not found and self._stale[at]:
            self._maxima[at], self._stale[at] = _maxima(self._blocks[at]), False
        return found

    def _remove(self, entry: Entry) -> None:
        at = bisect_left(self._lasts, entry)
        block = self._blocks[at]
        del block[bisect_left(block, entry)]
        if block:
            self._lasts[at], self._stale[at] = block[-1], True
        else:
            for each in (self._blocks, self._lasts, self._maxima, self._stale):
                del each[at]

    def _insert(self, entry: Entry) -> None:
        if not self._blocks:
            self._replace(0, 0, [entry])
            return
        at = min(bisect_left(self._lasts, entry), len(self._blocks) - 1)
        block = self._blocks[at]
        insort(block, entry)
        if len(block) == 2 * _BLOCK:
            self._replace(at, at + 1, block[:_BLOCK], block[_BLOCK:])
            return
        self._lasts[at] = block[-1]
        if (self._maxima[at] - entry[0]) & OVERDRAWN and not entry[0] & OVERDRAWN:
            self._maxima[at] = most([self._maxima[at], entry[0]])

    def _replace(self, start: int, end: int, *blocks: list[Entry]) -> None:
        self._blocks[start:end] = blocks
        self._lasts[start:end] = [block[-1] for block in blocks]
        self._maxima[start:end] = [_maxima(block) for block in blocks]
        self._stale[start:end] = [False] * len(blocks)


def _maxima(block: list[Entry]) -> int:
    """Return the most of each dimension, without the amounts that are negative in one."""
    return most([amount for amount, _ in block if not amount & OVERDRAWN])


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
        if self._seen == len(changed):
            return
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
