"""The page of one deployment: its state and the reason, its history, and the possible actions."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from clusters.places import Places
from deployments import requirements
from deployments.models import ENDED, OCCUPYING, Deployment, Run, Status
from hypervisor.console.pages.base import TopLevelPage
from hypervisor.console.pages.logs import last_output
from hypervisor.ui.data.deployment_timeline import RUNS_SHOWN, draw
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


class DeploymentPage(TopLevelPage):
    template_name = "console/deployment.html"
    deployment: Any = None

    def has_permission(self) -> bool:
        return bool(self.model_admin.has_view_permission(self.request, self.deployment))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        deployment, now = self.deployment, timezone.now()
        runs = _runs(deployment)
        changes = _changes(deployment)
        why = explain(deployment)
        self.title = f"Deployment {deployment.pk}: {deployment.name}"
        self.breadcrumbs = [
            ("Deployments", reverse("admin:deployments_deployment_changelist")),
            (deployment.name, None),
        ]
        return super().get_context_data(
            deployment=deployment,
            state="held" if deployment.held and why.code == "held" else deployment.status,
            since=_since(deployment, changes),
            why=why,
            shortages=_shortages(why),
            actions=self._actions(),
            timeline=draw(deployment, runs, changes, now),
            attempts=_attempts(deployment, runs, now),
            places=Places.of_rows([deployment, *runs]),
            all_runs=_all_runs(deployment, runs),
            last_output=last_output(runs),
            events=self._events(),
            waits_for=_neighbours(deployment.dependencies.select_related("on")),
            waited_for_by=_neighbours(deployment.dependents.select_related("deployment")),
            command=shlex.join(deployment.command),
            requires=requirements.sentences(deployment.require),
            prefers=requirements.sentences(deployment.prefer),
            labels=[f"{name}={value}" for name, value in sorted(deployment.labels.items())],
            variables=sorted(deployment.env),
            here=self.request.get_full_path(),
            may_edit=self.model_admin.has_change_permission(self.request, deployment),
            may_delete=deployment.status not in OCCUPYING
            and self.model_admin.has_delete_permission(self.request, deployment),
            **kwargs,
        )

    def _actions(self) -> list[Action]:
        """Return the actions that apply now and that the operator may take."""
        names = _OFFERED.get(self.deployment.status, ())
        if self.deployment.held:
            names = tuple("release" if name == "hold" else name for name in names)
        actions = [ACTIONS[name] for name in names]
        return [action for action in actions if self.request.user.has_perm(action.permission)]

    def _events(self) -> Page[Event]:
        events = _history(self.deployment).order_by("-pk")
        return Paginator(events, _EVENTS_PER_PAGE).get_page(self.request.GET.get("events"))


def _history(deployment: Deployment) -> QuerySet[Event]:
    return Event.objects.filter(subject=Event.Subject.DEPLOYMENT, subject_id=deployment.pk)


def _runs(deployment: Deployment) -> list[Run]:
    """Return the latest runs, the oldest first."""
    runs = deployment.runs.select_related("cluster", "preempted_by").order_by("-pk")
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
