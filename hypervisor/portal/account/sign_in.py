"""Signing in and out, and registration."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import login
from django.contrib.auth.views import LoginView, LogoutView, redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.generic import View

from accounts.oidc import provider
from hypervisor.portal.account.bases import AccountForm, BackToOwnPath, own_path
from hypervisor.portal.account.forms import RegistrationForm, SignInForm
from orgs.services import register

BY_PASSWORD = "django.contrib.auth.backends.ModelBackend"  # noqa: S105 a path


def can_register() -> bool:
    """Return whether anybody may register."""
    return settings.REGISTRATION != "closed" and settings.LOCAL_SIGN_IN == "on"


class SignIn(BackToOwnPath, LoginView):
    """The one page to sign in, also for operators."""

    template_name = "portal/account/sign_in.html"
    form_class = SignInForm
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(
            title="Sign in",
            can_register=can_register(),
            provider=settings.OIDC_NAME if provider.is_configured() else "",
            is_for_operators=settings.LOCAL_SIGN_IN != "on",
            **kwargs,
        )


class SignOut(LogoutView):
    """Ends the session, also the one at the provider if it can be told to."""

    next_page = "account:sign_in"

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        end = provider.end_address(request, settings.PUBLIC_URL + reverse("account:sign_in"))
        answer = super().post(request, *args, **kwargs)
        if not end:
            return answer
        # Not a redirect: the Content-Security-Policy allows forms to lead to this service only.
        page = {"title": "Signed out", "end": end, "provider": settings.OIDC_NAME}
        return render(request, "portal/account/signed_out.html", page)


class OperatorSignIn(View):
    """Leads from the admin to the page to sign in, and refuses people who are no operators."""

    def get(self, request: HttpRequest) -> HttpResponse:
        wanted = own_path(request) or reverse("admin:index")
        if not request.user.is_authenticated:
            return redirect_to_login(wanted)
        if admin.site.has_permission(request):
            return HttpResponseRedirect(wanted)
        page = {"title": "For operators only"}
        return render(request, "portal/account/no_operator.html", page, status=403)


class Register(BackToOwnPath, AccountForm):
    """Adds a user, who is then signed in."""

    title = "Register"
    submit = "Register"
    template_name = "portal/account/register.html"
    form_class = RegistrationForm
    next_page = "portal:deployments"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if request.user.is_authenticated:
            return HttpResponseRedirect(self.get_success_url())
        if not can_register():
            page = {"title": self.title}
            return render(request, "portal/account/closed.html", page, status=403)
        return super().dispatch(request, *args, **kwargs)

    def get_initial(self) -> dict[str, Any]:
        return {"invite_code": self.request.GET.get("invite_code", "")}

    def carry_out(self, form: RegistrationForm) -> None:
        given = form.cleaned_data
        user = register(
            username=given["username"],
            email=given["email"],
            password=given["password"],
            invite_code=given["invite_code"] or None,
        )
        login(self.request, user, BY_PASSWORD)
