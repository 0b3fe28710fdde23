"""What the page of one deployment shows: its state and why, its history, its specification."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Q, QuerySet

from clusters.places import Places
from deployments import requirements
from deployments.choices import ENDED, Status
from deployments.models import Deployment
from deployments.runtime.models import Run
from hypervisor.ui.data.deployment_timeline import RUNS_SHOWN, draw
from hypervisor.ui.data.logs import last_output
from orgs.models import Event
from scheduling.insight.explain import Explanation, explain
from scheduling.insight.operator_actions import ACTIONS, Action
from scheduling.planner.resources import in_words

_EVENTS_PER_PAGE = 50
_NEIGHBOURS_SHOWN = 50
_STATES_DRAWN = 500

_OFFERED: dict[str, tuple[str, ...]] = {
    Status.PENDING: ("hold", "reprioritize", "move", "cancel"),
    Status.STARTING: ("preempt", "requeue", "move", "reprioritize", "stop"),
    Status.RUNNING: ("preempt", "requeue", "move", "reprioritize", "stop"),
    **dict.fromkeys(ENDED, ("start",)),
}


@dataclass(frozen=True, slots=True)
class Button:
    """A link that looks like a button; `hint` explains it, `stops` marks one that ends work."""

    label: str
    address: str
    hint: str = ""
    stops: bool = False


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why one cluster cannot take the deployment, and what is missing there."""

    cluster: int
    name: str
    why: str
    missing: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """A run, and the reason of the event that ended it."""

    run: Run
    why: str
    until: datetime


def describe(deployment: Deployment, now: datetime, events_page: str | None) -> dict[str, Any]:
    """Return what the parts of the page in `ui/deployment/` show, by their names there."""
    runs = _runs(deployment)
    changes = _changes(deployment)
    why = explain(deployment)
    return {
        "deployment": deployment,
        "state": "held" if deployment.held and why.code == "held" else deployment.status,
        "since": _since(deployment, changes),
        "why": why,
        "shortages": _shortages(why),
        "timeline": draw(deployment, runs, changes, now),
        "attempts": _attempts(deployment, runs, now),
        "places": Places.of_rows([deployment, *runs]),
        "all_runs": _all_runs(deployment, runs),
        "last_output": last_output(runs),
        "events": _events(deployment, events_page),
        "waits_for": _neighbours(deployment.dependencies.select_related("on")),
        "waited_for_by": _neighbours(deployment.dependents.select_related("deployment")),
        "command": shlex.join(deployment.command),
        "requires": requirements.sentences(deployment.require),
        "prefers": requirements.sentences(deployment.prefer),
        "labels": [f"{name}={value}" for name, value in sorted(deployment.labels.items())],
        "variables": sorted(deployment.env),
    }


def offered(deployment: Deployment) -> list[Action]:
    """Return the actions that the deployment's state allows."""
    names = _OFFERED.get(deployment.status, ())
    if deployment.held:
        names = tuple("release" if name == "hold" else name for name in names)
    return [ACTIONS[name] for name in names]


def _events(deployment: Deployment, page: str | None) -> Page[Event]:
    events = _history(deployment).order_by("-pk")
    return Paginator(events, _EVENTS_PER_PAGE).get_page(page)


def _history(deployment: Deployment) -> QuerySet[Event]:
    return Event.objects.filter(subject=Event.Subject.DEPLOYMENT, subject_id=deployment.pk)


def _runs(deployment: Deployment) -> list[Run]:
    """Return the latest runs, the oldest first."""
    runs = deployment.runs.select_related("cluster", "preempted_by__created_by").order_by("-pk")
    return list(runs[:RUNS_SHOWN])[::-1]


def _all_runs(deployment: Deployment, shown: Sequence[Run]) -> int:
    return len(shown) if len(shown) < RUNS_SHOWN else deployment.runs.count()


def _changes(deployment: Deployment) -> list[Event]:
    """Return the latest events that the timeline shows, the oldest first."""
    drawn = Q(status__isnull=False) | Q(kind__in=("held", "released", "checkpoint"))
    return list(_history(deployment).filter(drawn).order_by("-pk")[:_STATES_DRAWN])[::-1]


def _since(deployment: Deployment, changes: Sequence[Event]) -> datetime:
    """Return when the present state began."""
    times = [event.time for event in changes if event.kind != "checkpoint"]
    return times[-1] if times else deployment.created_at


def _attempts(deployment: Deployment, runs: Sequence[Run], now: datetime) -> list[Attempt]:
    """Return the runs, the newest first, each with the reason of the event that ended it."""
    times = [run.released_at for run in runs if run.released_at]
    ends = _history(deployment).filter(time__in=times, status__isnull=False)
    reasons = dict(ends.order_by("pk").values_list("time", "reason")) if times else {}
    return [
        Attempt(run, reasons.get(run.released_at, "") if run.released_at else "",
                run.released_at or now)
        for run in reversed(runs)
    ]  # fmt: skip


def _neighbours(rows: QuerySet[Any]) -> list[Any]:
    return list(rows.order_by("pk")[:_NEIGHBOURS_SHOWN])


def _shortages(why: Explanation) -> list[Shortage]:
    """Return what is missing on each cluster, in the planner's words."""
    return [
        Shortage(
            cluster=row["cluster"],
            name=row["name"],
            why=f"{row['why']}.",
            missing=in_words(row["missing"]),
        )
        for row in why.clusters
    ]
