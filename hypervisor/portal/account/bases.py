"""What the pages of the account have in common."""

from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.views import RedirectURLMixin
from django.forms import BaseForm
from django.http import HttpRequest
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.generic import FormView, TemplateView

from hypervisor.base.errors import DomainError
from hypervisor.portal.bases import PortalPage


class PublicPage(TemplateView):
    """A page that people see before they have signed in."""

    title: str

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**{"title": self.title, **kwargs})


class AccountForm(FormView):  # type: ignore[type-arg]
    """A page with one form; a refusal of a service is shown beside its field.

    `submit` is the text of its button. A subclass carries out the form in `carry_out`.
    """

    title: str
    submit: str
    template_name = "portal/account/form_page.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**{"title": self.title, "submit": self.submit, **kwargs})

    def form_valid(self, form: Any) -> Any:
        try:
            self.carry_out(form)
        except DomainError as error:
            refuse(form, error)
            return self.form_invalid(form)
        return super().form_valid(form)

    def carry_out(self, form: Any) -> None:
        """Call the service. Its refusals become errors of the form."""
        raise NotImplementedError


class OwnForm(PortalPage, AccountForm):
    """A form of a person who has signed in, below the page of the account."""

    section = "account"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        self.breadcrumbs = [("Account", ACCOUNT), (self.title, None)]
        return super().get_context_data(**kwargs)


ACCOUNT = "/account/"


def refuse(form: BaseForm, error: DomainError) -> None:
    """Show the refusal beside its field, or above the form if it has no such field."""
    form.add_error(error.attr if error.attr in form.fields else None, error.detail)


def own_path(request: HttpRequest) -> str:
    """Return the path in `next` if it is one of this service, else an empty text."""
    wanted = request.POST.get("next", request.GET.get("next", ""))
    is_own = wanted.startswith("/") and url_has_allowed_host_and_scheme(wanted, allowed_hosts=None)
    return wanted if is_own else ""


class BackToOwnPath(RedirectURLMixin):
    """Leads to the page in `next` afterwards, but never to another site or to itself."""

    request: HttpRequest

    def get_redirect_url(self, request: HttpRequest | None = None) -> str:
        wanted = own_path(self.request)
        return "" if urlsplit(wanted).path == self.request.path else wanted
