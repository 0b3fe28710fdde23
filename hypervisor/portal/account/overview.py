"""The account of a person, and where it is signed in."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from rest_framework_simplejwt.settings import api_settings

from accounts import addresses
from accounts.sessions import services
from accounts.sessions.engine import digest
from hypervisor.base.errors import NotFound
from hypervisor.portal.account.bases import ACCOUNT
from hypervisor.portal.bases import PortalPage
from hypervisor.ui.data.browsers import browser_of


class Overview(PortalPage):
    title = "Account"
    section = "account"
    template_name = "portal/account/overview.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(
            waiting=addresses.waiting(self.person),
            sends_mail=settings.MAIL_IS_SENT,
            provider=settings.OIDC_NAME if self.person.identities.exists() else "",
            **kwargs,
        )


class Sessions(PortalPage):
    """Lists the sessions and log-ins of the person, and ends one of them or all others."""

    title = "Where you are signed in"
    section = "account"
    template_name = "portal/account/sessions.html"
    breadcrumbs = (("Account", ACCOUNT), (title, None))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        present = digest(self.request.session.session_key or "")
        return super().get_context_data(
            sessions=[
                {"row": row, "browser": browser_of(row), "is_present": row.pk == present}
                for row in services.open_sessions(self.person)
            ],
            log_ins=services.open_log_ins(self.person),
            access_minutes=int(api_settings.ACCESS_TOKEN_LIFETIME.total_seconds() // 60),
            **kwargs,
        )

    def post(self, request: HttpRequest) -> HttpResponse:
        """End the session or log-in that the form names, else all others."""
        try:
            if session := request.POST.get("session"):
                services.end_session(self.person, session)
            elif log_in := request.POST.get("log_in"):
                services.end_log_in(self.person, log_in)
            else:
                services.end_others(self.person, session_key=request.session.session_key)
            messages.success(request, "Ended.")
        except NotFound as refusal:
            messages.warning(request, refusal.detail)
        return HttpResponseRedirect(reverse("account:sessions"))
