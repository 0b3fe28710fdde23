"""The demo that an operator started from a page: whether it is being filled, or why it failed."""

from dataclasses import dataclass

from django.core.cache import cache

_KEY = "demo.progress"
_LONGEST_S = 300
"""After this long without an end, the worker was probably killed."""


@dataclass(frozen=True, slots=True)
class Progress:
    """`error` is empty while the demo is being filled."""

    error: str = ""


def begin() -> bool:
    """Record that the demo is being filled; return whether nobody had begun before."""
    if (former := read()) and former.error:
        end()
    return bool(cache.add(_KEY, "", _LONGEST_S))


def fail(error: str) -> None:
    cache.set(_KEY, error, _LONGEST_S)


def end() -> None:
    cache.delete(_KEY)


def read() -> Progress | None:
    error = cache.get(_KEY)
    return None if error is None else Progress(error)
