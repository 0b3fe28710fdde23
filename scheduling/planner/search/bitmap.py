"""Find out whether a request fits on any of many nodes, by a few operations on sets of bits.

For some thresholds of each dimension, a bitmap has the nodes with that amount or more, as one bit
each. The intersection of three of these sets contains all nodes on which a request fits, and few
others (O'Neil and Quass, *Improved Query Performance with Variant Indexes*, SIGMOD '97). It has no
order: where that matters, there is an `Index`.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import or_

from scheduling.planner.scale import Scale, Steps


class Bitmap:
    """The nodes of a set by an amount, packed, of each.

    `_sets` has for each dimension and each step the nodes that reach it, of which those of step 0
    are not used. `seen` is the number of changes of an attempt that it contains.
    """

    def __init__(self, scale: Scale, amounts: Iterable[tuple[int, int]], seen: int) -> None:
        self._scale = scale
        self._known = scale.known
        self._reached = {c: scale.reached(amount) for c, amount in amounts}
        self._sets = [
            self._by_step(dimension, len(thresholds))
            for dimension, thresholds in enumerate(scale.thresholds)
        ]
        self.seen = seen

    def may_fit(self, request: int) -> int:
        """Return the nodes on which the request fits, and perhaps others, as one bit each."""
        cpu, ram, gpu = self._known.get(request) or self._scale.steps(request)
        cpus, rams, gpus = self._sets
        return cpus[cpu] & rams[ram] & gpus[gpu]

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
