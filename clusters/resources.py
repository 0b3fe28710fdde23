"""The three resources that are requested and offered: columns, limits and quantities."""

import re
from decimal import ROUND_CEILING, Decimal, InvalidOperation

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
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)([A-Za-z]*)")


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

    Raises ValueError with a sentence that says what is accepted.
    """
    text = str(value).strip()
    milli = text.endswith("m") and isinstance(value, str)
    amount = _decimal(text[:-1] if milli else text, value)
    bounds = "CPU is between 0.001 and 10000000 cores."
    _bounded(amount, 0, MAX_CPU_MILLI, bounds)
    result = amount if milli else amount * 1000
    if result != result.to_integral_value():
        raise ValueError("CPU has at most three decimals: 0.001 core, or 1m, is the smallest unit.")
    return int(_bounded(result, 1, MAX_CPU_MILLI, bounds))


def parse_ram_mib(value: object) -> int:
    """Return MiB for an integer of MiB or a Kubernetes quantity (`"8Gi"`, `"500M"`), rounded up.

    Raises ValueError with a sentence that says what is accepted.
    """
    bounds = "RAM is from 1 MiB to 1048576 TiB."
    if isinstance(value, int) and not isinstance(value, bool):
        return int(_bounded(Decimal(value), 1, MAX_RAM_MIB, bounds))
    match = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    unit = _RAM_UNITS.get(match[2]) if match else None
    if match is None or unit is None:
        raise ValueError('RAM is a whole number of MiB, such as 8192, or a quantity such as "8Gi".')
    amount = _bounded(Decimal(match[1]), 0, MAX_RAM_MIB * _MIB, bounds)
    mib = (amount * unit / _MIB).to_integral_value(rounding=ROUND_CEILING)
    return int(_bounded(mib, 1, MAX_RAM_MIB, bounds))


def cores(cpu_milli: int) -> int | float:
    """Return millicores as cores: whole ones as an integer."""
    whole, rest = divmod(cpu_milli, 1000)
    return cpu_milli / 1000 if rest else whole


def describe(cpu_milli: int, ram_mib: int, gpu: int) -> str:
    """Return the three amounts as a person reads them."""
    ram = f"{ram_mib} MiB" if ram_mib % 1024 else f"{ram_mib // 1024} GiB"
    return f"{cores(cpu_milli)} CPU, {ram} RAM, {gpu} GPU"


def _decimal(text: str, value: object) -> Decimal:
    if isinstance(value, int | float | str | Decimal) and not isinstance(value, bool):
        try:
            amount = Decimal(text)
        except InvalidOperation:
            pass
        else:
            if amount.is_finite():
                return amount
    raise ValueError('CPU is a number of cores, such as 0.5, or a quantity, such as "500m".')


def _bounded(amount: Decimal, low: int, high: int, message: str) -> Decimal:
    """Return the amount; checked as a Decimal, as `int` of 1e999999999 would fill the memory."""
    if not low <= amount <= high:
        raise ValueError(message)
    return amount
