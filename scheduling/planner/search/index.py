"""Find the nodes on which a request fits without a look at all of them.

An index has the nodes of one set in the order of what is free there, GPU before RAM before CPU, as
packed amounts compare. A request fits only on nodes that do not come before it.

The order is kept in blocks, so that a change moves few entries, and each block has the most of each
dimension that one of its nodes has. A block whose maxima are less than the request is skipped
(Moerkotte, *Small Materialized Aggregates*, VLDB '98). The nodes of a block have similar amounts of
GPU and RAM, so that few others are read in vain.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterator, Sequence

from scheduling.planner.packed import OVERDRAWN, most

_BLOCK = 32  # nodes of a block when it is new; it is divided at twice as many
_MANY = 16  # of as many nodes one has changed: an index is faster made again than changed
Amounts = tuple[int, int]
Entry = tuple[int, int, int]


class Index:
    """The nodes of a set by their amounts, packed.

    `amounts` returns two of a node: what decides on the order, and what a request has to fit into,
    which is at most as much in each dimension. An entry has the first, the node and the second.
    `_lasts` has the last entry of each block, `_maxima` its maxima; those of the blocks in `_stale`
    may be too high, because a node has left.
    """

    def __init__(self, nodes: Sequence[int], amounts: Callable[[int], Amounts]) -> None:
        self._nodes = nodes
        self._amounts = amounts
        self._build()

    def update(self, changed: Collection[int]) -> None:
        """Take over the present amounts of the nodes that have changed."""
        if len(changed) * _MANY > len(self._entries):
            self._build()
            return
        for c in changed:
            known = self._entries.get(c)
            if known is not None:
                order, amount = self._amounts(c)
                entry = self._entries[c] = order, c, amount
                if entry != known:
                    self._remove(known)
                    self._insert(entry)

    def _build(self) -> None:
        order = []
        for c in self._nodes:
            first, amount = self._amounts(c)
            order.append((first, c, amount))
        self._entries = {entry[1]: entry for entry in order}
        order.sort()
        self._blocks = [order[at : at + _BLOCK] for at in range(0, len(order), _BLOCK)]
        self._lasts = [block[-1] for block in self._blocks]
        self._maxima = [_maxima(block) for block in self._blocks]
        self._stale = [False] * len(self._blocks)

    def fits(self, request: int) -> Iterator[int]:
        """Yield the nodes whose amount is not below the request, the smallest amount first."""
        for at in self._from(request):
            yield from [c for _, c, _ in self._fitting(at, request)]

    def first(self, request: int, number: int) -> list[int]:
        """Return the first of the same nodes, at most as many as `number`."""
        found: list[Entry] = []
        for at in self._from(request):
            if not (self._maxima[at] - request) & OVERDRAWN:
                found += self._fitting(at, request)
                if len(found) >= number:
                    break
        return [c for _, c, _ in found[:number]]

    def has_fitting(self, request: int) -> bool:
        """Return whether there is such a node; those with the largest amount are tried first."""
        return any(self._fitting(at, request) for at in reversed(self._from(request)))

    def first_fits(self, request: int) -> Iterator[int]:
        """Yield of the same nodes the first of each amount."""
        before = -1
        for at in self._from(request):
            if self._lasts[at][0] != before:
                for amount, c, _ in self._fitting(at, request):
                    if amount != before:
                        before = amount
                        yield c

    def fits_from_largest(self, request: int) -> Iterator[int]:
        """Yield the same nodes, the largest amount first; of equal amounts the lowest id first."""
        equal: list[Entry] = []
        for at in reversed(self._from(request)):
            for entry in reversed(self._fitting(at, request)):
                if equal and equal[0][0] != entry[0]:
                    yield from [c for _, c, _ in reversed(equal)]
                    equal = []
                equal.append(entry)
        yield from [c for _, c, _ in reversed(equal)]

    def _from(self, request: int) -> range:
        """Return the blocks that may have nodes on which the request fits."""
        return range(bisect_left(self._lasts, (request, -1, 0)), len(self._blocks))

    def _fitting(self, at: int, request: int) -> list[Entry]:
        """Return the entries of a block that are not below the request."""
        if (self._maxima[at] - request) & OVERDRAWN:
            return []
        found = [entry for entry in self._blocks[at] if not (entry[2] - request) & OVERDRAWN]
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
        if (self._maxima[at] - entry[2]) & OVERDRAWN and not entry[2] & OVERDRAWN:
            self._maxima[at] = most([self._maxima[at], entry[2]])

    def _replace(self, start: int, end: int, *blocks: list[Entry]) -> None:
        self._blocks[start:end] = blocks
        self._lasts[start:end] = [block[-1] for block in blocks]
        self._maxima[start:end] = [_maxima(block) for block in blocks]
        self._stale[start:end] = [False] * len(blocks)


def _maxima(block: list[Entry]) -> int:
    """Return the most of each dimension, without the amounts that are negative in one."""
    return most([amount for _, _, amount in block if not amount & OVERDRAWN])
