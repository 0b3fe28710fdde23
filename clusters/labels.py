"""The names and the labels of nodes, in the form that Kubernetes allows."""

import re
from collections.abc import Mapping
from typing import Any

MAX_LABELS = 64
MAX_NAME = 253
MAX_VALUE = 63

NAME = r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?"
VALUE = r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?"
"""Patterns of a node's name and of a label's value."""

_NAME = re.compile(NAME)
_KEY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,251}[A-Za-z0-9])?")
_VALUE = re.compile(VALUE)


def wrong_name(name: str) -> str | None:
    """Return what is wrong with a node's name, None if nothing is."""
    if len(name) <= MAX_NAME and _NAME.fullmatch(name):
        return None
    return (
        f"A node's name has at most {MAX_NAME} lower-case letters, digits, `-` and `.`, and"
        " begins and ends with a letter or a digit."
    )


def name_like(text: str) -> str:
    """Return the text in the form of a node's name: `Rack 1` becomes `rack-1`."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return name[:63].strip("-") or "node"


def wrong_key(key: Any) -> str | None:
    """Return what is wrong with a label's name, None if nothing is."""
    if isinstance(key, str) and _KEY.fullmatch(key):
        return None
    return (
        f"{key!r} is not a label's name: use at most 253 letters, digits and `. _ / -`, beginning"
        " and ending with a letter or a digit."
    )


def wrong_value(value: Any) -> str | None:
    """Return what is wrong with a label's value, None if nothing is."""
    if isinstance(value, str) and _VALUE.fullmatch(value):
        return None
    return (
        f"{value!r} is not a label's value: give a text of at most 63 letters, digits and `. _ -`,"
        " beginning and ending with a letter or a digit."
    )


def problems(labels: Mapping[Any, Any]) -> dict[str, list[str]]:
    """Return what is wrong with each label, by its name."""
    found = {str(key): wrong_key(key) or wrong_value(value) for key, value in labels.items()}
    return {key: [problem] for key, problem in found.items() if problem}
