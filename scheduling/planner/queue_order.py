"""The order in which a plan considers the ready deployments, as it is read."""

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import overload


@dataclass(frozen=True, slots=True)
class ServedLevel:
    """The ids of the ready deployments of one priority, which `ordered` returns in order."""

    ids: Set[int]
    ordered: Callable[[], list[int]]


class Served(Sequence[int]):
    """The ids of the ready deployments in the order in which a plan considers them.

    `levels` returns them from the highest priority down. Each is put in order when first read, so
    the position of one deployment among many costs the order of its own level, and the first ones
    cost that of the first levels.
    """

    def __init__(self, levels: Callable[[], Sequence[ServedLevel]] = tuple) -> None:
        self._find = levels
        self._found: dict[int, list[int]] = {}

    @cached_property
    def _levels(self) -> Sequence[ServedLevel]:
        return self._find()

    def position(self, deployment: int) -> int | None:
        """Return the position of a deployment, counted from 1; None if it is not ready."""
        before = 0
        for number, level in enumerate(self._levels):
            if deployment in level.ids:
                return before + self._ordered(number).index(deployment) + 1
            before += len(level.ids)
        return None

    @overload
    def __getitem__(self, position: int) -> int: ...
    @overload
    def __getitem__(self, position: slice) -> list[int]: ...
    def __getitem__(self, position: int | slice) -> int | list[int]:
        if isinstance(position, int):
            return next(islice(self, range(len(self))[position], None))
        wanted = range(len(self))[position]
        if wanted.step != 1:
            return [*self][position]
        return [pk for _, pk in self.numbered(None, wanted.start, wanted.stop)]

    def numbered(
        self, among: Set[int] | None = None, first: int = 0, last: int | None = None
    ) -> Iterator[tuple[int, int]]:
        """Yield positions, counted from 1, and ids of these deployments, or of all.

        Of those only the ones from number `first` up to, but not including, `last`.
        """
        before = passed = 0
        if among is not None:
            last = len(among) if last is None else min(last, len(among))
        for number, level in enumerate(self._levels):
            if last is not None and passed >= last:
                return
            count = len(level.ids if among is None else level.ids & among)
            if count and passed + count > first:
                ordered = enumerate(self._ordered(number), start=before + 1)
                chosen = (one for one in ordered if among is None or one[1] in among)
                end = None if last is None else last - passed
                yield from islice(chosen, max(first - passed, 0), end)
            passed += count
            before += len(level.ids)

    def __len__(self) -> int:
        return sum(len(level.ids) for level in self._levels)

    def __iter__(self) -> Iterator[int]:
        for number in range(len(self._levels)):
            yield from self._ordered(number)

    def _ordered(self, number: int) -> list[int]:
        if number not in self._found:
            self._found[number] = self._levels[number].ordered()
        return self._found[number]
