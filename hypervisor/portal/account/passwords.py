"""A new password, also for a forgotten one."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.views import PasswordResetConfirmView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse_lazy

from accounts import recovery, services
from hypervisor.portal.account.bases import AccountForm, OwnForm
from hypervisor.portal.account.forms import ForgottenForm, PasswordForm, ResetForm


class ChangePassword(OwnForm):
    """Ends all access as the person but the present session, which gets a new id."""

    title = "Change the password"
    submit = "Change the password"
    template_name = "portal/account/password.html"
    form_class = PasswordForm
    success_url = reverse_lazy("account:overview")

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "request": self.request}

    def carry_out(self, form: PasswordForm) -> None:
        self.person.set_password(form.cleaned_data["password"])
        services.replace_password(self.person)
        update_session_auth_hash(self.request, self.person)
        messages.success(self.request, "Your password has changed. All other sessions have ended.")


class Forgotten(AccountForm):
    """Answers the same, and as fast, whether the address belongs to somebody."""

    title = "Forgotten password"
    submit = "Mail a link"
    template_name = "portal/account/forgotten.html"
    form_class = ForgottenForm
    success_url = reverse_lazy("account:sign_in")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(sends_mail=settings.MAIL_IS_SENT, **kwargs)

    def carry_out(self, form: ForgottenForm) -> None:
        recovery.request(form.cleaned_data["email"])
        messages.success(
            self.request,
            "If a user has verified this address, a link is on its way to it. It is valid for an"
            " hour.",
        )


class Reset(PasswordResetConfirmView):
    """Opened from a mailed link, which Django moves out of the address of the page."""

    template_name = "portal/account/reset.html"
    form_class: Any = ResetForm
    success_url = reverse_lazy("account:sign_in")

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        self.token_generator = recovery.ResetTokens()
        return super().dispatch(request, *args, **kwargs)

    def get_user(self, uidb64: str) -> Any:
        user = super().get_user(uidb64)
        return user if user is not None and recovery.may_reset(user) else None

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        return {**context, "title": "New password", "submit": "Set the password"}

    def form_valid(self, form: Any) -> HttpResponse:
        recovery.reset(form.user, form.cleaned_data["password"])
        self.request.session.flush()
        messages.success(self.request, "Your password has changed. Sign in with the new one.")
        return HttpResponseRedirect(self.get_success_url())
