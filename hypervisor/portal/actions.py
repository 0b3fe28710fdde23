"""The bases of the pages that change something: a form, a question, a button."""

import json
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.crypto import get_random_string

from accounts.idempotency import once
from hypervisor.base.errors import DomainError
from hypervisor.portal.bases import PortalPage
from hypervisor.portal.forms import ServiceForm

_KEY = "form_key"
_SHOWN_BEFORE = (
    "This form was sent before, and its answer, which is shown only once, went to the first time."
    " If you have not seen it, delete what was made, and make another one."
)


class FormPage(PortalPage):
    """A page with one form. `act` makes the change and returns the address to go to, or what to
    show if that can be shown only once.

    A refusal of the service appears in the form. A form that is sent twice, as by a double click,
    changes something once.
    """

    template_name = "portal/form_page.html"
    form_class: ClassVar[type[ServiceForm]]
    button: str
    lead = ""
    in_columns = False

    @property
    def back(self) -> str:
        """The address to return to without a change."""
        raise NotImplementedError

    def act(self, form: Any) -> str | HttpResponse:
        raise NotImplementedError

    def show_once(self, title: str, secret: str, **context: Any) -> HttpResponse:
        """Show a secret, which is stored nowhere: not even for a redirect."""
        self.title, self.template_name = title, "portal/once.html"
        return self.render_to_response(self.get_context_data(secret=secret, **context))

    def make_form(self, data: Any = None) -> Any:
        return self.form_class(data)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        form = self.make_form(request.POST)
        if form.is_valid():
            try:
                return self._act_once(form)
            except DomainError as error:
                form.refuse(error)
        return self.render_to_response(self.get_context_data(form=form))

    def _act_once(self, form: Any) -> HttpResponse:
        shown: list[HttpResponse] = []

        def work() -> str:
            done = self.act(form)
            if isinstance(done, str):
                return done
            shown.append(done)
            return ""

        post = self.request.POST
        sent = sorted((n, v) for n, v in post.lists() if n not in (_KEY, "csrfmiddlewaretoken"))
        key, content = (
            post.get(_KEY) or get_random_string(32),
            json.dumps([self.request.path, sent]),
        )
        address, _is_new = once(self.person, key, content, work)
        if shown:
            return shown[0]
        if not address:
            messages.warning(self.request, _SHOWN_BEFORE)
        return HttpResponseRedirect(address or self.back)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        kwargs.setdefault("form", None)
        kwargs["key"] = self.request.POST.get(_KEY) or get_random_string(32)
        form: forms.Form = kwargs.pop("form") or self.make_form()
        shown = {name: getattr(self, name) for name in ("button", "lead", "in_columns", "back")}
        return super().get_context_data(form=form, **shown | kwargs)


class ConfirmPage(PortalPage):
    """A question before a change that ends something; `consequences` are sentences."""

    template_name = "portal/confirm.html"
    button: str

    @property
    def back(self) -> str:
        raise NotImplementedError

    @property
    def consequences(self) -> list[str]:
        return []

    def act(self) -> str:
        """Make the change; return the address to go to."""
        raise NotImplementedError

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return HttpResponseRedirect(self.act())
        except DomainError as error:
            messages.error(request, error.detail)
            return HttpResponseRedirect(self.back)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(
            button=self.button, consequences=self.consequences, back=self.back, **kwargs
        )
