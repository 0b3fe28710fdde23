"""The three resources that deployments request and clusters have: columns, limits, quantities."""

import re
from fractions import Fraction
from math import ceil, isfinite

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

MAX_CPU_MILLI = 10**10
MAX_RAM_MIB = 2**40
MAX_GPU = 10**6

_MIB = 2**20
_RAM_UNITS = {
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50,
    "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15,
}  # fmt: skip
_QUANTITY = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?)([A-Za-z]*)")


class ResourceColumns(models.Model):
    """CPU in millicores, RAM in MiB, GPU in whole devices."""

    cpu_milli = models.PositiveBigIntegerField(
        "CPU (millicores)", validators=[MinValueValidator(1), MaxValueValidator(MAX_CPU_MILLI)]
    )
    ram_mib = models.PositiveBigIntegerField(
        "RAM (MiB)", validators=[MinValueValidator(1), MaxValueValidator(MAX_RAM_MIB)]
    )
    gpu = models.PositiveIntegerField("GPU", default=0, validators=[MaxValueValidator(MAX_GPU)])

    class Meta:
        abstract = True


def parse_cpu(value: object) -> int:
    """Return millicores for cores (`2`, `0.5`) or a Kubernetes quantity (`"500m"`).

    Raises ValueError with a message that describes what is accepted.
    """
    if type(value) is int and 0 < value <= MAX_CPU_MILLI // 1000:
        return value * 1000
    amount, unit = _read(value) or (Fraction(), None)
    if unit not in ("", "m"):
        raise ValueError('CPU must be in cores, such as 0.5, or a quantity such as "500m".')
    milli = amount if unit == "m" else amount * 1000
    if not 0 < milli <= MAX_CPU_MILLI:
        raise ValueError("CPU must be between 0.001 and 10000000 cores.")
    if milli.denominator != 1:
        raise ValueError(
            "CPU may have at most three decimals, because 0.001 cores, or 1m, is the smallest unit:"
            " round it."
        )
    return int(milli)


def parse_ram_mib(value: object) -> int:
    """Return MiB as `parse_mib` does."""
    return parse_mib(value, "RAM")


def parse_mib(value: object, what: str) -> int:
    """Return MiB for a number of MiB or a Kubernetes quantity (`"8Gi"`, `"500M"`), rounded up.

    Raises ValueError with a message that describes what is accepted, of `what`.
    """
    if type(value) is int and 0 < value <= MAX_RAM_MIB:
        return value
    amount, unit = _read(value) or (Fraction(), None)
    scale = _MIB if unit == "" and not isinstance(value, str) else _RAM_UNITS.get(unit or "")
    if scale is None or (unit == "" and amount.denominator != 1):
        raise ValueError(
            f"{what} must be a whole number of MiB, such as 8192, or a text with a unit, such as"
            ' "8Gi".'
        )
    mib = ceil(amount * scale / _MIB)
    if not 1 <= mib <= MAX_RAM_MIB:
        raise ValueError(f"{what} must be between 1 MiB and 1048576 TiB.")
    if (amount * 1000).denominator != 1:
        raise ValueError(
            f"{what} may have at most three decimals: round it, or use a smaller unit."
        )
    return mib


def cores(cpu_milli: int) -> int | float:
    """Return millicores as cores: whole ones as an integer."""
    whole, rest = divmod(cpu_milli, 1000)
    return cpu_milli / 1000 if rest else whole


def describe(cpu_milli: int, ram_mib: int, gpu: int) -> str:
    """Return the three amounts as text for people: `2 CPU, 8 GiB RAM, 1 GPU`."""
    ram = f"{ram_mib:,} MiB" if ram_mib % 1024 else f"{ram_mib // 1024:,} GiB"
    return f"{cores(cpu_milli):,} CPU, {ram} RAM, {gpu:,} GPU"


def _read(value: object) -> tuple[Fraction, str] | None:
    """Return amount and unit exactly as written, None if the value is not a quantity."""
    if isinstance(value, str):
        match = _QUANTITY.fullmatch(value)
        return (Fraction(match[1]), match[2]) if match else None
    if isinstance(value, float) and isfinite(value):
        # The shortest decimal that is this float: 0.1 is a tenth.
        return Fraction(repr(value)), ""
    if isinstance(value, int) and not isinstance(value, bool):
        return Fraction(value), ""
    return None
