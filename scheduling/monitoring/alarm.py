"""A problem that needs an operator's attention."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Subject(StrEnum):
    """What an alarm is about; each user interface maps it to a page."""

    CLUSTER = "cluster"
    CYCLES = "cycles"
    DEPLOYMENT = "deployment"
    DEPLOYMENTS = "deployments"
    EVENTS = "events"
    PERIODIC_TASKS = "periodic_tasks"
    QUEUE = "queue"
    RUNS = "runs"


@dataclass(frozen=True, slots=True)
class Alarm:
    """A problem: `level` is `critical` (act now), `warning` (check it today) or `info`.

    The subject is the row with the id `pk`, or all rows that match `where` by field.
    """

    level: str
    title: str
    detail: str
    subject: Subject | None = None
    pk: int | None = None
    where: Mapping[str, str] = field(default_factory=dict)
