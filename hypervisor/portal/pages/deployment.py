"""The pages of one deployment: its state and history, and its logs."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone

from deployments.choices import ENDED, OCCUPYING
from deployments.logs import store
from deployments.models import Deployment
from hypervisor.base.numbers import whole
from hypervisor.portal.bases import PortalPage
from hypervisor.portal.rights import may, permitted
from hypervisor.ui.data.deployment import Button, describe, offered
from hypervisor.ui.data.logs import output_of
from scheduling.insight.operator_actions import ACTIONS

_RELATED = ("organization", "cluster", "node", "requested_cluster", "created_by", "array")


class OfDeployment(PortalPage):
    """A page about the deployment that its path names, if the person may see it."""

    title = "{}"
    section = "deployments"
    deployment: Deployment

    def prepare(self) -> None:
        rows = Deployment.objects.visible_to(self.person).select_related(*_RELATED)
        self.deployment = get_object_or_404(rows, pk=self.kwargs["pk"])
        self.title = self.title.format(self.deployment.name)

    @property
    def address(self) -> str:
        """The address of the deployment's own page."""
        return reverse("portal:deployment", args=[self.deployment.pk])

    def path_to(self, *names: str) -> list[tuple[str, str | None]]:
        """Return the breadcrumbs to the deployment, and to the page with this name there."""
        own = self.address if names else None
        crumbs = [("Deployments", reverse("portal:deployments")), (self.deployment.name, own)]
        return [*crumbs, *((name, None) for name in names)]


class DeploymentPage(OfDeployment):
    template_name = "portal/deployment.html"
    refresh_s = 5

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        self.breadcrumbs = self.path_to()
        shown = describe(self.deployment, timezone.now(), self.request.GET.get("events"))
        return super().get_context_data(
            **shown, environment=self._environment(), buttons=self._buttons(), **kwargs
        )

    def _environment(self) -> dict[str, str | None]:
        """Return the variables with their values, None for a secret."""
        env = sorted(self.deployment.env.items())
        return {name: value if isinstance(value, str) else None for name, value in env}

    def _buttons(self) -> list[Button]:
        """Return what the state and the person's role allow, the logs, and a copy."""
        row = self.deployment
        actions = offered(row)
        if row.status not in OCCUPYING:
            actions.append(ACTIONS["delete"])
        again = f"{reverse('portal:submit')}?like={row.pk}"
        verbs = [
            Button(
                f"{action.label}\N{HORIZONTAL ELLIPSIS}",
                reverse("portal:preview", args=[row.pk, action.name]),
                action.hint,
                action.stops_work,
            )
            for action in permitted(actions, row, self.person)
        ]
        return [
            *(button for button in verbs if not button.stops),
            *self._change(),
            *(button for button in verbs if button.stops),
            Button("Logs", reverse("portal:logs", args=[row.pk])),
            Button("Submit another like this", again),
        ]

    def _change(self) -> list[Button]:
        """Return the button to the page of changes, if the person may change it and it goes on."""
        if self.deployment.status in ENDED or not may("update", self.deployment, self.person):
            return []
        address = reverse("portal:change", args=[self.deployment.pk])
        return [Button("Change\N{HORIZONTAL ELLIPSIS}", address, "Change its specification.")]


class LogsPage(OfDeployment):
    title = "Logs of {}"
    template_name = "portal/logs.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        self.breadcrumbs = self.path_to("Logs")
        output = output_of(self.deployment, self.request.GET)
        self.refresh_s = 3 if output.may_grow else None
        return super().get_context_data(deployment=self.deployment, output=output, **kwargs)


class LogFile(OfDeployment):
    """The output of a run as a file: what the engine or the hypervisor still has of it."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        run = store.run_of(self.deployment, whole(request.GET.get("run", "")))
        text = store.read(run, tail=None)
        answer = HttpResponse(text, content_type="text/plain; charset=utf-8")
        name = f"deployment-{self.deployment.pk}-run-{run.pk}.log"
        answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return answer
