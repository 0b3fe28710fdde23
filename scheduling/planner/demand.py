"""What deployments request: how much of it, and which requests make up most of it."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from heapq import nlargest, nsmallest
from itertools import chain
from typing import NamedTuple

from scheduling.planner.packed import pack
from scheduling.planner.snapshot import Deployment

Class = tuple[int | None, object]
"""A requested cluster and required labels."""


class Demand:
    """The packed requests of some deployments by their GPUs, and by the deployments' ids."""

    def __init__(self, by_gpus: Mapping[int, Mapping[int, int]]) -> None:
        self.by_gpus = by_gpus

    @classmethod
    def of(cls, deployments: Iterable[Deployment]) -> "Demand":
        by_gpus: defaultdict[int, dict[int, int]] = defaultdict(dict)
        for d in deployments:
            by_gpus[d.request.gpu][d.id] = pack(d.request)
        return cls(by_gpus)

    @cached_property
    def counts(self) -> Counter[int]:
        """How many deployments make each request."""
        return Counter(chain.from_iterable([each.values() for each in self.by_gpus.values()]))

    def changed(self, removed: Collection[int], added: Sequence[Deployment]) -> "Demand":
        """Return the demand without the deployments with these ids, and with others."""
        by_gpus = defaultdict(dict, {number: {**each} for number, each in self.by_gpus.items()})
        for each in by_gpus.values():
            for pk in removed:
                each.pop(pk, None)
        for d in added:
            by_gpus[d.request.gpu][d.id] = pack(d.request)
        return Demand(by_gpus)


class Heavy(NamedTuple):
    """The last deployment, by its id, of a kind of request, and the GPUs of the whole kind.

    Requests are of one kind if they are equal and their deployments are of one class.
    """

    weight: int
    deployment: int


class _Part(NamedTuple):
    """The requests of a class with the same number of GPUs, counted."""

    gpus: int
    requests: Sequence[Mapping[int, int]]
    counts: Counter[int]
    most: int

    @property
    def weight(self) -> int:
        """The GPUs of the heaviest kind."""
        return self.gpus * self.most

    def at_least(self, weight: int) -> list[tuple[int, int]]:
        """Return the negated weights of the kinds that have this weight or more, and the last
        deployment of each.
        """
        found = {r: n * self.gpus for r, n in self.counts.items() if n * self.gpus >= weight}
        last: dict[int, int] = {}
        for requests in self.requests:
            for pk, request in requests.items():
                if request in found and pk > last.get(request, -1):
                    last[request] = pk
        return [(-weight, last[request]) for request, weight in found.items()]


def heaviest(demands: Iterable[tuple[Class, Demand]], number: int) -> list[Heavy]:
    """Return the kinds of requests with the most GPUs, up to `number` of them.

    Of kinds with as many GPUs, the one whose last deployment has the lower id comes first.
    """
    parts = sorted(_parts(demands), key=lambda part: -part.weight)
    weights: list[int] = []
    for part in parts:
        if len(weights) == number and part.weight < weights[-1]:
            break
        here = nlargest(number, part.counts.values())
        weights = nlargest(number, [*weights, *(count * part.gpus for count in here)])
    least = weights[-1] if weights else 0
    found = [each for part in parts if part.weight >= least for each in part.at_least(least)]
    return [Heavy(-negated, deployment) for negated, deployment in nsmallest(number, found)]


def _parts(demands: Iterable[tuple[Class, Demand]]) -> Iterable[_Part]:
    by_class: defaultdict[tuple[Class, int], list[Mapping[int, int]]] = defaultdict(list)
    for class_, demand in demands:
        for number, requests in demand.by_gpus.items():
            if number and requests:
                by_class[class_, number].append(requests)
    for (_, number), several in by_class.items():
        counts = Counter(chain.from_iterable([each.values() for each in several]))
        yield _Part(number, several, counts, max(counts.values()))
