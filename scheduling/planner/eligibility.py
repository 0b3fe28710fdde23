"""Find the nodes on which each deployment may run, and which deployments are interchangeable."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import overload

from scheduling.planner.requirements import Requirement
from scheduling.planner.resources import DIMENSIONS, Resources
from scheduling.planner.snapshot import Bin, Deployment

_FEW = 64  # nodes up to which a tuple has them
Class = tuple[int | None, tuple[Requirement, ...]]


class Nodes(Sequence[int]):
    """Many nodes, in ascending order, as one bit each: different requests have different ones."""

    __slots__ = ("__dict__", "_bits")

    def __init__(self, bits: int) -> None:
        self._bits = bits

    def __contains__(self, c: object) -> bool:
        return isinstance(c, int) and c >= 0 and self._bits >> c & 1 == 1

    def __len__(self) -> int:
        return self._bits.bit_count()

    def __iter__(self) -> Iterator[int]:
        return iter(self._members)

    @overload
    def __getitem__(self, at: int) -> int: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[int, ...]: ...
    def __getitem__(self, at: int | slice) -> int | tuple[int, ...]:
        return self._members[at]

    @cached_property
    def _members(self) -> tuple[int, ...]:
        return _members(self._bits)


class Eligibility:
    """The eligible nodes of deployments, each added with its packed request, in their order.

    Deployments with the same requested cluster and required labels are a class. `kinds` number the
    distinct combinations of class and request. `admitted`, `pool` and `eligible` are as in
    `Problem`; those that are equal are one object.
    """

    def __init__(self, bins: Sequence[Bin], is_open: Sequence[bool]) -> None:
        self._bins = bins
        self._open = is_open
        self._classes: dict[Class, _Class] = {}
        self._class_of: list[_Class] = []  # by kind, as the next one
        self._eligible_of: list[Sequence[int]] = []
        self.kinds: list[int] = []

    def add(self, deployments: Sequence[Deployment], requests: Sequence[int]) -> None:
        classes, class_of, eligible_of = self._classes, self._class_of, self._eligible_of
        for d, request in zip(deployments, requests, strict=True):
            class_ = classes.get((d.requested_cluster, d.require)) or self._class(d)
            kind = class_.kinds.get(request)
            if kind is None:
                kind = class_.kinds[request] = len(class_of)
                class_of.append(class_)
                eligible_of.append(class_.eligible(d.request))
            self.kinds.append(kind)

    def nodes(self, kind: int) -> tuple[tuple[int, ...], tuple[int, ...], Sequence[int]]:
        """Return the nodes that admit the deployments of a kind, those that are open, and those
        that are also large enough.
        """
        class_ = self._class_of[kind]
        return class_.admitted, class_.pool, self._eligible_of[kind]

    def admit(self, d: Deployment) -> tuple[int, ...]:
        """Return the nodes that admit the deployment."""
        return self._class(d).admitted

    def is_eligible(self, d: Deployment) -> bool:
        """Return whether an open node is large enough for the deployment."""
        return bool(self._class(d).eligible(d.request))

    def are_all_eligible(self, d: Deployment, request: Resources) -> bool:
        """Return whether all open nodes that admit the deployment can hold a request."""
        return self._class(d).is_small(request)

    @property
    def admitted(self) -> list[tuple[int, ...]]:
        found = [class_.admitted for class_ in self._class_of]
        return [found[kind] for kind in self.kinds]

    @property
    def pool(self) -> list[tuple[int, ...]]:
        found = [class_.pool for class_ in self._class_of]
        return [found[kind] for kind in self.kinds]

    @property
    def eligible(self) -> list[Sequence[int]]:
        return [self._eligible_of[kind] for kind in self.kinds]

    def _class(self, d: Deployment) -> "_Class":
        known = self._classes.get((d.requested_cluster, d.require))
        if known is None:
            admitted = tuple([c for c, bin_ in enumerate(self._bins) if d.admits(bin_)])
            known = _Class(self._bins, self._open, admitted)
            self._classes[d.requested_cluster, d.require] = known
        return known


class _Class:
    """The nodes that admit the deployments of one class, and those of them that are open.

    Of each dimension it keeps for each amount the nodes with that capacity or more, so that those
    that are large enough for a request are the intersection of three sets, without a look at each
    node (an inverted index with bitmaps; O'Neil and Quass, *Improved Query Performance with Variant
    Indexes*, SIGMOD '97).
    """

    def __init__(
        self, bins: Sequence[Bin], is_open: Sequence[bool], admitted: tuple[int, ...]
    ) -> None:
        self.admitted = admitted
        self.pool = tuple([c for c in admitted if is_open[c]])
        self.kinds: dict[int, int] = {}
        self._by_amount = [
            _with_at_least([(getattr(bins[c].capacity, name), c) for c in self.pool])
            for name in DIMENSIONS
        ]
        self._smallest = Resources(
            *[amounts[0] if amounts else 0 for amounts, _ in self._by_amount]
        )
        few, bits = len(self.pool) <= _FEW, sum([1 << c for c in self.pool])
        self._all: Sequence[int] = self.pool if few else Nodes(bits)
        self._known: dict[int, Sequence[int]] = {bits: self._all}

    def is_small(self, request: Resources) -> bool:
        """Return whether every open node is large enough for the request."""
        return request.fits_in(self._smallest)

    def eligible(self, request: Resources) -> Sequence[int]:
        """Return the open nodes that are large enough for the request."""
        if self.is_small(request):
            return self._all
        bits = -1
        for (amounts, sets), name in zip(self._by_amount, DIMENSIONS, strict=True):
            bits &= sets[bisect_left(amounts, getattr(request, name))]
        known = self._known.get(bits)
        if known is None:
            few = bits.bit_count() <= _FEW
            known = self._known[bits] = _members(bits) if few else Nodes(bits)
        return known


def _with_at_least(nodes: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Return the amounts in ascending order, and for each the nodes that have as much, as bits.

    The sets are followed by the empty one.
    """
    amounts, sets, bits = list[int](), [0], 0
    for amount, c in sorted(nodes, reverse=True):
        bits |= 1 << c
        if amounts and amounts[-1] == amount:
            sets[-1] = bits
        else:
            amounts.append(amount)
            sets.append(bits)
    return amounts[::-1], [*sets[:0:-1], 0]


def _members(bits: int) -> tuple[int, ...]:
    return tuple([c for c, bit in enumerate(f"{bits:b}"[::-1]) if bit == "1"])
