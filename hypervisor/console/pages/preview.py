"""The page between an action and its confirmation: a preview of the consequences."""

from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from clusters.models import Node
from deployments.models import Deployment
from hypervisor.base.numbers import whole
from hypervisor.console.bases import MOST_AT_ONCE
from hypervisor.console.pages.base import TopLevelPage
from hypervisor.ui.previews import PreviewMixin
from scheduling.insight.operator_actions import ACTIONS, Action


class PreviewPage(PreviewMixin, TopLevelPage):
    template_name = "console/preview.html"
    refresh_s = None

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        action = ACTIONS.get(kwargs["action"])
        if action is None:
            raise Http404(f"No such action: {kwargs['action']}")
        self.action: Action = action
        self.subjects = read_ids(request)
        self.rows: list[Any] = list(action.model._default_manager.filter(pk__in=self.subjects))
        self.kept = _kept(request)
        self.title = _title(action, self.rows)
        self.breadcrumbs = [*_parents(action, self.rows), (action.label, None)]

    def has_permission(self) -> bool:
        return self.request.user.has_perm(self.action.permission)

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not self.rows:
            messages.warning(request, f"Choose the {self.action.subject}s first.")
            return HttpResponseRedirect(self.way_back())
        if len(self.subjects) > MOST_AT_ONCE:
            messages.error(request, f"Choose at most {MOST_AT_ONCE} at once: there are more.")
            return HttpResponseRedirect(self.way_back())
        return super().get(request, *args, **kwargs)

    def way_back(self) -> str:
        asked = self.request.GET.get("next", "")
        secure = self.request.is_secure()
        if url_has_allowed_host_and_scheme(asked, {self.request.get_host()}, secure):
            return asked
        if self.action.model is Deployment:
            return reverse("queue")
        return reverse("admin:clusters_cluster_changelist")


def read_ids(request: HttpRequest) -> list[int]:
    """Return the ids in the query, sorted: a parameter `id` each, or `ids` separated by commas."""
    texts = [*request.GET.getlist("id"), *request.GET.get("ids", "").split(",")]
    return sorted({pk for text in texts if (pk := whole(text)) is not None})


def _kept(request: HttpRequest) -> list[tuple[str, str]]:
    """Return the parameters that the page's form passes on: the subjects and the way back."""
    return [
        (name, value)
        for name in ("id", "ids", "next")
        for value in request.GET.getlist(name)
        if value
    ]


def _parents(action: Action, rows: list[Any]) -> Iterator[tuple[str, str]]:
    """Yield the pages above: the list, and the only subject's own page."""
    if action.model is Deployment:
        yield "Queue", reverse("queue")
    else:
        yield "Clusters", reverse("admin:clusters_cluster_changelist")
    if len(rows) == 1:
        row = rows[0]
        page = "admin:deployments_deployment_change" if action.model is Deployment else "cluster"
        yield row.name, reverse(page, args=[row.cluster_id if action.model is Node else row.pk])


def _title(action: Action, rows: list[Any]) -> str:
    if len(rows) == 1:
        return f"{action.label}: {rows[0].name}"
    return f"{action.label}: {len(rows)} {action.subject}s"
