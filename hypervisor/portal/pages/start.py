"""The first page: what a person does first, what of it is done, and the demo."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse

from accounts.models import User
from clusters.models import Cluster
from deployments.models import Deployment
from hypervisor.demo import progress, removal
from hypervisor.demo.company import TEAMS
from hypervisor.portal.bases import PortalPage
from hypervisor.portal.pages.clusters.base import STEER
from hypervisor.tasks import fill_demo
from orgs.models import Membership, Organization, Role

_ADMINS = [role for role in Role if role.rank >= STEER.rank]

_LED_TO = (Cluster.objects, Deployment.objects)


def leads_on(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Send programs at `/` to `/docs`, and people to the first page until it has led them to a
    cluster, or there are deployments to list.
    """

    @wraps(view)
    def led(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if isinstance(request.user, User):
            if not request.GET and not any(
                rows.visible_to(request.user).exists() for rows in _LED_TO
            ):
                return HttpResponseRedirect(reverse("portal:start"))
        elif "text/html" not in request.headers.get("Accept", ""):
            return HttpResponseRedirect(reverse("docs"))
        return view(request, *args, **kwargs)

    return led


class StartPage(PortalPage):
    title = "Get started"
    section = "deployments"
    template_name = "portal/start.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        demo = self._demo() if self.may_start_demo else {}
        self.refresh_s = 2 if demo.get("progress") and not demo["progress"].error else None
        mine = Organization.objects.visible_to(self.person)
        clusters = Cluster.objects.visible_to(self.person)
        submitted = Deployment.objects.filter(created_by=self.person)
        return super().get_context_data(
            organization=mine.first(),
            administered=self._administered(),
            cluster=clusters.first(),
            deployment=submitted.order_by("-pk").first(),
            may_start_demo=self.may_start_demo,
            **demo,
            **kwargs,
        )

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Start the demo."""
        if not self.may_start_demo:
            raise Http404
        if removal.organizations():
            messages.info(request, "The demo exists already.")
        elif progress.begin():
            fill_demo.delay()
        return HttpResponseRedirect(reverse("portal:start"))

    @property
    def may_start_demo(self) -> bool:
        """Its users have a password that everybody on the machine can find out."""
        return self.person.is_superuser and not settings.PRODUCTION

    def _demo(self) -> dict[str, Any]:
        found = removal.organizations()
        return {
            "progress": progress.read(),
            "demo": found,
            "demo_people": [(team.people[0], team.name) for team in TEAMS],
            "demo_password": removal.password() if found else "",
        }

    def _administered(self) -> Organization | None:
        """Return an organization to which the person may add a cluster."""
        able = Membership.objects.filter(user=self.person, role__in=_ADMINS)
        found = able.select_related("organization").first()
        return found.organization if found else None
