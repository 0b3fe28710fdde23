"""Find out whether a request fits on any of many nodes, by a few operations on sets of bits.

For some thresholds of each dimension, a bitmap has the nodes with that amount or more, as one bit
each. The intersection of three of these sets contains all nodes on which a request fits, and few
others (O'Neil and Quass, *Improved Query Performance with Variant Indexes*, SIGMOD '97). It has no
order: where that matters, there is an `Index`.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from operator import or_

from scheduling.planner.scale import Scale, Steps


class Bitmap:
    """The nodes of a set by an amount, packed, of each.

    `_sets` has for each dimension and each step the nodes that reach it, of which those of step 0
    are not used. `seen` is the number of changes of an attempt that it contains. `may_fit` returns
    the nodes on which a request fits, and perhaps others, as one bit each.
    """

    def __init__(self, scale: Scale, amounts: Iterable[tuple[int, int]], seen: int) -> None:
        self._scale = scale
        self._reached = {c: scale.reached(amount) for c, amount in amounts}
        self._sets = [
            self._by_step(dimension, len(thresholds))
            for dimension, thresholds in enumerate(scale.thresholds)
        ]
        self.may_fit = _intersection(scale, *self._sets)
        self.seen = seen

    def follow(self, changed: Sequence[int], free: Sequence[int], load: Sequence[int]) -> None:
        """Take over the changes that are new in the list of all nodes that have changed."""
        for c in set(changed[self.seen :]):
            if c in self._reached:
                self._update(c, self._scale.reached(free[c] - load[c]))
        self.seen = len(changed)

    def _update(self, c: int, reached: Steps) -> None:
        bit = 1 << c
        for sets, before, after in zip(self._sets, self._reached[c], reached, strict=True):
            for step in range(before + 1, after + 1):
                sets[step] |= bit
            for step in range(after + 1, before + 1):
                sets[step] ^= bit
        self._reached[c] = reached

    def _by_step(self, dimension: int, number: int) -> list[int]:
        reaching = [0] * (number + 1)
        for c, steps in self._reached.items():
            reaching[steps[dimension]] |= 1 << c
        return list(accumulate(reversed(reaching), or_))[::-1]


def _intersection(
    scale: Scale, cpus: list[int], rams: list[int], gpus: list[int]
) -> Callable[[int], int]:
    """Return a function, which takes half the time of a method: it is called for each victim."""
    known, steps = scale.known, scale.steps

    def may_fit(request: int) -> int:
        cpu, ram, gpu = known.get(request) or steps(request)
        return gpus[gpu] & cpus[cpu] & rams[ram]

    return may_fit
