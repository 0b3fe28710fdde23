"""Find the nodes on which each deployment may run, and which deployments are interchangeable."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import overload

from scheduling.planner.requirements import Operator, Requirement
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
        self._index = _Index(bins)
        self._admitted: dict[int, _Admitted] = {}
        self._classes: dict[Class, _Class] = {}
        self._admitted_of: list[_Admitted] = []  # by kind, as the next one
        self._eligible_of: list[Sequence[int]] = []
        self.kinds: list[int] = []

    def add(self, deployments: Sequence[Deployment], requests: Sequence[int]) -> None:
        classes, admitted_of, eligible_of = self._classes, self._admitted_of, self._eligible_of
        for d, request in zip(deployments, requests, strict=True):
            class_ = classes.get((d.requested_cluster, d.require)) or self._class(d)
            kind = class_.kinds.get(request)
            if kind is None:
                kind = class_.kinds[request] = len(admitted_of)
                admitted_of.append(class_.nodes)
                eligible_of.append(class_.nodes.eligible(d.request))
            self.kinds.append(kind)

    def nodes(self, kind: int) -> tuple[tuple[int, ...], tuple[int, ...], Sequence[int]]:
        """Return the nodes that admit the deployments of a kind, those that are open, and those
        that are also large enough.
        """
        nodes = self._admitted_of[kind]
        return nodes.admitted, nodes.pool, self._eligible_of[kind]

    def admit(self, d: Deployment) -> tuple[int, ...]:
        """Return the nodes that admit the deployment."""
        return self._class(d).nodes.admitted

    def is_eligible(self, d: Deployment) -> bool:
        """Return whether an open node is large enough for the deployment."""
        return bool(self._class(d).nodes.eligible(d.request))

    def are_all_eligible(self, d: Deployment, request: Resources) -> bool:
        """Return whether all open nodes that admit the deployment can hold a request."""
        return self._class(d).nodes.is_small(request)

    @property
    def admitted(self) -> list[tuple[int, ...]]:
        found = [nodes.admitted for nodes in self._admitted_of]
        return [found[kind] for kind in self.kinds]

    @property
    def pool(self) -> list[tuple[int, ...]]:
        found = [nodes.pool for nodes in self._admitted_of]
        return [found[kind] for kind in self.kinds]

    @property
    def eligible(self) -> list[Sequence[int]]:
        return [self._eligible_of[kind] for kind in self.kinds]

    def _class(self, d: Deployment) -> "_Class":
        known = self._classes.get((d.requested_cluster, d.require))
        if known is None:
            known = _Class(self._nodes(self._index.admitting(d)))
            self._classes[d.requested_cluster, d.require] = known
        return known

    def _nodes(self, bits: int) -> "_Admitted":
        known = self._admitted.get(bits)
        if known is None:
            known = self._admitted[bits] = _Admitted(self._bins, self._open, _members(bits))
        return known


class _Index:
    """The nodes of each cluster and with each value of a label, as one bit each, so that finding
    those that admit a deployment takes no look at each node.
    """

    def __init__(self, bins: Sequence[Bin]) -> None:
        self._bins = bins
        self._all = (1 << len(bins)) - 1
        self._holding: dict[Requirement, int] = {}

    def admitting(self, d: Deployment) -> int:
        """Return the nodes on which the deployment may run, as `Deployment.admits` says."""
        bits = self._all if d.requested_cluster is None else self._of_cluster(d.requested_cluster)
        for requirement in d.require:
            known = self._holding.get(requirement)
            if known is None:
                known = self._holding[requirement] = self._where_holds(requirement)
            bits &= known
        return bits

    def _of_cluster(self, cluster: int) -> int:
        return self._by_cluster.get(cluster, 0)

    def _where_holds(self, requirement: Requirement) -> int:
        found = self._by_label.get(requirement.label, {})
        are_named = requirement.operator in (Operator.IN, Operator.NOT_IN)
        bits = 0
        for value in requirement.values if are_named else found:
            bits |= found.get(value, 0)
        is_wanted = requirement.operator in (Operator.IN, Operator.EXISTS)
        return bits if is_wanted else self._all & ~bits

    @cached_property
    def _by_cluster(self) -> Mapping[int, int]:
        found: dict[int, int] = defaultdict(int)
        for c, bin_ in enumerate(self._bins):
            found[bin_.cluster.id] |= 1 << c
        return found

    @cached_property
    def _by_label(self) -> Mapping[str, Mapping[str, int]]:
        found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for c, bin_ in enumerate(self._bins):
            for label, value in bin_.node.labels.items():
                found[label][value] |= 1 << c
        return found


@dataclass(frozen=True, slots=True)
class _Class:
    """The nodes that admit the deployments of one class, and its kinds by packed request."""

    nodes: "_Admitted"
    kinds: dict[int, int] = field(default_factory=dict)


class _Admitted:
    """Nodes that admit the deployments of some classes, and those of them that are open.

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
