"""The question before an action on all deployments that a list shows, too many for a preview."""

from typing import Any, cast

import pghistory
from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse

from deployments import selection
from deployments.models import Deployment, DeploymentQuerySet
from hypervisor.base.errors import DomainError
from hypervisor.console.bases import MOST_AT_ONCE
from hypervisor.console.pages.base import TopLevelPage
from hypervisor.ui.forms import NoteForm, PriorityForm
from orgs.events import noted
from scheduling.insight.operator_actions import ACTIONS, Action, Needs

_LIST = "admin:deployments_deployment_changelist"


class ManyPage(TopLevelPage):
    """The query has the filters of the list of deployments, and selects the same ones."""

    template_name = "console/many.html"
    refresh_s = None
    action: Action
    in_parts: selection.Action
    rows: DeploymentQuerySet

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        action = ACTIONS.get(kwargs["action"])
        if action is None or action.in_parts is None:
            raise Http404(f"No such action on many deployments: {kwargs['action']}")
        self.action, self.in_parts = action, action.in_parts
        self.title = f"{action.label}: all deployments of a list"
        self.way_back = f"{reverse(_LIST)}?{request.GET.urlencode()}"
        self.breadcrumbs = [("Deployments", self.way_back), (action.label, None)]

    def has_permission(self) -> bool:
        return self.request.user.has_perm(self.action.permission)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            shown = admin.site._registry[Deployment].get_changelist_instance(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(reverse(_LIST))
        self.rows = cast("DeploymentQuerySet", shown.get_queryset(request))
        return super().dispatch(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Act in parts; what time does not allow waits for another confirmation."""
        note_form, form = NoteForm(request.POST), self._form(request.POST)
        if not note_form.is_valid() or (form is not None and not form.is_valid()):
            return self.render_to_response(self.get_context_data(note_form=note_form, form=form))
        given = form.options() if form else {}
        actor, note = request.user.get_username(), note_form.cleaned_data["note"]
        try:
            with pghistory.context(**({"note": note} if note else {})), noted(note, actor=actor):
                progress = selection.carry_out_in_parts(
                    self.in_parts, self.rows, actor=actor, member=None, **given
                )
        except DomainError as error:
            messages.error(request, error.detail)
            return HttpResponseRedirect(self.way_back)
        messages.success(request, f"{progress.changed:,} deployments: {self.action.done}.")
        if progress.remaining:
            messages.warning(request, f"{progress.remaining:,} are left: confirm again to go on.")
            return HttpResponseRedirect(request.get_full_path())
        return HttpResponseRedirect(self.way_back)

    def _form(self, data: Any = None) -> PriorityForm | None:
        return PriorityForm(data) if self.action.needs is Needs.PRIORITY else None

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        fits = self.in_parts.fits
        shown = {"form": self._form(), "note_form": NoteForm(), **kwargs, "action": self.action}
        return super().get_context_data(
            selected=self.rows.count(),
            fitting=self.rows.filter(status__in=fits).count(),
            fits=" or ".join(filter(None, (", ".join(fits[:-1]), fits[-1]))),
            at_once=selection.MAX_CHANGED,
            most=MOST_AT_ONCE,
            back=self.way_back,
            **shown,
        )
