"""Amounts of CPU, RAM and GPU, such as a deployment's request or a cluster's capacity."""

from collections.abc import Mapping
from dataclasses import dataclass

_NAMES = {"cpu_milli": "CPU", "ram_mib": "RAM", "gpu": "GPU"}

DIMENSIONS = tuple(_NAMES)


@dataclass(frozen=True, slots=True)
class Resources:
    """CPU in millicores, RAM in MiB, GPU in devices; integers only, so that sums are exact."""

    cpu_milli: int
    ram_mib: int
    gpu: int

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(
            self.cpu_milli + other.cpu_milli, self.ram_mib + other.ram_mib, self.gpu + other.gpu
        )

    def __sub__(self, other: "Resources") -> "Resources":
        return Resources(
            self.cpu_milli - other.cpu_milli, self.ram_mib - other.ram_mib, self.gpu - other.gpu
        )

    def fits_in(self, free: "Resources") -> bool:
        return (
            self.cpu_milli <= free.cpu_milli
            and self.ram_mib <= free.ram_mib
            and self.gpu <= free.gpu
        )

    def missing_from(self, free: "Resources") -> dict[str, int]:
        """Return how much of each dimension is missing for this to fit; empty when it fits."""
        missing = {}
        if self.cpu_milli > free.cpu_milli:
            missing["cpu_milli"] = self.cpu_milli - free.cpu_milli
        if self.ram_mib > free.ram_mib:
            missing["ram_mib"] = self.ram_mib - free.ram_mib
        if self.gpu > free.gpu:
            missing["gpu"] = self.gpu - free.gpu
        return missing

    def to_json(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in DIMENSIONS}

    def __str__(self) -> str:
        return in_words(self.to_json())

    @property
    def positive(self) -> str:
        """Return the positive dimensions as text, as `in_words` does."""
        return _positive(self.cpu_milli, self.ram_mib, self.gpu)

    def short_of(self, free: "Resources") -> str:
        """Return what is missing for this to fit as text, as `in_words` does."""
        return _positive(
            self.cpu_milli - free.cpu_milli, self.ram_mib - free.ram_mib, self.gpu - free.gpu
        )


def quantity(dimension: str, amount: int) -> str:
    """Return an amount of one dimension without its name: `0.5` cores, `16 GiB`, `2` devices."""
    if dimension == "cpu_milli":
        return _cores(amount)
    if dimension == "ram_mib":
        return _mebibytes(amount)
    return f"{amount:,}"


def _cores(milli: int) -> str:
    cores, rest = divmod(milli, 1000)
    return f"{cores:,}.{rest:03}".rstrip("0") if rest else f"{cores:,}"


def _positive(cpu_milli: int, ram_mib: int, gpu: int) -> str:
    parts = []
    if cpu_milli > 0:
        parts.append(f"{_cores(cpu_milli)} CPU")
    if ram_mib > 0:
        parts.append(f"{_mebibytes(ram_mib)} RAM")
    if gpu > 0:
        parts.append(f"{gpu:,} GPU")
    return ", ".join(parts) or "nothing"


def _mebibytes(amount: int) -> str:
    return f"{amount:,} MiB" if amount % 1024 else f"{amount // 1024:,} GiB"


def in_words(amounts: Mapping[str, int]) -> str:
    """Return amounts by dimension as text for people: `4 CPU, 16 GiB RAM`; `nothing` without any.

    The same words as `clusters.resources.describe`, which the planner cannot import.
    """
    parts = [f"{quantity(name, amount)} {_NAMES[name]}" for name, amount in amounts.items()]
    return ", ".join(parts) or "nothing"


NOTHING = Resources(0, 0, 0)
