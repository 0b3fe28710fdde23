"""What a process keeps of each organization, up to a limit."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """The latest value of each organization, for all threads of a process.

    `most` is the largest sum of the values' weights; each weighs 1 unless `weight` says otherwise.
    Beyond it, the values that were kept the longest ago are dropped.
    """

    def __init__(self, most: int, weight: Callable[[T], int] = lambda _: 1) -> None:
        self._most = most
        self._weight = weight
        self._values: OrderedDict[int, T] = OrderedDict()
        self._lock = Lock()

    def get(self, organization: int) -> T | None:
        with self._lock:
            return self._values.get(organization)

    def keep(self, values: Mapping[int, T]) -> None:
        """Keep these values, by organization."""
        with self._lock:
            self._values.update(values)
            for organization in values:
                self._values.move_to_end(organization)
            total = sum(map(self._weight, self._values.values()))
            while total > self._most:
                _, dropped = self._values.popitem(last=False)
                total -= self._weight(dropped)

    def drop(self, organization: int) -> None:
        with self._lock:
            self._values.pop(organization, None)

    def clear(self) -> None:
        with self._lock:
            self._values.clear()
