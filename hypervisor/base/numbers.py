"""Whole numbers in text from outside.

Python's `int` also accepts `1_000`, ` 1`, `+1` and the digits of every other script, and raises for
thousands of digits. This module accepts none of these.
"""

import re
from argparse import ArgumentTypeError

MAX = 10**18 - 1
"""The largest number that is read from text."""

_WHOLE = re.compile(r"-?[0-9]{1,18}")


def whole(text: str) -> int | None:
    """Return the text as a whole number of at most 18 digits, or None if it is not one."""
    return int(text) if _WHOLE.fullmatch(text) else None


def read_whole(text: str) -> int:
    """Return the text as a whole number. Raises ValueError with a sentence for people."""
    number = whole(text)
    if number is None:
        raise ValueError(f"{text!r} is not a whole number.")
    return number


def argument(text: str) -> int:
    """Read a whole number from the command line: the `type` of an option."""
    try:
        return read_whole(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def count(text: str) -> int:
    """Read a whole number of at least 0 from the command line: the `type` of an option."""
    number = argument(text)
    if number < 0:
        raise ArgumentTypeError(f"{text!r} is less than 0.")
    return number
