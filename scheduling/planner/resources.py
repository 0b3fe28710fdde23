"""Amounts of CPU, RAM and GPU, such as a deployment's request or a cluster's capacity."""

from dataclasses import dataclass

DIMENSIONS = ("cpu_milli", "ram_mib", "gpu")


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
        return {
            name: getattr(self, name) - getattr(free, name)
            for name in DIMENSIONS
            if getattr(self, name) > getattr(free, name)
        }

    def to_json(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in DIMENSIONS}

    def __str__(self) -> str:
        return ", ".join(in_words(name, amount) for name, amount in self.to_json().items())


def in_words(dimension: str, amount: int) -> str:
    """Return an amount of one dimension with its unit, such as `4 CPU` or `16 GiB RAM`."""
    if dimension == "cpu_milli":
        return f"{amount / 1000:g} CPU"
    if dimension == "ram_mib":
        return f"{amount} MiB RAM" if amount % 1024 else f"{amount // 1024} GiB RAM"
    return f"{amount} GPU"


NOTHING = Resources(0, 0, 0)
