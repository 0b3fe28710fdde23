"""The e-mail address of a person, which counts only once it is verified."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse, reverse_lazy
from django.views.generic import View

from accounts import addresses
from hypervisor.base.errors import DomainError
from hypervisor.portal.account.bases import OwnForm, PublicPage
from hypervisor.portal.account.forms import AddressForm
from hypervisor.portal.bases import PortalPage


class ChangeAddress(OwnForm):
    title = "Change the e-mail address"
    submit = "Mail a link to it"
    template_name = "portal/account/email.html"
    form_class = AddressForm
    success_url = reverse_lazy("account:overview")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(sends_mail=settings.MAIL_IS_SENT, **kwargs)

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "request": self.request}

    def carry_out(self, form: AddressForm) -> None:
        address = form.cleaned_data["email"]
        addresses.change(self.person, address)
        messages.success(
            self.request, f"Open the link that is mailed to {address}. It is valid for a day."
        )


class SendAgain(PortalPage, View):
    """Mails the link again."""

    http_method_names = ("post",)

    def post(self, request: HttpRequest) -> HttpResponse:
        try:
            addresses.send_again(self.person)
            messages.success(request, f"A link is mailed to {addresses.waiting(self.person)}.")
        except DomainError as refusal:
            messages.error(request, refusal.detail)
        return HttpResponseRedirect(reverse("account:overview"))


class Verify(PublicPage):
    """Opened from a mailed link. It asks first, because programs open the links of mails too."""

    title = "Confirm the e-mail address"
    template_name = "portal/account/verify.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs, asked=addresses.read(kwargs["link"]))

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().get(request, *args, **kwargs)
        except DomainError as refusal:
            return self._refused(refusal)

    def post(self, request: HttpRequest, link: str) -> HttpResponse:
        try:
            user = addresses.verify(link)
        except DomainError as refusal:
            return self._refused(refusal)
        messages.success(request, f"{user.email} is verified.")
        return HttpResponseRedirect(reverse("account:overview"))

    def _refused(self, refusal: DomainError) -> HttpResponse:
        page = {"title": self.title, "refusal": refusal.detail}
        return self.render_to_response(page, status=404)
