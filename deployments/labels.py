"""The labels of deployments, and how a filter asks for them."""

from collections.abc import Iterable
from typing import NamedTuple

from django.db.models import Q

from clusters.labels import wrong_key, wrong_value

MAX_LABELS = 32


class Wanted(NamedTuple):
    """A label that deployments must have, with this value, or with None any value."""

    name: str
    value: str | None


def wanted(text: str) -> Wanted:
    """Return the label that `name=value` or `name` asks for. Raises ValueError with the remedy."""
    name, has_value, value = text.partition("=")
    problem = wrong_key(name) or (wrong_value(value) if has_value else None)
    if problem:
        raise ValueError(f"{problem} Write a label as `name=value`, or only its name.")
    return Wanted(name, value if has_value else None)


def condition(labels: Iterable[Wanted]) -> Q:
    """Return the condition for all of the names; of several values of one name, for any of them."""
    by_name: dict[str, Q] = {}
    for name, value in labels:
        one = Q(labels__has_key=name) if value is None else Q(labels__contains={name: value})
        by_name[name] = by_name.get(name, Q()) | one
    # PostgreSQL uses the index, which has only rows with labels, if the query says so.
    return Q(~Q(labels={}), *by_name.values())
