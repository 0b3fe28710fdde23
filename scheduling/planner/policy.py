"""The thresholds of the rules: each is one field of `Policy`.

The table of settings, the replay form, `--set NAME=VALUE` and a snapshot's JSON form are made from
these fields, so that a new threshold needs no other declaration.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Self, TypeVar

_V = TypeVar("_V", int, str)

_WEEK = 7 * 24 * 3600


class Unit(StrEnum):
    """What the number of a threshold counts."""

    SECONDS = "seconds"
    EVICTIONS = "evictions"
    STEPS = "steps of priority"
    PERCENT = "percent"


class Order(StrEnum):
    """Which deployment of a level goes first: the smallest, or the longest waiting."""

    MOST = "most"
    FIFO = "fifo"


class Backfill(StrEnum):
    """Which deployments of the same or a lower priority may use reserved capacity.

    Only deployments that end in time, or also deployments of a lower priority that can be evicted
    when the reservation's holder starts.
    """

    ENDING = "ending"
    EVICTABLE = "evictable"


@dataclass(frozen=True, slots=True)
class Threshold:
    """How a field of a policy is named, explained and checked.

    `setting` is its name in the environment, `meaning` a sentence in Markdown. `unit` is what a
    number counts, or the enum of the choices; the bounds of a number are inclusive. `replayable`:
    the plan of a recorded snapshot depends on it; any other threshold applies before the snapshot
    is read or after the plan is made.
    """

    name: str
    setting: str
    default: int | str
    meaning: str
    unit: Unit | type[StrEnum]
    at_least: int
    at_most: int | None
    replayable: bool

    @property
    def choices(self) -> tuple[str, ...]:
        """Return the allowed values; empty if it is a number."""
        return () if isinstance(self.unit, Unit) else tuple(each.value for each in self.unit)

    @property
    def label(self) -> str:
        words = self.name.removesuffix("_seconds").replace("_", " ").capitalize()
        return f"{words} ({self.unit})" if isinstance(self.unit, Unit) else words

    @property
    def allowed(self) -> str:
        """Return which values are allowed, such as "a whole number of seconds, at least 0"."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        bounds = f"at least {self.at_least}"
        if self.at_most is not None:
            bounds = f"from {self.at_least} to {self.at_most}"
        return f"a whole number of {self.unit}, {bounds}"

    def check(self, value: object) -> None:
        """Raise ValueError, which names the field and the allowed values, if this is not one."""
        if not self._allows(value):
            raise ValueError(f"policy.{self.name}: {value!r} is not {self.allowed}")

    def _allows(self, value: object) -> bool:
        if self.choices:
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, int):
            return False
        return self.at_least <= value and (self.at_most is None or value <= self.at_most)


def threshold(
    default: _V,
    unit: Unit | type[StrEnum],
    meaning: str,
    *,
    at_least: int = 0,
    at_most: int | None = None,
    setting: str = "",
    replayable: bool = True,
) -> _V:
    """Declare a field of a policy: see `Threshold`. By default its setting is SCHEDULER_<NAME>."""
    about = {
        "setting": setting, "meaning": meaning, "unit": unit, "at_least": at_least,
        "at_most": at_most, "replayable": replayable,
    }  # fmt: skip
    return field(default=default, metadata=about)


@dataclass(frozen=True, slots=True)
class Policy:
    """The value of every threshold.

    Raises ValueError, which names the field and the allowed values, if a value is not allowed.
    """

    order: str = threshold(
        Order.MOST.value,
        Order,
        "Order within a level: the smallest share first (`most`), or the longest wait first"
        " (`fifo`).",
    )
    min_run_seconds: int = threshold(
        0, Unit.SECONDS, "A deployment is not evicted until it has been placed for this long."
    )
    preemption_budget: int = threshold(
        3, Unit.EVICTIONS, "A deployment that was evicted this often within the window is spared."
    )
    budget_window_seconds: int = threshold(
        86_400,
        Unit.SECONDS,
        "The window: how long an eviction counts towards the budget and the back-off.",
        at_least=1,
        replayable=False,
    )
    budget_override_gap: int = threshold(
        30,
        Unit.STEPS,
        "A deployment whose priority is higher by at least this much may evict a spared one.",
        at_least=1,
        at_most=100,
    )
    starvation_seconds: int = threshold(
        900,
        Unit.SECONDS,
        "After waiting this long, a deployment takes turns: during its turn it goes first in its"
        " level, and capacity is reserved for it.",
    )
    reservation_percent: int = threshold(
        10,
        Unit.PERCENT,
        "How much of the capacity the turns may keep idle on average; 0 for no turns.",
        at_most=100,
    )
    backfill: str = threshold(
        Backfill.EVICTABLE.value,
        Backfill,
        "Which deployments may use reserved capacity: those that end in time (`ending`), or also"
        " those of a lower priority that can be evicted (`evictable`).",
    )
    suspension_seconds: int = threshold(
        3600,
        Unit.SECONDS,
        "How long preemption is suspended for a deployment whose earlier preemptions freed capacity"
        " that it never used.",
        at_least=1,
        at_most=_WEEK,
        replayable=False,
    )
    backoff_seconds: int = threshold(
        60,
        Unit.SECONDS,
        "How long a deployment waits after its second eviction within the window; each further"
        " eviction doubles the wait.",
        at_most=_WEEK,
        replayable=False,
    )
    longest_backoff_seconds: int = threshold(
        3600,
        Unit.SECONDS,
        "The longest wait after an eviction.",
        at_most=_WEEK,
        replayable=False,
    )
    operator_backoff_seconds: int = threshold(
        60, Unit.SECONDS, "How long a deployment waits after an operator preempts it.",
        at_least=1, at_most=_WEEK, replayable=False,
    )  # fmt: skip

    def __post_init__(self) -> None:
        for each in self.thresholds():
            each.check(getattr(self, each.name))

    @classmethod
    def thresholds(cls) -> tuple[Threshold, ...]:
        """Return the declaration of each threshold, in the order of the fields."""
        return tuple(_threshold(each.name, each.default, each.metadata) for each in fields(cls))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Build from values by field. Raises ValueError, which names the field that is wrong."""
        unknown = sorted(set(values) - {each.name for each in fields(cls)})
        if unknown:
            known = ", ".join(each.name for each in fields(cls))
            raise ValueError(f"policy.{unknown[0]}: no such threshold; there are {known}")
        return cls(**values)

    @classmethod
    def from_settings(cls, values: Mapping[str, Any]) -> Self:
        """Build from values by setting."""
        return cls(**{each.name: values[each.setting] for each in cls.thresholds()})

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """Return the policy with these fields changed. Raises ValueError as `from_mapping` does."""
        return self.from_mapping(asdict(self) | dict(values))

    def backoff(self, evictions: int) -> int:
        """Return how many seconds a deployment waits after this many evictions in the window."""
        if evictions < 2:
            return 0
        return min(self.backoff_seconds << min(evictions - 2, 20), self.longest_backoff_seconds)


def _threshold(name: str, default: Any, about: Mapping[str, Any]) -> Threshold:
    setting = about["setting"] or f"SCHEDULER_{name.upper()}"
    return Threshold(name=name, default=default, **{**about, "setting": setting})
