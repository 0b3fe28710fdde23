"""The thresholds that the rules of a plan refer to; no behaviour."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any


class Order(StrEnum):
    """How those of one level queue: the smallest first, or the longest waiting first."""

    MOST = "most"
    FIFO = "fifo"


class Backfill(StrEnum):
    """Who of the same or lower priority may use held room: who is known to end in time, or also
    who is lower and can be evicted when the room is ready.
    """

    ENDING = "ending"
    EVICTABLE = "evictable"


_CHOICES: dict[str, type[StrEnum]] = {"order": Order, "backfill": Backfill}


@dataclass(frozen=True, slots=True)
class Policy:
    """Times in seconds, the gap in steps of priority.

    `min_run_seconds`: one placed for less is not evicted. `preemption_budget`: nor is one that was
    evicted so many times already, except for a priority higher by `budget_override_gap` or more.
    `starvation_seconds`: one that waited longer goes before its level and has room held for it,
    which others may use as `backfill` says.
    """

    min_run_seconds: int = 0
    preemption_budget: int = 3
    budget_override_gap: int = 50
    starvation_seconds: int = 900
    order: str = Order.MOST.value
    backfill: str = Backfill.EVICTABLE.value

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            choices = _CHOICES.get(field.name)
            if choices:
                if value not in tuple(choices):
                    known = ", ".join(choices)
                    raise ValueError(f"policy.{field.name}: {value!r} is not one of {known}")
            elif isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"policy.{field.name}: {value!r} is not a whole number >= 0")

    @classmethod
    def from_mapping(cls, settings: Mapping[str, Any]) -> "Policy":
        """Build from names and values; raises ValueError that names what it does not know."""
        unknown = sorted(set(settings) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"policy.{unknown[0]}: no such setting")
        return cls(**settings)
