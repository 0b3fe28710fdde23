"""Histograms of waits in steps of 20%: short, additive, and good for quantiles to within a step."""

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from math import ceil, log

_STEP = 1.2
_HIGHEST = 90
"""The last step ends after five months."""


def histogram(seconds: Iterable[float]) -> list[int]:
    """Return the count of each step: step n ends at 1.2 to the n seconds."""
    counts = [0] * (_HIGHEST + 1)
    for value in seconds:
        counts[min(ceil(log(value, _STEP)), _HIGHEST) if value > 1 else 0] += 1
    return without_trailing_zeros(counts)


def merge(histograms: Iterable[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip_longest(*histograms, fillvalue=0)]


def added_up(column: str, steps: int = _HIGHEST + 1) -> str:
    """Return SQL that adds up a column of histograms of at most `steps`, into one number each."""
    return ", ".join(f"sum({column}[{step + 1}])" for step in range(steps))


def without_trailing_zeros(counts: Iterable[int | None]) -> list[int]:
    """Return the counts up to the last that is not zero, with None as 0."""
    full = [int(count or 0) for count in counts]
    while full and not full[-1]:
        full.pop()
    return full


def quantile(counts: Sequence[int], part: float) -> float | None:
    """Return the end of the quantile's step in seconds, or None if the histogram is empty."""
    left = part * sum(counts)
    if not left:
        return None
    for step, count in enumerate(counts):
        left -= count
        if left <= 0:
            return float(_STEP**step)
    return float(_STEP ** (len(counts) - 1))
