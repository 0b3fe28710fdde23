"""Waits in steps of a fifth: few numbers that can be added up, and quantiles within that."""

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from math import ceil, log

_STEP = 1.2
_HIGHEST = 90
"""The last step ends after five months."""


def histogram(seconds: Iterable[float]) -> list[int]:
    """Return how many lie in each step: the n-th ends at 1.2 to the n seconds."""
    counts = [0] * (_HIGHEST + 1)
    for value in seconds:
        counts[min(ceil(log(value, _STEP)), _HIGHEST) if value > 1 else 0] += 1
    return without_idle_end(counts)


def merge(histograms: Iterable[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip_longest(*histograms, fillvalue=0)]


def added_up(column: str) -> str:
    """Return SQL that adds a column of histograms up, to as many numbers as there are steps."""
    return ", ".join(f"sum({column}[{step + 1}])" for step in range(_HIGHEST + 1))


def without_idle_end(counts: Iterable[int | None]) -> list[int]:
    """Return the counts, those that are missing as 0, up to the last that is not."""
    full = [int(count or 0) for count in counts]
    while full and not full[-1]:
        full.pop()
    return full


def quantile(counts: Sequence[int], part: float) -> float | None:
    """Return the end of the step in which the quantile lies, in seconds; None of nothing."""
    left = part * sum(counts)
    if not left:
        return None
    for step, count in enumerate(counts):
        left -= count
        if left <= 0:
            return float(_STEP**step)
    return float(_STEP ** (len(counts) - 1))
