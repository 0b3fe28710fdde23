"""Whole numbers in text from outside.

Python's `int` also reads `1_000`, ` 1`, `+1` and the digits of every other script, and raises for
thousands of digits. None of these is meant as a number.
"""

import re
from argparse import ArgumentTypeError

_WHOLE = re.compile(r"-?[0-9]{1,18}")


def whole(text: str) -> int | None:
    """Return the whole number that the text is, or None; one of 64 bits at most."""
    return int(text) if _WHOLE.fullmatch(text) else None


def read_whole(text: str) -> int:
    """Return the whole number that the text is. Raises ValueError with a sentence."""
    number = whole(text)
    if number is None:
        raise ValueError(f"{text!r} is not a whole number.")
    return number


def argument(text: str) -> int:
    """Read a whole number from a command line: the `type` of an option."""
    try:
        return read_whole(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def count(text: str) -> int:
    """Read how many are meant from a command line: the `type` of an option."""
    number = argument(text)
    if number < 0:
        raise ArgumentTypeError(f"{text!r} is less than 0.")
    return number
