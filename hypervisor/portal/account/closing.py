"""The end of the own account."""

from typing import Any

from django.contrib import messages
from django.contrib.auth import logout
from django.urls import reverse_lazy

from accounts import closing
from hypervisor.portal.account.bases import OwnForm
from hypervisor.portal.account.forms import ConfirmedForm


class DeleteAccount(OwnForm):
    title = "Delete the account"
    submit = "Delete the account for good"
    template_name = "portal/account/delete.html"
    form_class = ConfirmedForm
    success_url = reverse_lazy("account:sign_in")

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "request": self.request}

    def carry_out(self, form: ConfirmedForm) -> None:
        closing.close(self.person)
        logout(self.request)
        messages.success(self.request, "Your account is deleted.")
