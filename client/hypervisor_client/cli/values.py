"""Values of options; argparse names the option in the error of a wrong one."""

from __future__ import annotations

from argparse import ArgumentTypeError


def positive(text: str) -> int:
    """Return a whole number from 1."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def limit(text: str) -> int | None:
    """Return a whole number from 1, None for `none`."""
    return None if text == "none" else positive(text)


def count(text: str) -> int:
    """Return a whole number from 0."""
    if not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def amount(text: str) -> str:
    """Return an amount such as `500m`, which the service reads. It has to be positive."""
    if not text or text[0] == "-" or not text.strip("0."):
        raise ArgumentTypeError(f"{text!r} is not a positive amount")
    return text


def seconds(text: str) -> float:
    """Return a time span in seconds."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise ArgumentTypeError(f"{text!r} is not a number of seconds from 0")
    return found
