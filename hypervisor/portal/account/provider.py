"""Signing in and out through an OpenID Connect provider."""

from typing import Any

from django.conf import settings
from django.contrib.auth import login
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.generic import View

from accounts.oidc import provider
from hypervisor.base.errors import DomainError, Unavailable
from hypervisor.portal.account.bases import own_path
from hypervisor.portal.account.sign_in import BY_PASSWORD
from orgs import claims

_NEXT = "oidc_next"


class ProviderPage(View):
    """A page of which a refusal is shown with a way back."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if not provider.is_configured():
            raise Http404
        try:
            return super().dispatch(request, *args, **kwargs)
        except DomainError as refusal:
            page = {"title": f"Sign in with {settings.OIDC_NAME}", "refusal": refusal.detail}
            status = 503 if isinstance(refusal, Unavailable) else 403
            return render(request, "portal/account/provider_refused.html", page, status=status)


class Begin(ProviderPage):
    """Leads to the provider."""

    def get(self, request: HttpRequest) -> HttpResponse:
        request.session[_NEXT] = own_path(request)
        callback = settings.PUBLIC_URL + reverse("account:provider_callback")
        return provider.begin(request, callback)


class Callback(ProviderPage):
    """Signs in the person who comes back from the provider."""

    def get(self, request: HttpRequest) -> HttpResponse:
        wanted = request.session.pop(_NEXT, "")
        user = claims.sign_in(provider.finish(request), timezone.now())
        # Django keeps the session of a person who signs in again.
        request.session.cycle_key()
        login(request, user, BY_PASSWORD)
        return HttpResponseRedirect(wanted or reverse("portal:deployments"))
