"""Amounts of the three resources that a node or a cluster has."""

from collections.abc import Iterable
from dataclasses import dataclass
from operator import ge
from typing import Protocol

from clusters.models import DIMENSIONS
from clusters.resources import ResourceColumns, describe


class Amounts(Protocol):
    """A row with the three amounts, such as a node or a run."""

    @property
    def cpu_milli(self) -> int: ...
    @property
    def ram_mib(self) -> int: ...
    @property
    def gpu(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Capacity:
    """CPU in millicores, RAM in MiB, GPU in devices."""

    cpu_milli: int
    ram_mib: int
    gpu: int

    @classmethod
    def of(cls, row: Amounts) -> "Capacity":
        """Return the capacity of a cluster or a node, or the request of a run."""
        return cls(row.cpu_milli, row.ram_mib, row.gpu)

    @classmethod
    def allocated_on(cls, row: ResourceColumns) -> "Capacity":
        """Return what is allocated; needs a row of `with_allocated()`."""
        return cls(*(getattr(row, f"allocated_{name}") for name in DIMENSIONS))

    @classmethod
    def free_on(cls, row: ResourceColumns) -> "Capacity":
        """Return what is free; needs a row of `with_allocated()`."""
        return cls.of(row) - cls.allocated_on(row)

    @classmethod
    def total(cls, parts: Iterable["Capacity"]) -> "Capacity":
        return sum(parts, NOTHING)

    def __add__(self, other: "Capacity") -> "Capacity":
        pairs = zip(self.amounts(), other.amounts(), strict=True)
        return Capacity(*(mine + its for mine, its in pairs))

    def __sub__(self, other: "Capacity") -> "Capacity":
        pairs = zip(self.amounts(), other.amounts(), strict=True)
        return Capacity(*(mine - its for mine, its in pairs))

    def amounts(self) -> tuple[int, int, int]:
        return self.cpu_milli, self.ram_mib, self.gpu

    def by_size(self) -> tuple[int, int, int]:
        """Return the amounts in the order in which capacities are compared: GPU, RAM, CPU."""
        return self.gpu, self.ram_mib, self.cpu_milli

    def columns(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in DIMENSIONS}

    def holds(self, other: "Capacity") -> bool:
        """Return whether the other amounts fit, in each dimension."""
        return all(map(ge, self.amounts(), other.amounts()))

    def __str__(self) -> str:
        return describe(*self.amounts())


NOTHING = Capacity(0, 0, 0)
