"""The page of a deployment's logs, refreshed while its container runs."""

import re
from typing import Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.urls import reverse

from deployments.logs import store
from deployments.models import Deployment, Run
from hypervisor.base.errors import DomainError
from hypervisor.base.numbers import whole
from hypervisor.console.pages.base import TopLevelPage

TAILS = (200, 1000, 5000)
_RUNS_OFFERED = 20
_SHOWN_BYTES = 512 * 1024
_LAST_LINES = 15
_BY_ITSELF = (Run.Outcome.COMPLETED, Run.Outcome.FAILED)
# Colours and cursor movements are meant for a terminal.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class LogsPage(TopLevelPage):
    permission_required = "deployments.view_deployment"
    template_name = "console/logs.html"

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        self.deployment = get_object_or_404(Deployment.objects.defer("env"), pk=kwargs["pk"])
        self.title = f"Logs of {self.deployment.name}"
        self.breadcrumbs = [
            ("Deployments", reverse("admin:deployments_deployment_changelist")),
            (self.deployment.name, _page(self.deployment)),
            ("Logs", None),
        ]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        run, text, trouble = None, "", ""
        try:
            run = store.run_of(self.deployment, _number(self.request.GET.get("run")))
            text = as_text(store.read(run, tail=self._tail()))
        except DomainError as error:
            trouble = error.detail
        self.refresh_s = 3 if run is None or run.ended_at is None else None
        return super().get_context_data(
            deployment=self.deployment,
            run=run,
            text=text,
            trouble=trouble,
            tail=self._tail(),
            tails=TAILS,
            runs=_runs(self.deployment),
            **kwargs,
        )

    def _tail(self) -> int:
        asked = _number(self.request.GET.get("tail"))
        return asked if asked in TAILS else TAILS[0]


def as_text(raw: bytes) -> str:
    """Return the end of the output, without terminal control sequences."""
    raw = raw[-_SHOWN_BYTES:]
    text = _ESCAPES.sub("", raw.decode(errors="replace")).replace("\r\n", "\n")
    return _CONTROLS.sub("", text.replace("\r", "\n"))


def last_output(runs: list[Run]) -> str:
    """Return the end of the last run's stored output, if the run has ended by itself."""
    last = next((run for run in reversed(runs) if run.launched_at), None)
    if last is None or last.ended_at is None or last.outcome not in _BY_ITSELF:
        return ""
    return as_text(store.read(last, tail=_LAST_LINES))


def _runs(deployment: Deployment) -> list[Run]:
    runs = deployment.runs.select_related("cluster").order_by("-pk")
    return list(runs.launched()[:_RUNS_OFFERED])


def _page(deployment: Deployment) -> str:
    return reverse("admin:deployments_deployment_change", args=[deployment.pk])


def _number(text: str | None) -> int | None:
    return whole(text or "")
